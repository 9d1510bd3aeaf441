// SPDX-License-Identifier: Apache-2.0
// Waiting for a stream, but not for ever.
#pragma once
#include <chrono>
#include <thread>

#include "shardwise/cuda/detail/relaxed_capture.hpp"
#include "shardwise/cuda/event.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {
namespace detail {

/// Returns when the stream has come to the mark, or false when `deadline` has passed. Throws where its work failed.
inline bool done_within(const event& mark, std::chrono::milliseconds deadline) {
  const relaxed_capture other_streams;
  const auto until = std::chrono::steady_clock::now() + deadline;
  while (!mark.done()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace detail
}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
