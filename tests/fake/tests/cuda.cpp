// SPDX-License-Identifier: Apache-2.0
// The fake's CUDA: streams, events, copies, memory, graphs.
#include <atomic>
#include <chrono>
#include <thread>

#include "catch.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/tests/bodies.hpp"

namespace {

// A host function that holds its stream until it is let go.
struct gate {
  std::atomic<bool> open{false}, reached{false};
  static void hold(void* self) {
    auto& g = *static_cast<gate*>(self);
    g.reached = true;
    while (!g.open) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
};

struct two_streams {
  two_streams() {
    cudaSetDevice(0);
    cudaStreamCreate(&a);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    cudaMalloc(&memory, 64);
    cudaHostAlloc(&pinned, 64, cudaHostAllocDefault);
  }
  two_streams(const two_streams&) = delete;
  two_streams& operator=(const two_streams&) = delete;
  ~two_streams() {
    cudaFree(memory);
    cudaFreeHost(pinned);
    cudaStreamDestroy(a);
    cudaStreamDestroy(b);
  }
  std::byte first() const { return *static_cast<std::byte*>(memory); }

  cudaStream_t a = nullptr, b = nullptr;
  void* memory = nullptr;
  void* pinned = nullptr;
};

}  // namespace

TEST_CASE("work that hangs holds its stream and what waits for it, not the caller and not other streams") {
  two_streams s;
  gate g;
  cudaEvent_t e = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&e, cudaEventDisableTiming) == cudaSuccess);
  REQUIRE(cudaLaunchHostFunc(s.a, &gate::hold, &g) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(s.memory, 1, 64, s.a) == cudaSuccess);
  REQUIRE(cudaEventRecord(e, s.a) == cudaSuccess);
  CHECK(cudaStreamQuery(s.b) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(s.b, e, 0) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(s.memory, 2, 64, s.b) == cudaSuccess);
  CHECK(cudaStreamQuery(s.a) == cudaErrorNotReady);
  CHECK(cudaStreamQuery(s.b) == cudaErrorNotReady);
  CHECK(cudaEventQuery(e) == cudaErrorNotReady);
  g.open = true;
  CHECK(cudaStreamSynchronize(s.b) == cudaSuccess);
  CHECK(cudaEventQuery(e) == cudaSuccess);
  CHECK(s.first() == std::byte{2});
  CHECK(cudaEventDestroy(e) == cudaSuccess);
}

TEST_CASE("the default stream and blocking streams wait for each other, non-blocking ones do not") {
  two_streams s;
  gate g;
  REQUIRE(cudaLaunchHostFunc(s.a, &gate::hold, &g) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(s.memory, 1, 64, s.a) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(s.memory, 2, 64, nullptr) == cudaSuccess);  // after a
  REQUIRE(cudaMemsetAsync(s.memory, 3, 64, s.a) == cudaSuccess);      // after the default stream
  REQUIRE(cudaMemsetAsync(s.memory, 9, 64, s.b) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s.b) == cudaSuccess);
  CHECK(s.first() == std::byte{9});
  CHECK(cudaStreamQuery(nullptr) == cudaErrorNotReady);
  g.open = true;
  CHECK(cudaStreamSynchronize(s.a) == cudaSuccess);
  CHECK(s.first() == std::byte{3});
}

