// SPDX-License-Identifier: Apache-2.0
// Host memory that a device reads and writes without a copy in between.
#pragma once
#include <cstddef>
#include <span>

#include "shardwise/cuda/detail/owned_memory.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// `bytes` of page-locked host memory, which any device may copy from and to; no memory for 0. Move-only; one thread at
/// a time moves or destroys it. It must outlive the copies that use it: the destructor does not wait for them.
class pinned_memory : public detail::owned_memory<cudaFreeHost> {
 public:
  pinned_memory() = default;
  explicit pinned_memory(std::size_t bytes)
      : owned_memory(bytes, "cudaHostAlloc",
                     [bytes](void** data) { return cudaHostAlloc(data, bytes, cudaHostAllocPortable); }) {}

  std::byte* data() const { return static_cast<std::byte*>(address()); }
  std::span<std::byte> span() const { return {data(), bytes()}; }
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
