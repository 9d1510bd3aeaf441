// SPDX-License-Identifier: Apache-2.0
// Streams: the engine's, and one's own.
#pragma once
#include <utility>

#include "shardwise/cuda/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// A stream that someone else keeps alive: one pointer, from and to `cudaStream_t`. The null stream by default. A value
/// that any thread may hold; CUDA lets any thread put work on a stream.
class stream_ref {
 public:
  constexpr stream_ref() = default;
  constexpr stream_ref(cudaStream_t handle) : handle_(handle) {}
  constexpr operator cudaStream_t() const { return handle_; }
  constexpr cudaStream_t get() const { return handle_; }

  /// Is all work on it done? Throws `cuda::error` where that work failed, and while the stream is captured: that would
  /// end the capture.
  bool done() const {
    if (capturing()) [[unlikely]]
      detail::fail(cudaErrorStreamCaptureUnsupported, "cudaStreamQuery", " of a stream that is being captured");
    const cudaError_t code = cudaStreamQuery(handle_);
    if (code == cudaErrorNotReady) {
      (void)cudaGetLastError();
      return false;
    }
    check(code, "cudaStreamQuery");
    return true;
  }
  /// Is its work being recorded into a graph instead of done?
  bool capturing() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(handle_, &status), "cudaStreamIsCapturing");
    return status != cudaStreamCaptureStatusNone;
  }
  /// The host waits, without a deadline, until all work on it is done. Throws where that work failed.
  void synchronize() const { check(cudaStreamSynchronize(handle_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t handle_ = nullptr;
};

/// A stream of the device that is current, which does not wait for the null stream. The destructor lets the work on it
/// go on, and does not wait. Move-only; one thread at a time moves or destroys it.
class stream {
 public:
  stream() { check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  stream(stream&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  stream& operator=(stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~stream() {
    if (handle_ != nullptr) (void)cudaStreamDestroy(handle_);
  }

  operator stream_ref() const { return handle_; }
  operator cudaStream_t() const { return handle_; }
  cudaStream_t get() const { return handle_; }
  /// See stream_ref.
  bool done() const { return stream_ref(handle_).done(); }
  bool capturing() const { return stream_ref(handle_).capturing(); }
  void synchronize() const { stream_ref(handle_).synchronize(); }

 private:
  cudaStream_t handle_ = nullptr;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
