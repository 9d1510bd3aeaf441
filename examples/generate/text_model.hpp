// SPDX-License-Identifier: Apache-2.0
// The decoder: layers of attention, full or linear, and an MLP or experts.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "attention.hpp"
#include "gated_delta.hpp"
#include "mlp.hpp"
#include "moe.hpp"

namespace generate {

class decoder_layer {
 public:
  decoder_layer(const context& c, const text_config& t, std::size_t index)
      : decoder_layer(c, t, index, t.prefix + ".layers." + std::to_string(index)) {}

  value operator()(value x, const rotation& turn, const memory& past, layer_memory& mine) const {
    const value in = attention_norms_.before(x);
    const value seen = attention_ ? (*attention_)(in, turn, past, mine) : (*linear_attention_)(in, past, mine);
    x = sum(x, attention_norms_.after(seen));
    const value mid = mlp_norms_.before(x);
    const value made = experts_ ? (*experts_)(mid) : mlp_->kept((*mlp_)(mid));
    return sum(x, mlp_norms_.after(made));
  }

 private:
  // Around a block; where one is missing, what it would norm stays as it is.
  struct norms {
    std::optional<rms_norm> first, last;
    value before(const value& x) const { return first ? (*first)(x) : x; }
    value after(const value& x) const { return last ? (*last)(x) : x; }
  };
  static norms norms_of(const context& c, const text_config& t, const std::string& path, const char* before,
                        const char* after) {
    norms n;
    if (before) n.first.emplace(c, path + "." + before, t.hidden, t.norm_eps, t.norm_offset);
    if (after) n.last.emplace(c, path + "." + after, t.hidden, t.norm_eps, t.norm_offset);
    return n;
  }

  decoder_layer(const context& c, const text_config& t, std::size_t index, const std::string& path)
      : attention_norms_(norms_of(c, t, path, t.norms.before_attention, t.norms.after_attention)),
        mlp_norms_(norms_of(c, t, path, t.norms.before_mlp, t.norms.after_mlp)) {
    if (t.linear_layers[index]) {
      linear_attention_.emplace(c, t, path + ".linear_attn");
    } else {
      attention_.emplace(c, t, index, path + ".self_attn");
    }
    if (t.expert_layers[index]) {
      experts_.emplace(c, path + ".mlp", t.hidden, *t.experts);
    } else {
      mlp_.emplace(c, path + ".mlp", mlp_config{t.hidden, t.width, t.mlp_bias, t.fused, t.act});
    }
  }

  norms attention_norms_, mlp_norms_;
  std::optional<attention> attention_;
  std::optional<gated_delta> linear_attention_;
  std::optional<mlp> mlp_;
  std::optional<moe> experts_;
};

/// The part of a decoder that one rank runs: all of it, or one stage of a pipeline. The first stage has the embedding,
/// the last one the head, and the layers are dealt in order.
struct pipeline_stage {
  int index = 0, count = 1;
  bool is_first() const { return index == 0; }
  bool is_last() const { return index + 1 == count; }
  sw::interval layers_of(const text_config& t) const { return sw::chunk(t.linear_layers.size(), count, index); }
};

class text_model {
 public:
  text_model(const context& c, const text_config& t, const pipeline_stage& stage = {})
      : embedding_scale_(t.embedding_scale),
        cap_(t.cap),
        rope_(t.rope, t.head_dim),
        comm_(&c.comm),
        residual_(c.residual) {
    if (t.windowed_rope) windowed_rope_.emplace(*t.windowed_rope, t.head_dim);
    if (stage.is_first()) embedding_.emplace(c, t.prefix + ".embed_tokens", t.vocabulary, t.hidden);
    const sw::interval mine = stage.layers_of(t);
    for (std::size_t i = mine.begin; i < mine.end; ++i) {
      layers_.emplace_back(c, t, i);
      windowed_.push_back(t.windowed_layers[i] && t.windowed_rope);
    }
    if (stage.is_last()) {
      norm_.emplace(c, t.prefix + ".norm", t.hidden, t.norm_eps, t.norm_offset);
      head_.emplace(c, "lm_head", t.hidden, t.vocabulary);
    }
  }

  /// What enters the first layer, [batch * tokens, hidden], where the residual stream is. Of the first stage.
  /// Collective.
  value embed(std::span<const std::int64_t> ids) const {
    if (residual_) residual_->begin(ids.size());
    value x = (*embedding_)(ids);
    if (embedding_scale_ == 1) return x;
    return each(std::move(x), [scale = embedding_scale_](float v) { return v * scale; });
  }

  /// From what enters the first layer of the stage to what leaves its last one. The tokens are appended to `past`,
  /// which is of this stage. Collective.
  value through_layers(value x, const positions& at, memory& past) const {
    past.layers.resize(layers_.size());
    const std::size_t longest = past.capacity == 0 ? 0 : past.capacity - 1;  // the last new token is not read
    const rotation turn = rope_(at, longest);
    const rotation windowed = windowed_rope_ ? (*windowed_rope_)(at, longest) : rotation();
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      x = layers_[i](x, windowed_[i] ? windowed : turn, past, past.layers[i]);
    }
    past.length += at.size() / past.batch;
    return x;
  }

  /// Logits [batch * tokens, vocabulary], whole on every rank, of what left the last layer. Of the last stage.
  /// Collective.
  tensor logits(const value& x) const {
    return sw::expect_replicated(capped((*head_)(normed(x))), head_->path()).local();
  }
  /// What is wanted of the logits of some rows, without the others and, where the plan cuts the head, without a gather.
  const sw::logits_answer& answer(const value& x, std::span<const std::size_t> rows, const sw::logits_policy& wanted,
                                  sw::logits_memory& room, const sw::logits_options& options) const {
    const value all = normed(x);
    tensor some({rows.size(), all.local().columns()});
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(all.local().row(rows[i]), some.columns(), some.row(i));
    }
    const value y = capped(head_->columns(sw::assume_placed(all.where(), std::move(some))));
    return head_->answer(y, wanted, room, options);
  }

 private:
  // All tokens, for the head.
  value normed(const value& x) const {
    const value y = (*norm_)(x);
    return residual_ ? residual_->gather(head_->path(), *comm_, y) : y;
  }
  value capped(value y) const {
    if (!cap_) return y;
    return each(std::move(y), [cap = *cap_](float v) { return cap * std::tanh(v / cap); });
  }

  float embedding_scale_;
  std::optional<float> cap_;
  std::optional<embedding> embedding_;
  std::vector<decoder_layer> layers_;
  std::optional<rms_norm> norm_;
  std::optional<linear> head_;
  rope rope_;
  sw::any_communicator* comm_;
  residual_stream* residual_;
  std::optional<rope> windowed_rope_;
  std::vector<bool> windowed_;  // one per layer: it turns by windowed_rope_
};

}  // namespace generate
