// SPDX-License-Identifier: Apache-2.0
// The counts that collectives are given for each rank.
#pragma once
#include <cstddef>
#include <span>

namespace shardwise {
inline namespace v0 {
namespace detail {

inline std::size_t sum_of_counts(std::span<const std::size_t> counts) {
  std::size_t sum = 0;
  for (const std::size_t n : counts) sum += n;
  return sum;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
