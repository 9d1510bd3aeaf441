// SPDX-License-Identifier: Apache-2.0
// The point in time at which a wait ends, come what may, and how the wait is spelled.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
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

/// A deadline of years is one of a year: the clock's own arithmetic must not overflow.
constexpr std::chrono::milliseconds at_most_a_year(std::chrono::milliseconds span) {
  return std::min<std::chrono::milliseconds>(span, std::chrono::hours(24 * 365));
}
/// A deadline as an option of `of`: above 0, and of a year at most.
inline std::chrono::milliseconds require_deadline(std::chrono::milliseconds span, std::string_view of) {
  if (span <= std::chrono::milliseconds(0)) {
    raise(comm_error("the deadline of ", of, " is ", span.count(), " ms; it must be above 0"));
  }
  return at_most_a_year(span);
}

/// "30 s", "250 ms"
inline std::string span_text(std::chrono::milliseconds span) {
  const auto ms = span.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
