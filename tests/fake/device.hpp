// SPDX-License-Identifier: Apache-2.0
// The devices of this process, which of them is current, and the last CUDA error of a thread.
#pragma once
#include <cuda_runtime_api.h>
#include <optional>
#include <string_view>

#include "fake/injection.hpp"

namespace fake {

int device_count();          // visible ones
int physical_device(int d);  // the number of a visible device on the machine
int current_device();

std::string_view cuda_error_name(cudaError_t e);  // empty: unknown

/// Keeps an error for cudaGetLastError; returns it.
cudaError_t remember(cudaError_t e);

/// Counts the call; the error that was injected, else success.
inline cudaError_t enter_cuda(function f) {
  const auto hit = enter(f);
  return hit && hit->what == fake_gpu::action::fail ? static_cast<cudaError_t>(hit->result) : cudaSuccess;
}

// The first statement of every CUDA function.
#define FAKE_CUDA(name)                                                                                   \
  do {                                                                                                    \
    if (const cudaError_t injected = ::fake::enter_cuda(::fake::function::name); injected != cudaSuccess) \
      return ::fake::remember(injected);                                                                  \
  } while (false)

}  // namespace fake
