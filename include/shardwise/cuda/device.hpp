// SPDX-License-Identifier: Apache-2.0
// Which device is current: a property of each thread.
#pragma once
#include "shardwise/cuda/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// The device that is current in this thread.
inline int current_device() {
  int device = -1;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

/// How many devices this process sees; 0 where there is no driver, or it sees none.
inline int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  (void)cudaGetLastError();
  return 0;
}

/// Makes `device` current in this thread.
inline void set_device(int device) {
  const cudaError_t code = cudaSetDevice(device);
  if (code != cudaSuccess) [[unlikely]]
    detail::fail(code, "cudaSetDevice", " to device ", device);
}

/// Makes a device current, and the one before it again at the end. For the thread that made it.
class device_guard {
 public:
  explicit device_guard(int device) : before_(current_device()) {
    if (device != before_) set_device(device);
    now_ = device;
  }
  device_guard(const device_guard&) = delete;
  device_guard& operator=(const device_guard&) = delete;
  ~device_guard() {
    if (now_ != before_) (void)cudaSetDevice(before_);
  }

 private:
  int before_;
  int now_ = 0;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
