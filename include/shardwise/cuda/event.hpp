// SPDX-License-Identifier: Apache-2.0
// A mark in a stream: what came before it is done, or not yet.
#pragma once
#include <utility>

#include "shardwise/cuda/stream.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// A mark in a stream of the device that is current when it is made; it takes no time. Done, until it is recorded.
/// Move-only; one thread at a time.
class event {
 public:
  event() { check(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  event(event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  event& operator=(event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~event() {
    if (handle_ != nullptr) (void)cudaEventDestroy(handle_);
  }

  cudaEvent_t get() const { return handle_; }

  /// Marks what is on `stream` now, and forgets the mark before.
  void record(stream_ref stream) { check(cudaEventRecord(handle_, stream), "cudaEventRecord"); }
  /// Has the stream come to the mark? Throws where its work failed.
  bool done() const {
    const cudaError_t code = cudaEventQuery(handle_);
    if (code == cudaErrorNotReady) {
      (void)cudaGetLastError();
      return false;
    }
    check(code, "cudaEventQuery");
    return true;
  }
  /// What is put on `later` from now on waits for the mark; the host does not.
  void block(stream_ref later) const { check(cudaStreamWaitEvent(later, handle_, 0), "cudaStreamWaitEvent"); }
  /// The host waits for the mark, without a deadline. Throws where the stream's work failed.
  void synchronize() const { check(cudaEventSynchronize(handle_), "cudaEventSynchronize"); }

 private:
  cudaEvent_t handle_ = nullptr;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
