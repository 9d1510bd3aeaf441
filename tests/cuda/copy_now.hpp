// SPDX-License-Identifier: Apache-2.0
// Memory of a test to a device and back.
#pragma once
#include <cstddef>

#include "shardwise/cuda/error.hpp"

namespace cuda_test {

/// Done when it returns. cudaMemcpy alone may come back before the last of pageable memory is on the device, and
/// streams made with cudaStreamNonBlocking do not wait for it.
inline void copy_now(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind = cudaMemcpyDefault) {
  if (bytes == 0) return;
  shardwise::cuda::check(cudaMemcpy(to, from, bytes, kind), "cudaMemcpy");
  shardwise::cuda::check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
}

}  // namespace cuda_test
