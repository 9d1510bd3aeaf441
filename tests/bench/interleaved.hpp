// SPDX-License-Identifier: Apache-2.0
// Two ways to do one thing, timed in turn, so that what else the machine does meets both alike.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <random>
#include <vector>

namespace bench {

template <class F>
double seconds(const F& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// A median, and where it lies with 95 % confidence (bootstrap).
struct estimate {
  double middle = 0, low = 0, high = 0;
};
inline estimate estimate_of(const std::vector<double>& values) {
  constexpr std::size_t resamples = 2000;
  std::mt19937 random(1);
  std::vector<double> medians(resamples), sample(values.size());
  for (double& m : medians) {
    for (double& v : sample) v = values[random() % values.size()];
    m = median(sample);
  }
  std::sort(medians.begin(), medians.end());
  return {median(values), medians[resamples / 40], medians[resamples - 1 - resamples / 40]};
}

/// Seconds of each block.
struct two_ways {
  std::vector<double> a, b;

  /// f(a, b) of each pair of blocks.
  template <class F>
  std::vector<double> of_pairs(const F& f) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < a.size(); ++i) out.push_back(f(a[i], b[i]));
    return out;
  }
};

/// One block of each to warm up, then `blocks` of each; who comes first changes from pair to pair. `between` is called
/// after each block, and not timed.
template <class A, class B, class Between>
two_ways interleaved(std::size_t blocks, const A& a, const B& b, const Between& between) {
  two_ways times;
  a();
  between();
  b();
  between();
  for (std::size_t i = 0; i < blocks; ++i) {
    for (const bool first : {true, false}) {
      if (first == (i % 2 == 0)) {
        times.a.push_back(seconds(a));
      } else {
        times.b.push_back(seconds(b));
      }
      between();
    }
  }
  return times;
}

}  // namespace bench
