// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string>

#include "linear.hpp"
#include "ops.hpp"

namespace generate {

/// down(silu(gate(x)) * up(x)).
class mlp {
 public:
  mlp(const context& c, const std::string& path, std::size_t hidden, std::size_t width, bool bias)
      : step_(c, path),
        gate_(c, path + ".gate_proj", hidden, width, bias),
        up_(c, path + ".up_proj", hidden, width, bias),
        down_(c, path + ".down_proj", width, hidden, bias) {}

  /// `x` [tokens, hidden]. Collective. A partial sum where no row of the plan reduces it.
  value operator()(const value& x) const {
    const value in = step_.input(x);
    const value gate = gate_(in), up = up_(in);
    same_placement({{gate_.path(), gate.where()}, {up_.path(), up.where()}});
    return step_.output(down_(each(gate, up, [](float g, float u) { return silu(g) * u; })));
  }
  std::string_view path() const { return step_.path(); }

 private:
  module_step step_;
  linear gate_, up_, down_;
};

}  // namespace generate
