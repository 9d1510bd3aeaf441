// SPDX-License-Identifier: Apache-2.0
// Memory of a device, for those who have no allocator of their own.
#pragma once
#include <cstddef>

#include "shardwise/cuda/detail/owned_memory.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

/// `bytes` of the device that is current when it is made; no memory for 0. Move-only; one thread at a time moves or
/// destroys it. CUDA may wait for the device's work when memory is freed: let it live as long as the engine does.
class device_memory : public detail::owned_memory<cudaFree> {
 public:
  device_memory() = default;
  explicit device_memory(std::size_t bytes)
      : owned_memory(bytes, "cudaMalloc", [bytes](void** data) { return cudaMalloc(data, bytes); }) {}

  void* data() const { return address(); }
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
