// SPDX-License-Identifier: Apache-2.0
// Copies and fills: checked against the blocks of memory as CUDA does, and done by the stream.
#include <cuda_runtime_api.h>
#include <cstring>

#include "fake/device.hpp"
#include "fake/memory.hpp"
#include "fake/stream.hpp"

namespace fake {
namespace {

// One side of a copy: `size` bytes from `at` on.
struct side {
  bool device = false, pageable = false;
};

cudaError_t look_at(const void* at, std::size_t size, side& found) {
  if (size == 0) return cudaSuccess;
  if (at == nullptr) return cudaErrorInvalidValue;
  const auto b = find_block(at);
  if (!b) {
    found.pageable = true;
    return cudaSuccess;
  }
  found.device = !b->pinned;
  return b->rest(at) >= size ? cudaSuccess : cudaErrorInvalidValue;
}

bool fits(cudaMemcpyKind kind, side to, side from) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !to.device && !from.device;
    case cudaMemcpyHostToDevice: return to.device && !from.device;
    case cudaMemcpyDeviceToHost: return !to.device && from.device;
    case cudaMemcpyDeviceToDevice: return to.device && from.device;
    case cudaMemcpyDefault: return true;
  }
  return false;
}

struct copy {
  std::byte* to;
  std::size_t to_pitch;
  const std::byte* from;
  std::size_t from_pitch, width, height;

  void operator()() const {
    if (width == to_pitch && width == from_pitch) {
      std::memmove(to, from, width * height);
      return;
    }
    for (std::size_t row = 0; row < height; ++row) std::memmove(to + row * to_pitch, from + row * from_pitch, width);
  }
};

cudaError_t start(const copy& c, cudaMemcpyKind kind, cudaStream_t handle, bool synchronous) {
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (c.width == 0 || c.height == 0) return cudaSuccess;
  if (c.width > c.to_pitch || c.width > c.from_pitch) return remember(cudaErrorInvalidPitchValue);
  side to, from;
  if (const auto e = look_at(c.to, c.to_pitch * (c.height - 1) + c.width, to); e != cudaSuccess) return remember(e);
  if (const auto e = look_at(c.from, c.from_pitch * (c.height - 1) + c.width, from); e != cudaSuccess) {
    return remember(e);
  }
  if (!fits(kind, to, from)) return remember(cudaErrorInvalidValue);
  const bool pageable = to.pageable || from.pageable;
  const bool captured = s->capturing() != nullptr;
  if (synchronous) {
    if (captured) return remember(cudaErrorStreamCaptureUnsupported);
    counts().synchronisations.fetch_add(1, std::memory_order_relaxed);
  } else if (pageable) {
    counts().pageable_copies.fetch_add(1, std::memory_order_relaxed);
  }
  if (const auto e = s->post(task::of(node_kind::copy, c)); e != cudaSuccess) return remember(e);
  // A copy of pageable memory returns when that memory may be used again.
  if ((synchronous || pageable) && !captured) s->wait_idle();
  return cudaSuccess;
}

copy flat(void* to, const void* from, std::size_t size) {
  return {static_cast<std::byte*>(to), size, static_cast<const std::byte*>(from), size, size, 1};
}

struct fill {
  void* to;
  int value;
  std::size_t size;
  void operator()() const { std::memset(to, value, size); }
};

cudaError_t start(const fill& f, cudaStream_t handle, bool synchronous) {
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (f.size == 0) return cudaSuccess;
  side to;
  if (const auto e = look_at(f.to, f.size, to); e != cudaSuccess) return remember(e);
  if (to.pageable) return remember(cudaErrorInvalidValue);
  if (const auto e = s->post(task::of(node_kind::set, f)); e != cudaSuccess) return remember(e);
  if (synchronous) s->wait_idle();
  return cudaSuccess;
}

}  // namespace
}  // namespace fake

using namespace fake;

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind kind) {
  FAKE_CUDA(cudaMemcpy);
  return start(flat(to, from, size), kind, nullptr, true);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind kind, cudaStream_t on) {
  FAKE_CUDA(cudaMemcpyAsync);
  return start(flat(to, from, size), kind, on, false);
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind) {
  FAKE_CUDA(cudaMemcpy2D);
  return start({static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch, width, height},
               kind, nullptr, true);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t on) {
  FAKE_CUDA(cudaMemcpy2DAsync);
  return start({static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch, width, height},
               kind, on, false);
}

cudaError_t cudaMemset(void* to, int value, std::size_t size) {
  FAKE_CUDA(cudaMemset);
  return start(fill{to, value, size}, nullptr, true);
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t size, cudaStream_t on) {
  FAKE_CUDA(cudaMemsetAsync);
  return start(fill{to, value, size}, on, false);
}