TEST_CASE("copies are checked as CUDA checks them") {
  two_streams s;
  char host[64] = {};
  CHECK(cudaMemcpy(s.memory, host, 64, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(cudaMemcpy(s.memory, host, 65, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(host, host, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(s.memory, s.memory, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(host, s.memory, 4, cudaMemcpyDefault) == cudaSuccess);
  CHECK(cudaMemcpyAsync(s.memory, host, 4, cudaMemcpyHostToDevice, reinterpret_cast<cudaStream_t>(host)) ==
        cudaErrorInvalidResourceHandle);
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaFree(host) == cudaErrorInvalidValue);
  CHECK(cudaFree(s.pinned) == cudaErrorInvalidValue);
  CHECK(cudaSetDevice(99) == cudaErrorInvalidDevice);
  CHECK(cudaMemcpy2D(s.memory, 4, host, 8, 5, 2, cudaMemcpyHostToDevice) == cudaErrorInvalidPitchValue);
}

TEST_CASE("a pitched copy moves rows, and leaves what is between them") {
  two_streams s;
  unsigned char from[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, to[10] = {};
  REQUIRE(cudaMemset(s.memory, 77, 64) == cudaSuccess);
  // Three rows of two bytes: 4 apart here, 3 apart there.
  REQUIRE(cudaMemcpy2DAsync(s.memory, 3, from, 4, 2, 3, cudaMemcpyHostToDevice, s.a) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(to, s.memory, 10, cudaMemcpyDeviceToHost, s.a) == cudaSuccess);
  const unsigned char expected[10] = {1, 2, 77, 5, 6, 77, 9, 10, 77, 77};
  CHECK(std::equal(to, to + 10, expected));
}

TEST_CASE("copies of pageable memory, synchronisations and allocations are counted") {
  two_streams s;
  char host[64] = {};
  fake_gpu::reset_counts();
  REQUIRE(cudaMemcpyAsync(s.memory, s.pinned, 64, cudaMemcpyHostToDevice, s.a) == cudaSuccess);
  CHECK(fake_gpu::counted().pageable_copies == 0);
  REQUIRE(cudaMemcpyAsync(s.memory, host, 64, cudaMemcpyHostToDevice, s.a) == cudaSuccess);
  CHECK(fake_gpu::counted().pageable_copies == 1);
  CHECK(fake_gpu::counted().synchronisations == 0);
  REQUIRE(cudaStreamSynchronize(s.a) == cudaSuccess);
  CHECK(fake_gpu::counted().synchronisations == 1);
  CHECK(fake_gpu::calls("cudaMemcpyAsync") == 2);
  void* more = nullptr;
  REQUIRE(cudaMalloc(&more, 8) == cudaSuccess);
  CHECK(fake_gpu::counted().device_allocations == 1);
  CHECK(fake_gpu::live().device_blocks == 2);
  REQUIRE(cudaFree(more) == cudaSuccess);
  CHECK(fake_gpu::live().device_blocks == 1);
}

TEST_CASE("pointers say whose they are") {
  two_streams s;
  cudaPointerAttributes seen = {};
  REQUIRE(cudaPointerGetAttributes(&seen, static_cast<char*>(s.memory) + 5) == cudaSuccess);
  CHECK(seen.type == cudaMemoryTypeDevice);
  CHECK(seen.device == 0);
  REQUIRE(cudaPointerGetAttributes(&seen, s.pinned) == cudaSuccess);
  CHECK(seen.type == cudaMemoryTypeHost);
  REQUIRE(cudaPointerGetAttributes(&seen, &seen) == cudaSuccess);
  CHECK(seen.type == cudaMemoryTypeUnregistered);
}

TEST_CASE("captured collectives and copies run only when their graph is launched, each time anew") {
  const auto wrong = bodies::on_threads(2, GENERATE(true, false), [](bodies::rank_of_world& w) {
    const bodies::buffer data(ncclInt32, 4, 0, [](std::size_t) { return 1.0; });
    const bodies::buffer start(ncclInt32, 4, 0, [&](std::size_t i) { return bodies::value(w.rank, i); });
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    if (cudaStreamBeginCapture(w.stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return 1;
    if (cudaMemcpyAsync(data.at(), start.at(), 16, cudaMemcpyDeviceToDevice, w.stream) != cudaSuccess) return 2;
    ncclGroupStart();
    for (int i = 0; i < 2; ++i) {
      if (ncclAllReduce(data.at(), data.at(), 4, ncclInt32, ncclSum, w.comm, w.stream) != ncclSuccess) return 3;
    }
    if (ncclGroupEnd() != ncclSuccess) return 4;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(w.stream, &status) != cudaSuccess || status != cudaStreamCaptureStatusActive) return 5;
    if (cudaStreamEndCapture(w.stream, &graph) != cudaSuccess) return 6;
    if (data.wrong(w.stream, [](std::size_t) { return 1.0; }) != 0) return 7;
    // One copy and one kernel: a group is one launch.
    cudaGraphNode_t nodes[4];
    std::size_t total = 0;
    if (cudaGraphGetNodes(graph, nullptr, &total) != cudaSuccess || total != 2) return 8;
    if (cudaGraphGetNodes(graph, nodes, &total) != cudaSuccess) return 9;
    cudaGraphNodeType types[2];
    if (cudaGraphNodeGetType(nodes[0], &types[0]) != cudaSuccess || types[0] != cudaGraphNodeTypeMemcpy) return 10;
    if (cudaGraphNodeGetType(nodes[1], &types[1]) != cudaSuccess || types[1] != cudaGraphNodeTypeKernel) return 11;
    if (cudaGraphInstantiate(&executable, graph, 0) != cudaSuccess) return 12;
    for (int i = 0; i < 3; ++i) {
      if (cudaGraphLaunch(executable, w.stream) != cudaSuccess) return 13;
    }
    const int bad = data.wrong(w.stream, [&](std::size_t i) { return 2 * bodies::reduced(ncclSum, 2, i); });
    if (cudaGraphDestroy(graph) != cudaSuccess || cudaGraphExecDestroy(executable) != cudaSuccess) return 14;
    return bad == 0 ? 0 : 100 + bad;
  });
  CHECK(wrong == std::vector<int>{0, 0});
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
}

TEST_CASE("a second stream joins a capture by an event, and leaves it at the end") {
  two_streams s;
  cudaEvent_t fork = nullptr, join = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaEventCreate(&fork) == cudaSuccess);
  REQUIRE(cudaEventCreate(&join) == cudaSuccess);
  REQUIRE(cudaMemset(s.memory, 0, 64) == cudaSuccess);
  REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  REQUIRE(cudaEventRecord(fork, s.a) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(s.b, fork, 0) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(s.memory, 5, 64, s.b) == cudaSuccess);
  REQUIRE(cudaEventRecord(join, s.b) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(s.a, join, 0) == cudaSuccess);
  REQUIRE(cudaStreamEndCapture(s.a, &graph) == cudaSuccess);
  CHECK(s.first() == std::byte{0});
  CHECK(cudaStreamQuery(s.b) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  REQUIRE(cudaGraphLaunch(executable, s.b) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(s.b) == cudaSuccess);
  CHECK(s.first() == std::byte{5});
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaEventDestroy(fork) == cudaSuccess);
  CHECK(cudaEventDestroy(join) == cudaSuccess);
}

TEST_CASE("calls that may synchronise are refused in a capture, and spoil it") {
  two_streams s;
  void* more = nullptr;
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK(cudaMalloc(&more, 8) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamQuery(s.a) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaMemsetAsync(s.memory, 1, 64, s.a) == cudaErrorStreamCaptureInvalidated);
  CHECK(cudaStreamEndCapture(s.a, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(graph == nullptr);
  CHECK(cudaMalloc(&more, 8) == cudaSuccess);
  CHECK(cudaFree(more) == cudaSuccess);
}
