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

/// The recurrence of the value heads that a rank has, with the key heads that these read: all of them where the plan
/// gathers the products, its own where it cuts by head.
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
        taps_(c.parameters.at(path + ".conv1d.weight", {channels(), 1, heads_.taps})),
        log_decay_(c.parameters.at(path + ".A_log", {heads_.value_heads})),
        step_bias_(c.parameters.at(path + ".dt_bias", {heads_.value_heads})),
        scale_(c.parameters.whole(path + ".norm.weight", {heads_.value_dim})) {
    // The convolution goes over the channels of the product, and begins with the key head that the first value head
    // reads.
    const auto share = heads_.value_heads / heads_.key_heads;
    const bool same = taps_.parameter->how.whole() || (taps_.parameter->how.deals_like(qkv_.matrix().how) &&
                                                       c.parameters.rows_of(taps_).begin / heads_.key_dim ==
                                                           c.parameters.rows_of(log_decay_).begin / share);
    if (!same) refuse();
  }

  /// `x` [batch * tokens, hidden], normed. Collective.
  value operator()(const value& x, const memory& past, layer_memory& mine) const {
    const value in = step_.block_input(x), all = qkv_(in), gates = z_(in), corrections = b_(in), decays = a_(in);
    const sw::placement where = same_placement({{qkv_.path(), all.where()},
                                                {z_.path(), gates.where()},
                                                {b_.path(), corrections.where()},
                                                {a_.path(), decays.where()},
                                                {log_decay_.parameter->name, log_decay_.parameter->where()},
                                                {step_bias_.parameter->name, step_bias_.parameter->where()}});
    const tensor &qkv = all.local(), &z = gates.local(), &b = corrections.local(), &a = decays.local();
    const held here = held_of(qkv, z, b, a);
    if (mine.recurrent.empty()) {
      mine.inputs = tensor({past.batch, heads_.taps - 1, qkv.columns()});
      mine.recurrent = tensor({past.batch, here.value_heads, heads_.key_dim, heads_.value_dim});
    }
    tensor mixed(qkv.shape()), y(z.shape());
    const std::size_t tokens = qkv.rows() / past.batch;
    for (std::size_t batch = 0; batch < past.batch; ++batch) {
      for (std::size_t i = 0; i < tokens; ++i) {
        const std::size_t t = batch * tokens + i;
        convolve(qkv.row(t), qkv.columns(), mine.inputs.row(batch * (heads_.taps - 1)), mixed.row(t));
        for (std::size_t h = 0; h < here.value_heads; ++h) {
          float* out = y.row(t) + h * heads_.value_dim;
          recur(mixed.row(t), here, h, b.row(t)[h], a.row(t)[h], state_of(mine, batch * here.value_heads + h), out);
          norm(out, z.row(t) + h * heads_.value_dim);
        }
      }
    }
    return step_.whole_output(out_(sw::assume_placed(where, y)));
  }

 private:
  std::size_t keys() const { return heads_.key_heads * heads_.key_dim; }
  std::size_t values() const { return heads_.value_heads * heads_.value_dim; }
  std::size_t channels() const { return 2 * keys() + values(); }

  // The heads of this rank: each key head is read by the same number of consecutive value heads.
  struct held {
    std::size_t key_heads, value_heads;
  };
  held held_of(const tensor& qkv, const tensor& z, const tensor& b, const tensor& a) const {
    const std::size_t n = b.columns(), values = n * heads_.value_dim, twice = 2 * heads_.key_dim;
    const std::size_t keys = qkv.columns() > values ? (qkv.columns() - values) / twice : 0;
    const bool fits = keys != 0 && keys * twice + values == qkv.columns() && n % keys == 0 && z.columns() == values &&
                      a.columns() == n && log_decay_.local.elements() == n && step_bias_.local.elements() == n &&
                      taps_.local.rows() == qkv.columns();
    if (!fits) refuse();
    return {keys, n};
  }
  [[noreturn]] void refuse() const {
    throw sw::placement_error("'", step_.path(), "' is cut so that a rank has channels of heads that do not belong ",
                              "together: cut in_proj_qkv and conv1d in three groups (key, key and value heads) and ",
                              "in_proj_z, in_proj_b, in_proj_a, A_log and dt_bias by the same value heads, or gather ",
                              "the products (colwise_gather_output)");
  }
  matrix_map state_of(const layer_memory& mine, std::size_t index) const {
    const std::size_t one = heads_.key_dim * heads_.value_dim;
    return map(mine.recurrent.data() + index * one, heads_.key_dim, heads_.value_dim, heads_.value_dim);
  }

  // Each channel by itself, over the last `taps` tokens; `before` are all of them but this one, oldest first.
  void convolve(const float* now, std::size_t n, float* before, float* out) const {
    const std::size_t last = heads_.taps - 1;
    for (std::size_t c = 0; c < n; ++c) {
      const float* tap = taps_.local.data() + c * heads_.taps;
      float total = now[c] * tap[last];
      for (std::size_t k = 0; k < last; ++k) total += before[k * n + c] * tap[k];
      out[c] = silu(total);
    }
    if (last == 0) return;
    std::copy(before + n, before + last * n, before);
    std::copy_n(now, n, before + (last - 1) * n);
  }

  // One token and one value head: the state forgets, is corrected towards `v` at `k`, and is asked at `q`.
  void recur(const float* mixed, const held& here, std::size_t h, float b, float a, matrix_map state,
             float* out) const {
    using vector = Eigen::VectorXf;
    const std::size_t key_head = h / (here.value_heads / here.key_heads), keys = here.key_heads * heads_.key_dim;
    const auto at = [](const float* p, std::size_t n) { return Eigen::Map<const vector>(p, index_of(n)); };
    vector q = at(mixed + key_head * heads_.key_dim, heads_.key_dim);
    vector k = at(mixed + keys + key_head * heads_.key_dim, heads_.key_dim);
    const auto v = at(mixed + 2 * keys + h * heads_.value_dim, heads_.value_dim);
    q *= 1.0f / std::sqrt(q.squaredNorm() + 1e-6f) / std::sqrt(static_cast<float>(heads_.key_dim));
    k *= 1.0f / std::sqrt(k.squaredNorm() + 1e-6f);

    state *= std::exp(-std::exp(log_decay_.local.data()[h]) * softplus(a + step_bias_.local.data()[h]));
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
  weight taps_, log_decay_, step_bias_;
  tensor scale_;
};

}  // namespace generate
