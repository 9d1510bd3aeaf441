// SPDX-License-Identifier: Apache-2.0
// Rotary position embeddings.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rope_config.hpp"
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
  rope(const rope_config& c, std::size_t head_dim)
      : sections_(c.sections), magnitude_(static_cast<float>(c.magnitude)) {
    const auto dim = static_cast<std::size_t>(static_cast<double>(head_dim) * c.rotated);
    inverse_ = inverse_frequencies(c.theta, dim / 2 * 2);
    for (float& f : inverse_) f /= static_cast<float>(c.linear);
    if (c.llama3) {
      for (float& f : inverse_) f = stretched(f, *c.llama3);
    }
    if (c.yarn) stretch(c.theta, *c.yarn);
    if (c.longrope) {
      context_ = c.longrope->context;
      longer_ = inverse_;
      divide(longer_, c.longrope->longer);
      divide(inverse_, c.longrope->shorter);
    }
  }

  /// For tokens at these positions of a sequence of which `longest` tokens are read at most. Throws `checkpoint_error`
  /// for one that would begin with other frequencies than it ends with.
  rotation operator()(const positions& at, std::size_t longest = 0) const {
    const std::vector<float>& inverse = frequencies(at, longest);
    const std::size_t half = inverse.size();
    rotation r{tensor({at.size(), half}), tensor({at.size(), half})};
    for (std::size_t t = 0; t < at.size(); ++t) {
      for (std::size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(at.axis[axis_of(i)][t]) * inverse[i];
        r.cosine.row(t)[i] = std::cos(angle) * magnitude_;
        r.sine.row(t)[i] = std::sin(angle) * magnitude_;
      }
    }
    return r;
  }

 private:
  const std::vector<float>& frequencies(const positions& at, std::size_t longest) const {
    if (longer_.empty() || at.size() == 0) return inverse_;
    const std::int64_t last = *std::max_element(at.axis[0].begin(), at.axis[0].end());
    if (static_cast<std::size_t>(last) >= context_) return longer_;
    if (longest > context_) {
      throw sw::checkpoint_error("the frequencies of longrope change after ", context_, " tokens, and ", longest,
                                 " are asked for: this engine does not compute what it remembers anew; give a longer "
                                 "prompt, or ask for fewer new tokens");
    }
    return inverse_;
  }

  // Interleaved mrope: row and column take every third frequency each, as far as their sections reach.
  std::size_t axis_of(std::size_t i) const {
    if (i % 3 == 1 && i < 3 * sections_[1]) return 1;
    if (i % 3 == 2 && i < 3 * sections_[2]) return 2;
    return 0;
  }

  static float stretched(float inverse, const rope_config::stretching& s) {
    const double wavelength = 2 * pi / static_cast<double>(inverse);
    if (wavelength > s.context / s.low) return static_cast<float>(static_cast<double>(inverse) / s.factor);
    if (wavelength < s.context / s.high) return inverse;
    const double smooth = (s.context / wavelength - s.low) / (s.high - s.low);
    return static_cast<float>((1 - smooth) * static_cast<double>(inverse) / s.factor +
                              smooth * static_cast<double>(inverse));
  }

  void stretch(double theta, const rope_config::ramp& r) {
    const double dim = 2 * static_cast<double>(inverse_.size());
    // Which frequency turns so often within the context: theta^(-2i / dim) * context / (2 pi) = times.
    const auto turning = [&](double times) {
      return dim * std::log(r.context / (times * 2 * pi)) / (2 * std::log(theta));
    };
    double begin = turning(r.fast), end = turning(r.slow);
    if (r.truncate) {
      begin = std::floor(begin);
      end = std::ceil(end);
    }
    begin = std::max(begin, 0.0);
    end = std::min(end, dim - 1);
    if (begin == end) end += 0.001;
    for (std::size_t i = 0; i < inverse_.size(); ++i) {
      const double stretched = std::clamp((static_cast<double>(i) - begin) / (end - begin), 0.0, 1.0);
      inverse_[i] = static_cast<float>(static_cast<double>(inverse_[i]) * (stretched / r.factor + (1 - stretched)));
    }
  }

  static void divide(std::vector<float>& inverse, const std::vector<double>& by) {
    for (std::size_t i = 0; i < inverse.size(); ++i) inverse[i] /= static_cast<float>(by[i]);
  }

  static constexpr double pi = 3.14159265358979323846;
  std::array<std::size_t, 3> sections_;
  float magnitude_;
  std::vector<float> inverse_, longer_;  // the second in sequences of more than context_ tokens, if there is one
  std::size_t context_ = 0;
};

}  // namespace generate
