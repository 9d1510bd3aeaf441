// SPDX-License-Identifier: Apache-2.0
// Norms and activations: arithmetic without weights that are cut.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include "linear.hpp"

namespace generate {

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
inline float silu(float x) { return x / (1.0f + std::exp(-x)); }
inline float gelu_tanh(float x) {
  return 0.5f * x * (1.0f + std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));
}
inline float gelu_exact(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.7071067811865476f)); }
/// log(1 + exp(x)), which is x where exp would say nothing more.
inline float softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

/// f of each element, in place.
template <class F>
value each(value x, F f) {
  return sw::elementwise(
      [&](tensor t) {
        std::transform(t.data(), t.data() + t.elements(), t.data(), f);
        return t;
      },
      x);
}
/// f of the elements of two tensors of one shape, into the first.
template <class F>
value each(value x, const value& y, F f) {
  return sw::elementwise(
      [&](tensor a, const tensor& b) {
        std::transform(a.data(), a.data() + a.elements(), b.data(), a.data(), f);
        return a;
      },
      x, y);
}
/// x + y, in a new tensor.
inline value sum(const value& x, const value& y) {
  return sw::sum_of(x, y, [](const tensor& a, const tensor& b) {
    tensor out(a.shape());
    std::transform(a.data(), a.data() + a.elements(), b.data(), out.data(), [](float p, float q) { return p + q; });
    return out;
  });
}

/// x[0..n) becomes its softmax; beside it there is one more score, `sink`, whose share is dropped.
inline void softmax(float* x, std::size_t n, float sink = -std::numeric_limits<float>::infinity()) {
  if (n == 0) return;
  const float top = std::max(sink, *std::max_element(x, x + n));
  float total = std::exp(sink - top);
  for (std::size_t i = 0; i < n; ++i) total += x[i] = std::exp(x[i] - top);
  for (std::size_t i = 0; i < n; ++i) x[i] /= total;
}

/// RMSNorm of rows of `width` elements: of the hidden state, or of each head by itself.
class rms_norm {
 public:
  /// `offset` is what is added to the stored scale: some families store it less one.
  rms_norm(const context& c, const std::string& path, std::size_t width, float eps, float offset)
      : scale_(c.parameters.whole(path + ".weight", {width})), eps_(eps), offset_(offset) {}

  value operator()(const value& x) const {
    return sw::elementwise(
        [&](const tensor& in) {
          tensor out(in.shape());
          const std::size_t width = scale_.elements();
          for (std::size_t at = 0; at < in.elements(); at += width) norm(in.data() + at, out.data() + at, width);
          return out;
        },
        x);
  }

 private:
  void norm(const float* in, float* out, std::size_t width) const {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += static_cast<double>(in[i]) * static_cast<double>(in[i]);
    const auto inverse =
        static_cast<float>(1 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(eps_)));
    for (std::size_t i = 0; i < width; ++i) out[i] = in[i] * inverse * (scale_.data()[i] + offset_);
  }

  tensor scale_;
  float eps_, offset_;
};

/// LayerNorm of each row.
class layer_norm {
 public:
  layer_norm(const context& c, const std::string& path, std::size_t width, float eps)
      : scale_(c.parameters.whole(path + ".weight", {width})),
        bias_(c.parameters.whole(path + ".bias", {width})),
        eps_(eps) {}

  value operator()(const value& x) const {
    return sw::elementwise(
        [&](const tensor& in) {
          tensor out(in.shape());
          for (std::size_t t = 0; t < in.rows(); ++t) {
            const auto row = map(in).row(index_of(t)).array();
            const float mean = row.mean();
            const float inverse = 1.0f / std::sqrt((row - mean).square().mean() + eps_);
            map(out).row(index_of(t)).array() =
                (row - mean) * inverse * map(scale_).row(0).array() + map(bias_).row(0).array();
          }
          return out;
        },
        sw::expect_replicated(x, "a layer norm"));
  }

 private:
  tensor scale_, bias_;
  float eps_;
};

}  // namespace generate
