// SPDX-License-Identifier: Apache-2.0
// The vision tower of qwen3_5_moe: from rows of pixels to rows that stand in for image tokens.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "attention.hpp"
#include "config.hpp"
#include "grid.hpp"
#include "linear.hpp"
#include "ops.hpp"
#include "rope.hpp"

namespace generate {

class vision_block {
 public:
  vision_block(const context& c, const vision_config& v, const std::string& path)
      : attention_step_(c, path + ".attn"),
        mlp_step_(c, path + ".mlp"),
        dim_(v.hidden / v.heads),
        norm1_(c, path + ".norm1", v.hidden, 1e-6f),
        norm2_(c, path + ".norm2", v.hidden, 1e-6f),
        qkv_(c, path + ".attn.qkv", v.hidden, 3 * v.hidden, true),
        proj_(c, path + ".attn.proj", v.hidden, v.hidden, true),
        fc1_(c, path + ".mlp.linear_fc1", v.hidden, v.width, true),
        fc2_(c, path + ".mlp.linear_fc2", v.width, v.hidden, true) {}

  value operator()(value x, const rotation& turn, const std::vector<grid>& images) const {
    const value qkv = qkv_(attention_step_.input(norm1_(x)));
    const value seen = sw::elementwise([&](const tensor& t) { return attend_frames(t, turn, images); }, qkv);
    x = sum(x, attention_step_.whole_output(proj_(seen)));
    const value inner = each(fc1_(mlp_step_.input(norm2_(x))), gelu_tanh);
    return sum(x, mlp_step_.whole_output(fc2_(inner)));
  }

 private:
  // Rows are q, k and v side by side, each by heads, as many as there are here. A patch sees its own frame.
  tensor attend_frames(const tensor& qkv, const rotation& turn, const std::vector<grid>& images) const {
    const std::size_t width = qkv.columns() / 3;
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim_));
    tensor out({qkv.rows(), width});
    for (std::size_t t = 0; t < qkv.rows(); ++t) {
      for (std::size_t at = 0; at < 2 * width; at += dim_) turn.turn(qkv.row(t) + at, t);
    }
    std::size_t first = 0;
    for (const grid& g : images) {
      const std::size_t n = g.rows * g.columns;
      for (std::size_t frame = 0; frame < g.frames; ++frame, first += n) {
        const auto head = [&](std::size_t at) { return map(qkv.row(first) + at, n, dim_, qkv.columns()); };
        for (std::size_t at = 0; at < width; at += dim_) {
          attend(head(at), head(width + at), head(2 * width + at), scale, false,
                 map(out.row(first) + at, n, dim_, width));
        }
      }
    }
    return out;
  }

  module_step attention_step_, mlp_step_;
  std::size_t dim_;
  layer_norm norm1_, norm2_;
  linear qkv_, proj_, fc1_, fc2_;
};

class vision_model {
 public:
  vision_model(const context& c, const vision_config& v, const std::string& path)
      : merge_(v.merge),
        side_(static_cast<std::size_t>(std::lround(std::floor(std::sqrt(static_cast<double>(v.positions)))))),
        patch_(
            c.parameters.whole(path + ".patch_embed.proj.weight", {v.hidden, v.channels, v.frames, v.patch, v.patch})),
        patch_bias_(c.parameters.whole(path + ".patch_embed.proj.bias", {v.hidden})),
        table_(c.parameters.whole(path + ".pos_embed.weight", {v.positions, v.hidden})),
        norm_(c, path + ".merger.norm", v.hidden, 1e-6f),
        merger_step_(c, path + ".merger"),
        fc1_(c, path + ".merger.linear_fc1", v.hidden * v.merge * v.merge, v.hidden * v.merge * v.merge, true),
        fc2_(c, path + ".merger.linear_fc2", v.hidden * v.merge * v.merge, v.out, true),
        inverse_(inverse_frequencies(v.rope_theta, v.hidden / v.heads / 2)) {
    for (std::size_t i = 0; i < v.layers; ++i) blocks_.emplace_back(c, v, path + ".blocks." + std::to_string(i));
  }

  /// `pixels` [patches, channels * frames * patch * patch] of all images: [patches / merge^2, hidden of the text],
  /// whole on every rank. Collective.
  tensor operator()(const tensor& pixels, const std::vector<grid>& images) const {
    const std::vector<patch_place> places = places_of(images, merge_);
    const std::size_t hidden = patch_.shape()[0];
    tensor first = times(pixels, map(patch_.data(), hidden, patch_.elements() / hidden, patch_.elements() / hidden));
    sw::tensor_traits<tensor>::add_to_rows(first, patch_bias_, sw::host_stream{});
    for (std::size_t t = 0; t < places.size(); ++t) add_position(places[t], first.row(t));

    value x = sw::assume_placed(sw::replicated{}, first);
    const rotation turn = rotation_of(places);
    for (const vision_block& block : blocks_) x = block(x, turn, images);

    const value merged = sw::elementwise(
        [&](const tensor& t) {
          tensor joined({t.rows() / (merge_ * merge_), t.columns() * merge_ * merge_});
          std::copy_n(t.data(), joined.elements(), joined.data());
          return joined;
        },
        norm_(x));
    return merger_step_.whole_output(fc2_(each(fc1_(merger_step_.input(merged)), gelu_exact))).local();
  }

 private:
  // The learned grid of positions, stretched to the image's, corner on corner.
  void add_position(const patch_place& p, float* out) const {
    const auto along = [&](std::size_t i, std::size_t n) {
      return static_cast<float>(i) * static_cast<float>(side_ - 1) /
             static_cast<float>(std::max<std::size_t>(n - 1, 1));
    };
    const float y = along(p.row, p.rows), x = along(p.column, p.columns);
    const auto y0 = static_cast<std::size_t>(y), x0 = static_cast<std::size_t>(x);
    const std::size_t y1 = std::min(y0 + 1, side_ - 1), x1 = std::min(x0 + 1, side_ - 1);
    const float dy = y - static_cast<float>(y0), dx = x - static_cast<float>(x0);
    const float *a = table_.row(y0 * side_ + x0), *b = table_.row(y0 * side_ + x1);
    const float *c = table_.row(y1 * side_ + x0), *d = table_.row(y1 * side_ + x1);
    for (std::size_t i = 0; i < table_.columns(); ++i) {
      out[i] += a[i] * (1 - dy) * (1 - dx) + b[i] * (1 - dy) * dx + c[i] * dy * (1 - dx) + d[i] * dy * dx;
    }
  }

  // A quarter of a head turns with the row, a quarter with the column, and the other half with them.
  rotation rotation_of(const std::vector<patch_place>& places) const {
    const std::size_t n = inverse_.size();
    rotation r{tensor({places.size(), 2 * n}), tensor({places.size(), 2 * n})};
    for (std::size_t t = 0; t < places.size(); ++t) {
      for (std::size_t i = 0; i < 2 * n; ++i) {
        const float angle = static_cast<float>(i < n ? places[t].row : places[t].column) * inverse_[i % n];
        r.cosine.row(t)[i] = std::cos(angle);
        r.sine.row(t)[i] = std::sin(angle);
      }
    }
    return r;
  }

  std::size_t merge_, side_;
  tensor patch_, patch_bias_, table_;
  layer_norm norm_;
  module_step merger_step_;
  linear fc1_, fc2_;
  std::vector<float> inverse_;
  std::vector<vision_block> blocks_;
};

}  // namespace generate
