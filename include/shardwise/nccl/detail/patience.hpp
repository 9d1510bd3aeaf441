// SPDX-License-Identifier: Apache-2.0
// Waiting for what can only be asked after, until a deadline.
#pragma once
#include <algorithm>
#include <chrono>
#include <thread>

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

class patience {
 public:
  using clock = std::chrono::steady_clock;
  explicit patience(std::chrono::milliseconds limit, clock::time_point start = clock::now())
      : start_(start), end_(start_ + limit) {}

  // Lets others run for a moment; false when the time is over. At first the thread stays awake, since a step of a model
  // is done in milliseconds; then it sleeps for a small part of what it has waited.
  bool pause() const {
    const clock::time_point now = clock::now();
    if (now >= end_) return false;
    const clock::duration waited = now - start_;
    if (waited < std::chrono::milliseconds(10)) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(
          std::min({waited / 16, clock::duration(std::chrono::milliseconds(1)), clock::duration(end_ - now)}));
    }
    return true;
  }

 private:
  clock::time_point start_, end_;
};

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
