// SPDX-License-Identifier: Apache-2.0
// The functions that the fake exports, as a list: calls are counted and faults injected by their numbers.
#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

// cuBLAS's names end in _v2 in the library; FAKE_FUNCTIONS has them as the library has, names_of as programs spell
// them.
// It would move the list on with every run.
// clang-format off
#define FAKE_FUNCTIONS(X) \
  X(ncclGetVersion) X(ncclGetErrorString) X(ncclGetLastError) X(ncclGetUniqueId) X(ncclCommInitRank) \
  X(ncclCommInitRankConfig) X(ncclCommInitAll) X(ncclCommFinalize) X(ncclCommDestroy) X(ncclCommAbort) \
  X(ncclCommGetAsyncError) X(ncclCommSplit) X(ncclCommCount) X(ncclCommUserRank) X(ncclCommCuDevice) \
  X(ncclAllReduce) X(ncclAllGather) X(ncclReduceScatter) X(ncclBroadcast) X(ncclReduce) X(ncclSend) \
  X(ncclRecv) X(ncclGroupStart) X(ncclGroupEnd) X(ncclMemAlloc) X(ncclMemFree) X(cudaGetDevice) \
  X(cudaSetDevice) X(cudaGetDeviceCount) X(cudaGetDeviceProperties) X(cudaDeviceGetAttribute) \
  X(cudaDeviceGetPCIBusId) X(cudaGetErrorString) X(cudaGetErrorName) X(cudaGetLastError) \
  X(cudaPeekAtLastError) X(cudaMalloc) X(cudaFree) X(cudaMallocAsync) X(cudaFreeAsync) X(cudaHostAlloc) \
  X(cudaMallocHost) X(cudaFreeHost) X(cudaHostRegister) X(cudaHostUnregister) X(cudaMemGetInfo) X(cudaMemcpy) \
  X(cudaMemcpyAsync) X(cudaMemcpy2D) X(cudaMemcpy2DAsync) X(cudaMemset) X(cudaMemsetAsync) X(cudaStreamCreate) \
  X(cudaStreamCreateWithFlags) X(cudaStreamCreateWithPriority) X(cudaStreamDestroy) X(cudaStreamSynchronize) \
  X(cudaStreamQuery) X(cudaStreamWaitEvent) X(cudaStreamIsCapturing) X(cudaStreamGetCaptureInfo) \
  X(cudaStreamGetDevice) X(cudaStreamGetFlags) X(cudaStreamBeginCapture) X(cudaStreamEndCapture) \
  X(cudaThreadExchangeStreamCaptureMode) X(cudaGraphInstantiate) X(cudaGraphLaunch) X(cudaGraphGetNodes) \
  X(cudaGraphNodeGetType) X(cudaGraphExecDestroy) X(cudaGraphDestroy) X(cudaEventCreate) \
  X(cudaEventCreateWithFlags) X(cudaEventDestroy) X(cudaEventRecord) X(cudaEventQuery) X(cudaEventSynchronize) \
  X(cudaEventElapsedTime) X(cudaDeviceSynchronize) X(cudaPointerGetAttributes) X(cudaDriverGetVersion) \
  X(cudaRuntimeGetVersion) X(cudaLaunchHostFunc) X(cublasCreate_v2) X(cublasDestroy_v2) X(cublasSetStream_v2) \
  X(cublasSgemm_v2) X(cublasGetStatusString) X(cublasSetMathMode) X(cublasGetVersion_v2)
// clang-format on

namespace fake {

enum class function : int {
#define FAKE_NAME(name) name,
  FAKE_FUNCTIONS(FAKE_NAME)
#undef FAKE_NAME
};

inline constexpr std::string_view function_names[] = {
#define FAKE_NAME(name) #name,
    FAKE_FUNCTIONS(FAKE_NAME)
#undef FAKE_NAME
};
inline constexpr std::size_t function_total = sizeof function_names / sizeof function_names[0];

constexpr std::string_view name_of(function f) { return function_names[static_cast<std::size_t>(f)]; }

// Programs may say the name with or without cuBLAS's _v2.
constexpr std::optional<function> function_named(std::string_view name) {
  for (std::size_t i = 0; i < function_total; ++i) {
    const std::string_view known = function_names[i];
    const bool plain = known.ends_with("_v2") && known.substr(0, known.size() - 3) == name;
    if (known == name || plain) return static_cast<function>(i);
  }
  return std::nullopt;
}

}  // namespace fake
