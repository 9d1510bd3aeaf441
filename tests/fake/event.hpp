// SPDX-License-Identifier: Apache-2.0
// Events: the n-th record of one is reached when its stream comes to it.
#pragma once
#include <cuda_runtime_api.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "fake/stream.hpp"

namespace fake {

class event {
 public:
  static event* make(unsigned flags);
  void keep() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release();

  /// Asks the stream to reach the next record.
  void record(stream& on);
  /// Lets the stream wait for the last record that was asked for.
  void await(stream& on);

  bool reached();
  void wait();
  cudaError_t elapsed(event& until, float& milliseconds);

  unsigned flags = 0;
  int device = 0;                         // that was current when it was made: only this one's streams may record it
  std::atomic<graph*> captured{nullptr};  // the last record was captured by this graph

 private:
  explicit event(unsigned f) : flags(f) {}
  void reach(std::uint64_t generation);
  void wait(std::uint64_t generation);

  std::atomic<int> references_{1};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t recorded_ = 0, reached_ = 0;
  std::chrono::steady_clock::time_point when_;
};

}  // namespace fake
