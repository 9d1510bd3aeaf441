// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "linear.hpp"

namespace generate {

/// RMSNorm of rows over all heads, which may lie on several ranks: then each has the scale of its own heads, and the
/// module's step adds up their squares. A head that several ranks have counts in parts.
class wide_norm {
 public:
  wide_norm(const context& c, const std::string& path, std::size_t width, float eps)
      : step_(c, path), scale_(c.parameters.at(path + ".weight", {width})), width_(width), eps_(eps) {
    const sw::cut& how = scale_.parameter->how;
    if (how.whole()) return;
    for (const sw::interval& i : sw::pieces_of(how, width, c.sharding.tp(), c.comm.rank())) {
      for (std::size_t at = i.begin; at < i.end; ++at) {
        share_.push_back(1.0 / sw::owners_of(how, width, c.sharding.tp(), at));
      }
    }
  }

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
  tensor squares_of(const tensor& x) const {
    tensor out({x.rows(), 1});
    for (std::size_t t = 0; t < x.rows(); ++t) {
      double total = 0;
      for (std::size_t i = 0; i < x.columns(); ++i) {
        const double v = static_cast<double>(x.row(t)[i]);
        total += v * v * (share_.empty() ? 1 : share_[i]);
      }
      out.row(t)[0] = static_cast<float>(total);
    }
    return out;
  }

  module_step step_;
  weight scale_;
  std::size_t width_;
  float eps_;
  std::vector<double> share_;  // of each feature here, what is this rank's; empty: all
};

}  // namespace generate
