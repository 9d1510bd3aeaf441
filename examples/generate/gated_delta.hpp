// SPDX-License-Identifier: Apache-2.0
// GatedDeltaNet: linear attention with a state that decays and is corrected token by token.
#pragma once
#include <cmath>
#include <cstddef>
#include <string>

#include "cache.hpp"
#include "config.hpp"
#include "linear.hpp"
#include "ops.hpp"

namespace generate {

/// The recurrence runs whole on every rank: what goes into it must be whole, however it was computed.
class gated_delta {
 public:
  gated_delta(const context& c, const text_config& t, const std::string& path)
      : step_(c, path, c.residual),
        heads_(*t.linear_attention),
        eps_(t.norm_eps),
        qkv_(c, path + ".in_proj_qkv", t.hidden, channels()),
        z_(c, path + ".in_proj_z", t.hidden, values()),
        b_(c, path + ".in_proj_b", t.hidden, heads_.value_heads),
        a_(c, path + ".in_proj_a", t.hidden, heads_.value_heads),
        out_(c, path + ".out_proj", values(), t.hidden, false, c.residual),
        taps_(c.parameters.whole(path + ".conv1d.weight", {channels(), 1, heads_.taps})),
        log_decay_(c.parameters.whole(path + ".A_log", {heads_.value_heads})),
        step_bias_(c.parameters.whole(path + ".dt_bias", {heads_.value_heads})),
        scale_(c.parameters.whole(path + ".norm.weight", {heads_.value_dim})) {}

  /// `x` [batch * tokens, hidden], normed. Collective.
  value operator()(const value& x, const memory& past, layer_memory& mine) const {
    const value in = step_.block_input(x);
    const tensor qkv = whole(qkv_, in), z = whole(z_, in), b = whole(b_, in), a = whole(a_, in);
    if (mine.recurrent.empty()) {
      mine.inputs = tensor({past.batch, heads_.taps - 1, channels()});
      mine.recurrent = tensor({past.batch, heads_.value_heads, heads_.key_dim, heads_.value_dim});
    }
    tensor mixed(qkv.shape()), y({qkv.rows(), values()});
    const std::size_t tokens = qkv.rows() / past.batch;
    for (std::size_t batch = 0; batch < past.batch; ++batch) {
      for (std::size_t i = 0; i < tokens; ++i) {
        const std::size_t t = batch * tokens + i;
        convolve(qkv.row(t), mine.inputs.row(batch * (heads_.taps - 1)), mixed.row(t));
        for (std::size_t h = 0; h < heads_.value_heads; ++h) {
          float* out = y.row(t) + h * heads_.value_dim;
          recur(mixed.row(t), h, b.row(t)[h], a.row(t)[h], state_of(mine, batch, h), out);
          norm(out, z.row(t) + h * heads_.value_dim);
        }
      }
    }
    return step_.whole_output(out_(sw::assume_placed(sw::replicated{}, y)));
  }

 private:
  std::size_t keys() const { return heads_.key_heads * heads_.key_dim; }
  std::size_t values() const { return heads_.value_heads * heads_.value_dim; }
  std::size_t channels() const { return 2 * keys() + values(); }

  static tensor whole(const linear& projection, const value& x) {
    return sw::expect_replicated(projection(x), projection.path()).local();
  }
  matrix_map state_of(const layer_memory& mine, std::size_t batch, std::size_t h) const {
    const std::size_t one = heads_.key_dim * heads_.value_dim;
    return map(mine.recurrent.data() + (batch * heads_.value_heads + h) * one, heads_.key_dim, heads_.value_dim,
               heads_.value_dim);
  }

  // Each channel by itself, over the last `taps` tokens; `before` are all of them but this one, oldest first.
  void convolve(const float* now, float* before, float* out) const {
    const std::size_t n = channels(), last = heads_.taps - 1;
    for (std::size_t c = 0; c < n; ++c) {
      const float* tap = taps_.data() + c * heads_.taps;
      float total = now[c] * tap[last];
      for (std::size_t k = 0; k < last; ++k) total += before[k * n + c] * tap[k];
      out[c] = silu(total);
    }
    if (last == 0) return;
    std::copy(before + n, before + last * n, before);
    std::copy_n(now, n, before + (last - 1) * n);
  }

  // One token and one value head: the state forgets, is corrected towards `v` at `k`, and is asked at `q`.
  void recur(const float* mixed, std::size_t h, float b, float a, matrix_map state, float* out) const {
    using vector = Eigen::VectorXf;
    const std::size_t key_head = h / (heads_.value_heads / heads_.key_heads);
    const auto at = [](const float* p, std::size_t n) { return Eigen::Map<const vector>(p, index_of(n)); };
    vector q = at(mixed + key_head * heads_.key_dim, heads_.key_dim);
    vector k = at(mixed + keys() + key_head * heads_.key_dim, heads_.key_dim);
    const auto v = at(mixed + 2 * keys() + h * heads_.value_dim, heads_.value_dim);
    q *= 1.0f / std::sqrt(q.squaredNorm() + 1e-6f) / std::sqrt(static_cast<float>(heads_.key_dim));
    k *= 1.0f / std::sqrt(k.squaredNorm() + 1e-6f);

    state *= std::exp(-std::exp(log_decay_.data()[h]) * softplus(a + step_bias_.data()[h]));
    const vector correction = sigmoid(b) * (v - state.transpose() * k);
    state.noalias() += k * correction.transpose();
    Eigen::Map<vector>(out, index_of(heads_.value_dim)).noalias() = state.transpose() * q;
  }

  void norm(float* head, const float* gate) const {
    const std::size_t n = heads_.value_dim;
    double squares = 0;
    for (std::size_t i = 0; i < n; ++i) squares += static_cast<double>(head[i]) * static_cast<double>(head[i]);
    const auto inverse =
        static_cast<float>(1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps_)));
    for (std::size_t i = 0; i < n; ++i) head[i] *= inverse * scale_.data()[i] * silu(gate[i]);
  }

  module_step step_;
  linear_attention_config heads_;
  float eps_;
  linear qkv_, z_, b_, a_, out_;
  tensor taps_, log_decay_, step_bias_, scale_;
};

}  // namespace generate
