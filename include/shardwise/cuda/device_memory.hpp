// SPDX-License-Identifier: Apache-2.0
// Memory of a device, for those who have no allocator of their own.
#pragma once
#include <cstddef>
#include <utility>

#include "shardwise/cuda/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// `bytes` of the device that is current when it is made; no memory for 0. Move-only; one thread at a time moves or
/// destroys it. CUDA may wait for the device's work when memory is freed: let it live as long as the engine does.
class device_memory {
 public:
  device_memory() = default;
  explicit device_memory(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const cudaError_t code = cudaMalloc(&data_, bytes);
    if (code != cudaSuccess) [[unlikely]]
      detail::fail(code, "cudaMalloc", " of ", bytes, " bytes");
  }
  device_memory(device_memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  device_memory& operator=(device_memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~device_memory() {
    if (data_ != nullptr) (void)cudaFree(data_);
  }

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
