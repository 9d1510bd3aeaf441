// SPDX-License-Identifier: Apache-2.0
// Host memory that a device reads and writes without a copy in between.
#pragma once
#include <cstddef>
#include <span>
#include <utility>

#include "shardwise/cuda/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// `bytes` of page-locked host memory, which any device may copy from and to; no memory for 0. Move-only; one thread at
/// a time moves or destroys it. It must outlive the copies that use it: the destructor does not wait for them.
class pinned_memory {
 public:
  pinned_memory() = default;
  explicit pinned_memory(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const cudaError_t code = cudaHostAlloc(&data_, bytes, cudaHostAllocPortable);
    if (code != cudaSuccess) [[unlikely]]
      detail::fail(code, "cudaHostAlloc", " of ", bytes, " bytes");
  }
  pinned_memory(pinned_memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  pinned_memory& operator=(pinned_memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~pinned_memory() {
    if (data_ != nullptr) (void)cudaFreeHost(data_);
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::size_t bytes() const { return bytes_; }
  std::span<std::byte> span() const { return {data(), bytes_}; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
