// SPDX-License-Identifier: Apache-2.0
// Asking after work while another stream, of this thread or of any, is captured.
#pragma once
#include "shardwise/cuda/detail/runtime.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {
namespace detail {

/// While it lives CUDA lets this thread query streams and events although others are captured: what is asked after is
/// not, so that no capture can come to depend on the answer. For the thread that made it.
class relaxed_capture {
 public:
  relaxed_capture() { exchange(); }
  relaxed_capture(const relaxed_capture&) = delete;
  relaxed_capture& operator=(const relaxed_capture&) = delete;
  ~relaxed_capture() { exchange(); }

 private:
  void exchange() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

/// Did CUDA refuse to answer because of a capture? Nothing is known then of what was asked after.
inline bool is_of_capture(cudaError_t code) {
  return code >= cudaErrorStreamCaptureUnsupported && code <= cudaErrorStreamCaptureWrongThread;
}

}  // namespace detail
}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
