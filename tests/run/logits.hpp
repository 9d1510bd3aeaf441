// SPDX-License-Identifier: Apache-2.0
// What each policy means on a whole row, written from its definition: the gathered computation that ranks are held to.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "shardwise/run/detail/philox.hpp"
#include "shardwise/run/logits_policy.hpp"

namespace gathered_logits {

namespace sw = shardwise;
using row = std::vector<double>;
using ids = std::vector<std::size_t>;

/// All ids, best first.
inline ids ranked(const row& l) {
  ids order(l.size());
  for (std::size_t v = 0; v < l.size(); ++v) order[v] = v;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return l[a] > l[b]; });
  return order;
}

/// S of `logits::log_softmax` over `kept`.
inline double sum(const row& l, const ids& kept, double temperature) {
  row left(l.size(), -std::numeric_limits<double>::infinity());
  for (const std::size_t v : kept) left[v] = l[v];
  const double top = *std::max_element(left.begin(), left.end());
  double total = 0;
  for (std::size_t b = 0; b < left.size(); b += 128) {
    const std::size_t end = std::min(b + 128, left.size());
    const double m = *std::max_element(left.begin() + static_cast<std::ptrdiff_t>(b),
                                       left.begin() + static_cast<std::ptrdiff_t>(end));
    if (std::isinf(m)) continue;
    double s = 0;
    for (std::size_t v = b; v < end; ++v) s += std::exp((left[v] - m) / temperature);
    total += s * std::exp((m - top) / temperature);
  }
  return total;
}

inline double log_softmax(const row& l, std::size_t id) {
  const ids order = ranked(l);
  return (l[id] - l[order[0]]) - std::log(sum(l, order, 1));
}

/// The ids that may be drawn, best first.
inline ids allowed(const row& l, const sw::sampling& how) {
  ids kept = ranked(l);
  if (how.top_k != 0) kept.resize(std::min(how.top_k, kept.size()));
  if (how.top_p == 1) return kept;
  const double s = sum(l, kept, how.temperature);
  double reached = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    reached += std::exp((l[kept[i]] - l[kept[0]]) / how.temperature);
    if (reached >= how.top_p * s) kept.resize(i + 1);
  }
  return kept;
}

inline std::size_t sample(const row& l, const sw::sampling& how, std::uint64_t position) {
  if (how.temperature == 0) return ranked(l)[0];
  ids kept = allowed(l, how);
  std::sort(kept.begin(), kept.end());
  std::size_t best = 0;
  double score = -std::numeric_limits<double>::infinity();
  for (const std::size_t v : kept) {
    const sw::detail::philox_words x =
        sw::detail::philox({{static_cast<std::uint32_t>(v), static_cast<std::uint32_t>(position),
                             static_cast<std::uint32_t>(position >> 32), 0}},
                           how.seed);
    const auto n = static_cast<double>(std::uint64_t{x.of[0]} << 20 | x.of[1] >> 12);
    const double g = -std::log(-std::log((n + 0.5) / 4503599627370496.0));
    if (l[v] / how.temperature + g > score) {
      score = l[v] / how.temperature + g;
      best = v;
    }
  }
  return best;
}

}  // namespace gathered_logits
