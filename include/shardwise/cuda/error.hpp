// SPDX-License-Identifier: Apache-2.0
// What a call of the CUDA runtime that failed is reported as.
#pragma once
#include <string_view>

#include "shardwise/cuda/detail/runtime.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
/// The pieces of CUDA that shardwise needs, and no more: RAII over the runtime's handles. Nothing here synchronises
/// unless its name says so, and no destructor throws.
namespace cuda {

/// A call of the CUDA runtime that failed: "device 1: cudaMalloc of 4096 bytes: out of memory
/// (cudaErrorMemoryAllocation 2)". Immutable; holds no memory of its own, so it may be copied to and read by any
/// thread.
class error : public shardwise::error {
 public:
  /// `call` is a literal, or lives as long as the process. `device` is -1 where there was none.
  template <class... Parts>
  error(cudaError_t code, const char* call, int device, const Parts&... parts)
      : shardwise::error("device "), code_(code), call_(call), device_(device) {
    if (device < 0) {
      append("unknown");
    } else {
      append(device);
    }
    append(": ");
    append(call);
    (append(parts), ...);
    append(": ");
    append(cudaGetErrorString(code));
    append(" (");
    append(cudaGetErrorName(code));
    append(' ');
    append(static_cast<int>(code));
    append(')');
  }

  cudaError_t code() const noexcept { return code_; }
  /// As CUDA writes it: "cudaErrorMemoryAllocation".
  std::string_view name() const noexcept { return cudaGetErrorName(code_); }
  /// The function that failed: "cudaMalloc".
  std::string_view call() const noexcept { return call_; }
  /// The device that was current; -1 where CUDA has none.
  int device() const noexcept { return device_; }

 private:
  cudaError_t code_;
  const char* call_;
  int device_;
};

namespace detail {
// The text after the call says more: sizes, say.
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(cudaError_t code, const char* call, const Parts&... parts) {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess) device = -1;
  // The runtime keeps the code of a failed call for whoever asks next: it is told here, so nobody else is blamed for
  // it.
  (void)cudaGetLastError();
  shardwise::detail::raise(error(code, call, device, parts...));
}
}  // namespace detail

/// Throws `cuda::error` where `code` is not cudaSuccess. `call` names what gave it, a literal: "cudaStreamQuery". Any
/// thread.
inline void check(cudaError_t code, const char* call) {
  if (code != cudaSuccess) [[unlikely]]
    detail::fail(code, call);
}

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
