// SPDX-License-Identifier: Apache-2.0
// The point in time at which a wait ends, come what may.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class deadline {
 public:
  using clock = std::chrono::steady_clock;

  explicit deadline(std::chrono::milliseconds span) : at_(clock::now() + span) {}

  bool passed() const { return clock::now() >= at_; }
  /// In whole milliseconds, rounded up, as poll(2) takes them; 0 when it has passed.
  int left_ms() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(at_ - clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30));
  }
  /// This one, or in `span` from now if that is earlier.
  deadline or_in(std::chrono::milliseconds span) const {
    deadline other(span);
    return other.at_ < at_ ? other : *this;
  }
  /// Another rank waits for `left_ms` more. Who decides for all does so a little earlier, so that the reason reaches
  /// that rank before it gives up without one. True where that is earlier than before.
  bool hurry_for(std::uint32_t left_ms) {
    const auto theirs = clock::now() + std::chrono::microseconds(std::int64_t{left_ms} * (1000 - 1000 / 16));
    if (theirs >= at_) return false;
    at_ = theirs;
    return true;
  }

 private:
  clock::time_point at_;
};

/// A deadline as an option: above 0, and of a year at most, so that the clock's own arithmetic does not overflow.
inline std::chrono::milliseconds require_deadline(std::chrono::milliseconds span, std::string_view of) {
  if (span <= std::chrono::milliseconds(0)) {
    raise(comm_error(of, ": the deadline is ", span.count(), " ms; it must be above 0"));
  }
  return std::min<std::chrono::milliseconds>(span, std::chrono::hours(24 * 365));
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
