// SPDX-License-Identifier: Apache-2.0
#include "fake/device.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace fake {
namespace {

// Numbers of the machine's devices that this process sees.
const std::vector<int>& visible() {
  static const auto& list = *new std::vector<int>([] {
    const char* total_text = std::getenv("FAKE_GPU_DEVICES");
    const int total = total_text != nullptr ? std::atoi(total_text) : 8;
    std::vector<int> devices;
    if (const char* text = std::getenv("CUDA_VISIBLE_DEVICES")) {
      // As CUDA: what follows a number that is not there is not seen either.
      while (*text != '\0') {
        char* end = nullptr;
        const long d = std::strtol(text, &end, 10);
        if (end == text || d < 0 || d >= total) break;
        devices.push_back(static_cast<int>(d));
        text = *end == ',' ? end + 1 : end;
      }
    } else {
      for (int d = 0; d < total; ++d) devices.push_back(d);
    }
    return devices;
  }());
  return list;
}

struct named_error {
  cudaError_t error;
  const char* name;
  const char* text;
};
#define FAKE_ERROR(name, text) \
  { name, #name, text }
constexpr named_error errors[] = {
    FAKE_ERROR(cudaSuccess, "no error"),
    FAKE_ERROR(cudaErrorInvalidValue, "invalid argument"),
    FAKE_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    FAKE_ERROR(cudaErrorInitializationError, "initialization error"),
    FAKE_ERROR(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    FAKE_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    FAKE_ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    FAKE_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    FAKE_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    FAKE_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    FAKE_ERROR(cudaErrorNotReady, "device not ready"),
    FAKE_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    FAKE_ERROR(cudaErrorHostMemoryAlreadyRegistered, "part or all of the requested memory range is already mapped"),
    FAKE_ERROR(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    FAKE_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    FAKE_ERROR(cudaErrorNotSupported, "operation not supported"),
    FAKE_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    FAKE_ERROR(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    FAKE_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    FAKE_ERROR(cudaErrorStreamCaptureImplicit,
               "operation would make the legacy stream depend on a capturing blocking stream"),
    FAKE_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    FAKE_ERROR(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    FAKE_ERROR(cudaErrorUnknown, "unknown error"),
};

constexpr int not_asked_yet = -1;
[[gnu::tls_model("initial-exec")]] thread_local int current = not_asked_yet;
thread_local cudaError_t last = cudaSuccess;

}  // namespace

int device_count() { return static_cast<int>(visible().size()); }
int physical_device(int d) { return visible()[static_cast<std::size_t>(d)]; }
int current_device() {
  if (current == not_asked_yet) current = 0;
  return current;
}

std::string_view cuda_error_name(cudaError_t e) {
  for (const auto& known : errors) {
    if (known.error == e) return known.name;
  }
  return {};
}

cudaError_t remember(cudaError_t e) {
  if (e != cudaSuccess) last = e;
  return e;
}

}  // namespace fake

using namespace fake;

cudaError_t cudaGetDeviceCount(int* count) {
  FAKE_CUDA(cudaGetDeviceCount);
  if (count == nullptr) return remember(cudaErrorInvalidValue);
  *count = device_count();
  return *count == 0 ? remember(cudaErrorNoDevice) : cudaSuccess;
}

namespace fake {
namespace {
[[gnu::noinline]] cudaError_t get_device(int* device) {
  FAKE_CUDA(cudaGetDevice);
  if (device == nullptr) return remember(cudaErrorInvalidValue);
  if (device_count() == 0) return remember(cudaErrorNoDevice);
  *device = current_device();
  return cudaSuccess;
}
}  // namespace
}  // namespace fake

// Every collective asks, and a test counts instructions: what is usual is done first.
cudaError_t cudaGetDevice(int* device) {
  const int known = current;
  if (known == not_asked_yet || any_faults.load(std::memory_order_acquire) || device == nullptr) [[unlikely]]
    return get_device(device);
  count_call(function::cudaGetDevice);
  *device = known;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  FAKE_CUDA(cudaSetDevice);
  if (device_count() == 0) return remember(cudaErrorNoDevice);
  if (device < 0 || device >= device_count()) return remember(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int device) {
  FAKE_CUDA(cudaGetDeviceProperties);
  if (prop == nullptr) return remember(cudaErrorInvalidValue);
  if (device < 0 || device >= device_count()) return remember(cudaErrorInvalidDevice);
  std::memset(static_cast<void*>(prop), 0, sizeof *prop);
  std::snprintf(prop->name, sizeof prop->name, "fake GPU %d", physical_device(device));
  prop->totalGlobalMem = std::size_t{1} << 34;
  prop->major = 8;
  prop->multiProcessorCount = 1;
  prop->warpSize = 32;
  prop->unifiedAddressing = 1;
  prop->asyncEngineCount = 1;
  prop->pciBusID = physical_device(device) + 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  FAKE_CUDA(cudaDeviceGetAttribute);
  if (value == nullptr) return remember(cudaErrorInvalidValue);
  if (device < 0 || device >= device_count()) return remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 8; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
    case cudaDevAttrUnifiedAddressing: *value = 1; return cudaSuccess;
    case cudaDevAttrWarpSize: *value = 32; return cudaSuccess;
    case cudaDevAttrPageableMemoryAccess: *value = 0; return cudaSuccess;
    default: return remember(cudaErrorNotSupported);
  }
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  FAKE_CUDA(cudaDeviceGetPCIBusId);
  if (text == nullptr || size < 13) return remember(cudaErrorInvalidValue);
  if (device < 0 || device >= device_count()) return remember(cudaErrorInvalidDevice);
  std::snprintf(text, static_cast<std::size_t>(size), "0000:%02x:00.0",
                static_cast<unsigned>(physical_device(device) + 1) & 0xffu);
  return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t error) {
  count_call(function::cudaGetErrorName);
  const auto name = cuda_error_name(error);
  return name.empty() ? "unrecognized error code" : name.data();
}

const char* cudaGetErrorString(cudaError_t error) {
  count_call(function::cudaGetErrorString);
  for (const auto& known : errors) {
    if (known.error == error) return known.text;
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
  count_call(function::cudaGetLastError);
  return std::exchange(last, cudaSuccess);
}

cudaError_t cudaPeekAtLastError() {
  count_call(function::cudaPeekAtLastError);
  return last;
}

cudaError_t cudaDriverGetVersion(int* version) {
  FAKE_CUDA(cudaDriverGetVersion);
  if (version == nullptr) return remember(cudaErrorInvalidValue);
  *version = device_count() == 0 ? 0 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  FAKE_CUDA(cudaRuntimeGetVersion);
  if (version == nullptr) return remember(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}
