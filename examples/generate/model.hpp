// SPDX-License-Identifier: Apache-2.0
// A model with a head, with eyes or without.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "prompt.hpp"
#include "text_model.hpp"
#include "vision.hpp"

namespace generate {

class model {
 public:
  /// Takes every parameter by name and by the shape that the config gives it; reads none. Throws `checkpoint_error` for
  /// one that is missing, of another shape, or left over, and `placement_error` for one that the engine needs whole.
  model(const context& c, const model_config& config)
      : hidden_(config.text.hidden), comm_(&c.comm), residual_(c.residual), text_(c, config.text) {
    image_token_ = config.image_token;
    if (config.vision) {
      pixel_columns_ = config.vision->channels * config.vision->frames * config.vision->patch * config.vision->patch;
      vision_.emplace(c, *config.vision, "model.visual");
    }
    c.parameters.refuse_unused();
  }

  /// The whole forward pass on no tokens at all, before a weight is read: every step of every module is run, so that a
  /// plan that leaves something half cut is refused here. Collective.
  void rehearse() const {
    if (vision_) (*vision_)(tensor({0, pixel_columns_}), {});
    memory none;
    text_.logits(text_.through_layers(text_.embed({}), {}, none));
  }

  /// Logits [batch * tokens, vocabulary] of a prompt; `past` is empty, and remembers it. Collective.
  tensor prefill(const prompt& p, memory& past) const { return logits(read(p, past)); }

  /// Logits [batch, vocabulary] after one more token for each row of the batch. Collective.
  tensor decode(std::span<const std::int64_t> ids, const prompt& p, memory& past) const {
    return logits(read(ids, p, past));
  }

  /// What leaves the last layer after a prompt, and after one more token for each row of the batch. Collective.
  value read(const prompt& p, memory& past) const {
    value x = text_.embed(p.ids);
    if (!p.images.empty()) x = with_images(std::move(x), p);
    return text_.through_layers(std::move(x), p.at, past);
  }
  value read(std::span<const std::int64_t> ids, const prompt& p, memory& past) const {
    positions at;
    for (std::size_t b = 0; b < past.batch; ++b) {
      const std::int64_t place = static_cast<std::int64_t>(past.length) + p.deltas[b];
      at.push(place, place, place);
    }
    return text_.through_layers(text_.embed(ids), at, past);
  }
  /// The logits of what left the last layer, or what is wanted of those of some rows. Collective.
  tensor logits(const value& x) const { return text_.logits(x); }
  const sw::logits_answer& answer(const value& x, std::span<const std::size_t> rows, const sw::logits_policy& wanted,
                                  sw::logits_memory& room, const sw::logits_options& options) const {
    return text_.answer(x, rows, wanted, room, options);
  }

 private:
  // The rows of the vision tower take the places of the image tokens, in order.
  value with_images(value x, const prompt& p) const {
    const tensor seen = (*vision_)(p.pixels, p.images);
    const sw::interval mine = residual_ ? residual_->rows(*comm_) : sw::interval{0, p.ids.size()};
    std::size_t next = 0;
    for (std::size_t t = 0; t < p.ids.size(); ++t) {
      if (p.ids[t] != image_token_) continue;
      const float* row = seen.row(next++);
      if (t >= mine.begin && t < mine.end) std::copy_n(row, hidden_, x.local().row(t - mine.begin));
    }
    return x;
  }

  std::size_t hidden_, pixel_columns_ = 0;
  std::int64_t image_token_ = -1;
  sw::any_communicator* comm_;
  residual_stream* residual_;
  text_model text_;
  std::optional<vision_model> vision_;
};

}  // namespace generate
