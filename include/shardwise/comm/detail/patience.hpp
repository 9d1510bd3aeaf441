// SPDX-License-Identifier: Apache-2.0
// Waiting, until a deadline, for what can only be asked after.
#pragma once
#include <algorithm>
#include <chrono>
#include <thread>

namespace shardwise {
inline namespace v0 {
namespace detail {

class patience {
 public:
  using clock = std::chrono::steady_clock;
  explicit patience(std::chrono::milliseconds limit) : limit_(limit) {}

  /// Call it between two looks; false when the time is over. What is waited for is mostly about to come, so the thread
  /// stays awake at first; then it gives way; then it sleeps for a small part of the time that it has waited.
  bool pause() {
    if (++looks_ <= awake) return true;
    const clock::time_point now = clock::now();
    if (looks_ == awake + 1) start_ = now;
    const clock::duration waited = now - start_;
    if (waited >= limit_) return false;
    if (waited < std::chrono::milliseconds(2)) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(
          std::min<clock::duration>({waited / 16, std::chrono::milliseconds(1), limit_ - waited}));
    }
    return true;
  }

 private:
  static constexpr int awake = 50;
  clock::duration limit_;
  clock::time_point start_;
  long looks_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
