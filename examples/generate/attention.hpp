// SPDX-License-Identifier: Apache-2.0
// Attention with grouped queries: with a gate, sinks, a window, norms of q and k, as the config says.
#pragma once
#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>

#include "cache.hpp"
#include "config.hpp"
#include "linear.hpp"
#include "ops.hpp"
#include "query_key_value.hpp"
#include "rope.hpp"
#include "wide_norm.hpp"

namespace generate {

/// Scores, softmax and the sum of values of one head: `queries` [n, dim] against `keys` and `values` [m, dim].
/// Scores are multiplied by `scale`, and compete with `sink`. `causal`: query i is token m - n + i, and sees the tokens
/// up to itself, the last `window` of them if there is one.
inline void attend(const matrix_map& queries, const matrix_map& keys, const matrix_map& values, float scale,
                   bool causal, matrix_map out, std::optional<std::size_t> window = {},
                   float sink = -std::numeric_limits<float>::infinity()) {
  matrix scores = queries * keys.transpose();
  scores *= scale;
  const Eigen::Index before = keys.rows() - queries.rows();
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    const Eigen::Index end = causal ? before + i + 1 : keys.rows();
    const Eigen::Index begin = window && index_of(*window) < end ? end - index_of(*window) : 0;
    softmax(&scores(i, begin), static_cast<std::size_t>(end - begin), sink);
    scores.row(i).head(begin).setZero();
    scores.row(i).tail(keys.rows() - end).setZero();
  }
  out.noalias() = scores * values;
}

class attention {
 public:
  /// Of layer `index`.
  attention(const context& c, const text_config& t, std::size_t index, const std::string& path)
      : step_(c, path, c.residual),
        dim_(t.head_dim),
        gated_(t.gated),
        scale_(t.score_scale),
        window_(t.windowed_layers[index] ? t.window : std::nullopt),
        qkv_(c, t, path),
        o_(c, path + ".o_proj", t.heads * t.head_dim, t.hidden, t.output_bias, c.residual) {
    if (t.sinks) sinks_ = c.parameters.at(path + ".sinks", {t.heads});
    if (t.query_norms == query_norm::each_head) {
      q_norm_.emplace(c, path + ".q_norm", t.head_dim, t.norm_eps, t.norm_offset);
      k_norm_.emplace(c, path + ".k_norm", t.head_dim, t.norm_eps, t.norm_offset);
    } else if (t.query_norms == query_norm::all_heads) {
      wide_q_norm_.emplace(c, path + ".q_norm", t.heads * t.head_dim, t.norm_eps);
      wide_k_norm_.emplace(c, path + ".k_norm", t.key_value_heads * t.head_dim, t.norm_eps);
    }
  }

  /// `x` [batch * tokens, hidden], normed. Collective.
  value operator()(const value& x, const rotation& turn, const memory& past, layer_memory& mine) const {
    const value in = step_.block_input(x);
    auto [q, k, v] = qkv_(in);
    const sw::placement heads = q.where();
    if (sinks_) same_placement({{qkv_.path(), heads}, {sinks_->parameter->name, sinks_->parameter->where()}});

    std::optional<value> gate;
    if (gated_) {
      gate = half_of_heads(q, 1);
      q = half_of_heads(q, 0);
    }
    if (q_norm_) {
      q = (*q_norm_)(q);
      k = (*k_norm_)(k);
    }
    if (wide_q_norm_) {
      q = (*wide_q_norm_)(q);
      k = (*wide_k_norm_)(k);
    }
    turn_heads(q.local(), turn);
    turn_heads(k.local(), turn);
    remember(past, k.local(), mine.keys);
    remember(past, v.local(), mine.values);

    value y = sw::assume_placed(heads, attend_all(q.local(), past, mine));
    if (gate) y = each(y, *gate, [](float a, float g) { return a * sigmoid(g); });
    return step_.whole_output(o_(y));
  }

 private:
  // Inside each head a gated q_proj yields the query, then the gate.
  value half_of_heads(const value& q, std::size_t half) const {
    return sw::elementwise(
        [&](const tensor& both) {
          tensor out({both.rows(), both.columns() / 2});
          for (std::size_t i = 0; i < out.elements(); i += dim_) {
            std::copy_n(both.data() + 2 * i + half * dim_, dim_, out.data() + i);
          }
          return out;
        },
        q);
  }

  void turn_heads(const tensor& x, const rotation& turn) const {
    for (std::size_t t = 0; t < x.rows(); ++t) {
      for (std::size_t at = 0; at < x.columns(); at += dim_) turn.turn(x.row(t) + at, t);
    }
  }

  // Appends the new tokens to what is remembered of each batch row.
  static void remember(const memory& past, const tensor& x, tensor& kept) {
    if (kept.empty()) kept = tensor({past.batch, past.capacity, x.columns()});
    const std::size_t tokens = x.rows() / past.batch;
    for (std::size_t b = 0; b < past.batch; ++b) {
      std::copy_n(x.row(b * tokens), tokens * x.columns(), kept.row(b * past.capacity + past.length));
    }
  }

  // How many heads there are here follows from how large the local tensors are.
  tensor attend_all(const tensor& q, const memory& past, const layer_memory& mine) const {
    tensor out(q.shape());
    const std::size_t width = mine.keys.columns();
    const std::size_t heads = q.columns() / dim_, key_value_heads = width / dim_;
    const std::size_t tokens = q.rows() / past.batch, seen = past.length + tokens;
    for (std::size_t b = 0; b < past.batch && tokens != 0; ++b) {
      for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t kv = h / (heads / key_value_heads);
        attend(map(q.row(b * tokens) + h * dim_, tokens, dim_, q.columns()),
               map(mine.keys.row(b * past.capacity) + kv * dim_, seen, dim_, width),
               map(mine.values.row(b * past.capacity) + kv * dim_, seen, dim_, width), scale_, true,
               map(out.row(b * tokens) + h * dim_, tokens, dim_, out.columns()), window_,
               sinks_ ? sinks_->local.data()[h] : -std::numeric_limits<float>::infinity());
      }
    }
    return out;
  }

  module_step step_;
  std::size_t dim_;
  bool gated_;
  float scale_;
  std::optional<std::size_t> window_;
  query_key_value qkv_;
  linear o_;
  std::optional<weight> sinks_;
  std::optional<rms_norm> q_norm_, k_norm_;
  std::optional<wide_norm> wide_q_norm_, wide_k_norm_;
};

}  // namespace generate
