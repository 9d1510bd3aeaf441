// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "config.hpp"
#include "linear.hpp"
#include "ops.hpp"

namespace generate {

/// What an MLP is made of.
struct mlp_config {
  std::size_t hidden, width;
  bool bias = false;
  bool fused = false;  ///< gate_up_proj: one product, gate beside up
  activation act = activation::silu;
};

/// down(act(gate(x)) * up(x)).
class mlp {
 public:
  mlp(const context& c, const std::string& path, const mlp_config& m)
      : step_(c, path, c.residual),
        gate_(c, path + (m.fused ? ".gate_up_proj" : ".gate_proj"), m.hidden, m.fused ? 2 * m.width : m.width, m.bias),
        down_(c, path + ".down_proj", m.width, m.hidden, m.bias, c.residual),
        act_(m.act == activation::silu ? silu : gelu_tanh) {
    if (!m.fused) up_.emplace(c, path + ".up_proj", m.hidden, m.width, m.bias);
  }

  /// `x` [tokens, hidden], all of them or as the residual stream is. Collective. A partial sum where no row of the plan
  /// reduces it.
  value operator()(const value& x) const {
    const value in = step_.block_input(x);
    const value gate = gate_(in);
    if (!up_) {
      same_placement({{gate_.path(), gate.where()}});
      return step_.output(down_(sw::assume_placed(gate.where(), halves(gate.local()))));
    }
    const value up = (*up_)(in);
    same_placement({{gate_.path(), gate.where()}, {up_->path(), up.where()}});
    return step_.output(down_(each(gate, up, [act = act_](float g, float u) { return act(g) * u; })));
  }
  /// Of what is whole, as much as the residual stream has of it.
  value kept(value y) const { return step_.kept(std::move(y)); }
  std::string_view path() const { return step_.path(); }

 private:
  tensor halves(const tensor& both) const {
    tensor out({both.rows(), both.columns() / 2});
    for (std::size_t t = 0; t < out.rows(); ++t) {
      const float *gate = both.row(t), *up = gate + out.columns();
      std::transform(gate, up, up, out.row(t), [&](float g, float u) { return act_(g) * u; });
    }
    return out;
  }

  module_step step_;
  linear gate_;
  std::optional<linear> up_;
  linear down_;
  float (*act_)(float);
};

}  // namespace generate
