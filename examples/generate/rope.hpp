// SPDX-License-Identifier: Apache-2.0
// Rotary position embeddings.
#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "config.hpp"
#include "tensor.hpp"

namespace generate {

/// The place of each token on three axes: time, row and column. Text stands at the same place on all of them.
struct positions {
  std::array<std::vector<std::int64_t>, 3> axis;
  std::size_t size() const { return axis[0].size(); }
  void push(std::int64_t time, std::int64_t row, std::int64_t column) {
    axis[0].push_back(time);
    axis[1].push_back(row);
    axis[2].push_back(column);
  }
};

/// Cosines and sines [tokens, half]: element i of a head turns with element i + half.
struct rotation {
  tensor cosine, sine;

  void turn(float* head, std::size_t token) const {
    const std::size_t half = cosine.columns();
    const float *c = cosine.row(token), *s = sine.row(token);
    for (std::size_t i = 0; i < half; ++i) {
      const float a = head[i], b = head[i + half];
      head[i] = a * c[i] - b * s[i];
      head[i + half] = b * c[i] + a * s[i];
    }
  }
};

/// theta^(-2i / dim) for i < dim / 2.
inline std::vector<float> inverse_frequencies(double theta, std::size_t dim) {
  std::vector<float> inverse(dim / 2);
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] = 1.0f / std::pow(static_cast<float>(theta), static_cast<float>(2 * i) / static_cast<float>(dim));
  }
  return inverse;
}

class rope {
 public:
  rope(const rope_config& c, std::size_t head_dim) : sections_(c.sections) {
    const auto dim = static_cast<std::size_t>(static_cast<double>(head_dim) * c.rotated);
    inverse_ = inverse_frequencies(c.theta, dim / 2 * 2);
    if (c.llama3) {
      for (float& f : inverse_) f = stretched(f, *c.llama3);
    }
  }

  rotation operator()(const positions& at) const {
    const std::size_t half = inverse_.size();
    rotation r{tensor({at.size(), half}), tensor({at.size(), half})};
    for (std::size_t t = 0; t < at.size(); ++t) {
      for (std::size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(at.axis[axis_of(i)][t]) * inverse_[i];
        r.cosine.row(t)[i] = std::cos(angle);
        r.sine.row(t)[i] = std::sin(angle);
      }
    }
    return r;
  }

 private:
  // Interleaved mrope: row and column take every third frequency each, as far as their sections reach.
  std::size_t axis_of(std::size_t i) const {
    if (i % 3 == 1 && i < 3 * sections_[1]) return 1;
    if (i % 3 == 2 && i < 3 * sections_[2]) return 2;
    return 0;
  }

  static float stretched(float inverse, const rope_config::stretching& s) {
    const double wavelength = 2 * 3.14159265358979323846 / static_cast<double>(inverse);
    if (wavelength > s.context / s.low) return static_cast<float>(static_cast<double>(inverse) / s.factor);
    if (wavelength < s.context / s.high) return inverse;
    const double smooth = (s.context / wavelength - s.low) / (s.high - s.low);
    return static_cast<float>((1 - smooth) * static_cast<double>(inverse) / s.factor +
                              smooth * static_cast<double>(inverse));
  }

  std::array<std::size_t, 3> sections_;
  std::vector<float> inverse_;
};

}  // namespace generate
