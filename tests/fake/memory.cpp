// SPDX-License-Identifier: Apache-2.0
#include "fake/memory.hpp"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <shared_mutex>

#include "fake/device.hpp"
#include "fake/report.hpp"
#include "fake/stream.hpp"

namespace fake {
namespace {

struct blocks_and_mutex {
  std::shared_mutex mutex;
  std::map<std::uintptr_t, block> blocks;
};
blocks_and_mutex& all() {
  static auto& a = *new blocks_and_mutex;
  return a;
}

std::uintptr_t number(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

void insert(const block& b) {
  (b.pinned ? counts().pinned_allocations : counts().device_allocations).fetch_add(1, std::memory_order_relaxed);
  ++(b.pinned ? counts().pinned_blocks : counts().device_blocks);
  const std::lock_guard lock(all().mutex);
  all().blocks.emplace(number(b.base), b);
}

cudaError_t give(void** result, std::size_t size, bool pinned) {
  if (result == nullptr) return remember(cudaErrorInvalidValue);
  if (device_count() == 0) return remember(cudaErrorNoDevice);
  *result = nullptr;
  if (size == 0) return cudaSuccess;
  *result = allocate_block(size, current_device(), pinned);
  return *result == nullptr ? remember(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t take_back(void* base, bool pinned) {
  if (base == nullptr) return cudaSuccess;
  const auto b = find_block(base);
  if (!b || b->base != base || b->pinned != pinned || b->registered) return remember(cudaErrorInvalidValue);
  wait_for_device(b->device);  // as CUDA does; nothing may still use the memory
  return free_block(base, pinned) ? cudaSuccess : remember(cudaErrorInvalidValue);
}

}  // namespace

std::optional<block> find_block(const void* at) {
  const std::shared_lock lock(all().mutex);
  auto next = all().blocks.upper_bound(number(at));
  if (next == all().blocks.begin()) return std::nullopt;
  const block& b = std::prev(next)->second;
  if (number(at) - number(b.base) >= b.size) return std::nullopt;
  return b;
}

void* allocate_block(std::size_t size, int device, bool pinned) {
  constexpr std::size_t alignment = 256;  // what CUDA promises
  void* base = nullptr;
  if (size > std::size_t{1} << 40 || posix_memalign(&base, alignment, size) != 0) return nullptr;
  block b;
  b.base = static_cast<const std::byte*>(base);
  b.size = size;
  b.device = device;
  b.pinned = pinned;
  insert(b);
  return base;
}

bool free_block(void* base, bool pinned) {
  bool registered = false;
  {
    const std::lock_guard lock(all().mutex);
    const auto at = all().blocks.find(number(base));
    if (at == all().blocks.end() || at->second.pinned != pinned) return false;
    registered = at->second.registered;
    all().blocks.erase(at);
  }
  --(pinned ? counts().pinned_blocks : counts().device_blocks);
  if (!registered) std::free(base);
  return true;
}

}  // namespace fake

using namespace fake;

cudaError_t cudaMalloc(void** result, std::size_t size) {
  FAKE_CUDA(cudaMalloc);
  if (const auto e = refused_in_capture(); e != cudaSuccess) return remember(e);
  return give(result, size, false);
}

cudaError_t cudaFree(void* base) {
  FAKE_CUDA(cudaFree);
  if (const auto e = refused_in_capture(); e != cudaSuccess) return remember(e);
  return take_back(base, false);
}

// Stream-ordered memory: there from the call on, and given back when the stream comes to it.
cudaError_t cudaMallocAsync(void** result, std::size_t size, cudaStream_t handle) {
  FAKE_CUDA(cudaMallocAsync);
  if (!find_stream(handle)) return remember(cudaErrorInvalidResourceHandle);
  return give(result, size, false);
}

cudaError_t cudaFreeAsync(void* base, cudaStream_t handle) {
  FAKE_CUDA(cudaFreeAsync);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (base == nullptr) return cudaSuccess;
  const auto b = find_block(base);
  if (!b || b->base != base || b->pinned) return remember(cudaErrorInvalidValue);
  return remember(s->post(task::of(node_kind::memory, [base] { free_block(base, false); })));
}

cudaError_t cudaHostAlloc(void** result, std::size_t size, unsigned int) {
  FAKE_CUDA(cudaHostAlloc);
  return give(result, size, true);
}

cudaError_t cudaMallocHost(void** result, std::size_t size) {
  FAKE_CUDA(cudaMallocHost);
  return give(result, size, true);
}

cudaError_t cudaFreeHost(void* base) {
  FAKE_CUDA(cudaFreeHost);
  return take_back(base, true);
}

cudaError_t cudaHostRegister(void* base, std::size_t size, unsigned int) {
  FAKE_CUDA(cudaHostRegister);
  if (base == nullptr || size == 0) return remember(cudaErrorInvalidValue);
  if (find_block(base)) return remember(cudaErrorHostMemoryAlreadyRegistered);
  block b;
  b.base = static_cast<const std::byte*>(base);
  b.size = size;
  b.device = current_device();
  b.pinned = true;
  b.registered = true;
  insert(b);
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* base) {
  FAKE_CUDA(cudaHostUnregister);
  const auto b = find_block(base);
  if (!b || b->base != base || !b->registered) return remember(cudaErrorHostMemoryNotRegistered);
  wait_for_device(b->device);
  free_block(base, true);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  FAKE_CUDA(cudaMemGetInfo);
  if (free == nullptr || total == nullptr) return remember(cudaErrorInvalidValue);
  *total = std::size_t{1} << 34;
  *free = *total;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* at) {
  FAKE_CUDA(cudaPointerGetAttributes);
  if (attributes == nullptr) return remember(cudaErrorInvalidValue);
  *attributes = {};
  const auto b = find_block(at);
  void* address = const_cast<void*>(at);
  if (!b) {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = -2;  // cudaInvalidDeviceId
    attributes->hostPointer = address;
    return cudaSuccess;
  }
  attributes->type = b->pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
  attributes->device = b->device;
  attributes->devicePointer = address;
  attributes->hostPointer = b->pinned ? address : nullptr;
  return cudaSuccess;
}

// NCCL's own memory is a device's; 2 MiB granularity is rounded to nothing here.
ncclResult_t ncclMemAlloc(void** result, std::size_t size) {
  if (const auto hit = enter(function::ncclMemAlloc); hit && hit->what == fake_gpu::action::fail) {
    return static_cast<ncclResult_t>(hit->result);
  }
  if (result == nullptr) return refuse(misuse::null_result_pointer, "ncclMemAlloc");
  return give(result, size, false) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclMemFree(void* base) {
  if (const auto hit = enter(function::ncclMemFree); hit && hit->what == fake_gpu::action::fail) {
    return static_cast<ncclResult_t>(hit->result);
  }
  return take_back(base, false) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
