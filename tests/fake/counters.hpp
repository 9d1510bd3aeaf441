// SPDX-License-Identifier: Apache-2.0
// What the fake counts of its process.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fake/functions.hpp"

namespace fake {

struct counters {
  using number = std::atomic<std::uint64_t>;
  std::array<number, function_total> calls{}, operations{}, bytes{};
  number groups{0}, launches{0}, largest_group{0}, device_allocations{0}, pinned_allocations{0}, synchronisations{0},
      pageable_copies{0}, other_device_current{0}, findings{0};
  // Not reset: what exists.
  std::atomic<std::size_t> communicators{0}, streams{0}, events{0}, graphs{0}, device_blocks{0}, pinned_blocks{0},
      segments{0};
};

extern counters all_counts;
inline counters& counts() { return all_counts; }

inline void count_call(function f) {
  all_counts.calls[static_cast<std::size_t>(f)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace fake
