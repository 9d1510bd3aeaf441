// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <string>

#include "linear.hpp"

namespace generate {

/// RMSNorm of rows over all heads, which may lie on several ranks: then each has the scale of its own heads, and the
/// module's step adds up their squares.
class wide_norm {
 public:
  wide_norm(const context& c, const std::string& path, std::size_t width, float eps)
      : step_(c, path), scale_(c.parameters.at(path + ".weight", {width})), width_(width), eps_(eps) {}

  /// `x` [tokens, width]. Collective.
  value operator()(const value& x) const {
    const sw::placement where =
        same_placement({{step_.path(), x.where()}, {scale_.parameter->name, scale_.parameter->where()}});
    const sw::placement summed = where == sw::placement(sw::replicated{}) ? where : sw::placement(sw::partial<>{});
    const tensor squares = step_.whole_output(sw::assume_placed(summed, squares_of(x.local()))).local();
    tensor out(x.local().shape());
    for (std::size_t t = 0; t < out.rows(); ++t) {
      const float inverse = 1 / std::sqrt(squares.row(t)[0] / static_cast<float>(width_) + eps_);
      const float* in = x.local().row(t);
      for (std::size_t i = 0; i < out.columns(); ++i) out.row(t)[i] = in[i] * inverse * scale_.local.data()[i];
    }
    return sw::assume_placed(where, out);
  }

 private:
  static tensor squares_of(const tensor& x) {
    tensor out({x.rows(), 1});
    for (std::size_t t = 0; t < x.rows(); ++t) {
      double total = 0;
      for (std::size_t i = 0; i < x.columns(); ++i) {
        total += static_cast<double>(x.row(t)[i]) * static_cast<double>(x.row(t)[i]);
      }
      out.row(t)[0] = static_cast<float>(total);
    }
    return out;
  }

  module_step step_;
  weight scale_;
  std::size_t width_;
  float eps_;
};

}  // namespace generate
