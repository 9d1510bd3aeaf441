// SPDX-License-Identifier: Apache-2.0
// Memory that CUDA gave, and gets back.
#pragma once
#include <cstddef>
#include <utility>

#include "shardwise/cuda/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {
namespace detail {

/// What one of CUDA's functions allocated and `Free` frees. Move-only; one thread at a time moves or destroys it.
template <cudaError_t (*Free)(void*)>
class owned_memory {
 public:
  std::size_t bytes() const { return bytes_; }

 protected:
  owned_memory() = default;
  /// `allocate(&data)`, which is called `function`, unless it is of 0 bytes.
  template <class Allocate>
  owned_memory(std::size_t bytes, const char* function, Allocate allocate) : bytes_(bytes) {
    if (bytes == 0) return;
    const cudaError_t code = allocate(&data_);
    if (code != cudaSuccess) [[unlikely]]
      fail(code, function, " of ", bytes, " bytes");
  }
  owned_memory(owned_memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  owned_memory& operator=(owned_memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~owned_memory() {
    if (data_ != nullptr) (void)Free(data_);
  }

  void* address() const { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace detail
}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
