// SPDX-License-Identifier: Apache-2.0
// How often something is tried again.
#pragma once
#include <algorithm>
#include <chrono>
#include <thread>

#include "shardwise/comm/detail/deadline.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Waits between attempts, first for 1 ms and then twice as long each time, `most` at most.
class backoff {
 public:
  backoff(const deadline& end, std::chrono::milliseconds most) : end_(end), most_(most) {}
  /// False when the deadline has passed; the last attempt is at the deadline.
  bool again() {
    if (end_.passed()) return false;
    std::this_thread::sleep_for(std::min(pause_, std::chrono::milliseconds(std::max(end_.left_ms(), 1))));
    pause_ = std::min(pause_ * 2, most_);
    return true;
  }

 private:
  const deadline end_;
  const std::chrono::milliseconds most_;
  std::chrono::milliseconds pause_{1};
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
