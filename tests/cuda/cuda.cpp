// SPDX-License-Identifier: Apache-2.0
// The pieces of CUDA, over the fake: what they own, what they say, and that nothing waits unasked.
#include "shardwise/cuda.hpp"

#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "catch.hpp"
#include "fake/fake_gpu.hpp"

namespace cu = shardwise::cuda;

namespace {

struct slate {
  slate() {
    fake_gpu::clear_injections();
    fake_gpu::reset_counts();
    cu::set_device(0);
  }
  ~slate() {
    fake_gpu::clear_injections();
    cu::set_device(0);
  }
};

template <class T>
constexpr bool owns =
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> && std::is_nothrow_move_constructible_v<T> &&
    std::is_nothrow_move_assignable_v<T> && std::is_nothrow_destructible_v<T>;
static_assert(owns<cu::stream> && owns<cu::event> && owns<cu::device_memory> && owns<cu::pinned_memory>);
static_assert(sizeof(cu::stream_ref) == sizeof(cudaStream_t) && std::is_trivially_copyable_v<cu::stream_ref>);
static_assert(std::is_convertible_v<cudaStream_t, cu::stream_ref> &&
              std::is_convertible_v<cu::stream_ref, cudaStream_t>);
static_assert(std::is_convertible_v<const cu::stream&, cudaStream_t>);

template <class F>
cu::error error_of(F f) {
  try {
    f();
  } catch (const cu::error& e) {
    return e;
  }
  return cu::error(cudaSuccess, "nothing failed", -1);
}

}  // namespace

TEST_CASE("an error says the device, the call and CUDA's own name and words, and leaves none behind", "[cuda]") {
  slate s;
  cu::set_device(1);
  fake_gpu::inject({.function = "cudaMalloc", .result = cudaErrorMemoryAllocation});
  const cu::error e = error_of([] { cu::device_memory m(4096); });
  CHECK(std::string(e.what()) == "device 1: cudaMalloc of 4096 bytes: out of memory (cudaErrorMemoryAllocation 2)");
  CHECK(e.code() == cudaErrorMemoryAllocation);
  CHECK(e.name() == "cudaErrorMemoryAllocation");
  CHECK(e.call() == "cudaMalloc");
  CHECK(e.device() == 1);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK_THROWS_AS(cu::check(cudaErrorInvalidValue, "cudaMemcpy"), shardwise::error);
  CHECK_NOTHROW(cu::check(cudaSuccess, "cudaMemcpy"));
}

TEST_CASE("every call that fails is named", "[cuda]") {
  slate s;
  cu::stream stream;
  cu::event event;
  const auto fails_as = [](const char* call, auto f) {
    CAPTURE(call);
    fake_gpu::clear_injections();
    fake_gpu::inject({.function = call, .result = cudaErrorUnknown});
    CHECK(error_of(f).call() == call);
  };
  fails_as("cudaMalloc", [] { cu::device_memory m(1); });
  fails_as("cudaHostAlloc", [] { cu::pinned_memory m(1); });
  fails_as("cudaStreamCreateWithFlags", [] { cu::stream made; });
  fails_as("cudaEventCreateWithFlags", [] { cu::event made; });
  fails_as("cudaStreamQuery", [&] { (void)stream.done(); });
  fails_as("cudaStreamSynchronize", [&] { stream.synchronize(); });
  fails_as("cudaStreamIsCapturing", [&] { (void)stream.capturing(); });
  fails_as("cudaEventRecord", [&] { event.record(stream); });
  fails_as("cudaEventQuery", [&] { (void)event.done(); });
  fails_as("cudaEventSynchronize", [&] { event.synchronize(); });
  fails_as("cudaStreamWaitEvent", [&] { event.block(stream); });
  fails_as("cudaGetDevice", [] { (void)cu::current_device(); });
  fails_as("cudaSetDevice", [] { cu::set_device(1); });
  fake_gpu::clear_injections();
  fake_gpu::inject({.function = "cudaGetDeviceCount", .result = cudaErrorNoDevice});
  CHECK(cu::device_count() == 0);
}

TEST_CASE("a guard makes a device current, and the one before it again", "[cuda]") {
  slate s;
  const int sets = static_cast<int>(fake_gpu::calls("cudaSetDevice"));
  {
    const cu::device_guard one(1);
    CHECK(cu::current_device() == 1);
    {
      const cu::device_guard zero(0);
      CHECK(cu::current_device() == 0);
    }
    CHECK(cu::current_device() == 1);
    const cu::device_guard same(1);
    std::thread([] { CHECK_NOTHROW(cu::current_device()); }).join();
  }
  CHECK(cu::current_device() == 0);
  CHECK(static_cast<int>(fake_gpu::calls("cudaSetDevice")) == sets + 4);  // the same device is not set again
  CHECK_THROWS_AS(cu::device_guard(99), cu::error);
  CHECK(cu::current_device() == 0);
}

TEST_CASE("what is made is freed once, wherever it is moved", "[cuda]") {
  slate s;
  const fake_gpu::live_objects before = fake_gpu::live();
  {
    cu::device_memory a(64), b(32), c = std::move(a);
    CHECK(a.data() == nullptr);
    CHECK(a.bytes() == 0);
    CHECK(c.bytes() == 64);
    b = std::move(c);
    CHECK(b.bytes() == 64);
    cu::pinned_memory p(16), q = std::move(p);
    CHECK(q.span().size() == 16);
    q.data()[15] = std::byte{1};
    p = cu::pinned_memory(8);
    cu::stream u, v = std::move(u);
    u = cu::stream();
    cu::event e, f = std::move(e);
    e = cu::event();
    const cu::device_memory nothing(0);
    const cu::pinned_memory none(0);
    CHECK(nothing.data() == nullptr);
    CHECK(none.data() == nullptr);
    CHECK(fake_gpu::live().streams == before.streams + 2);
    CHECK(fake_gpu::live().events == before.events + 2);
  }
  CHECK(fake_gpu::live() == before);
}

TEST_CASE("an event marks what is before it on a stream, another stream can wait for it, and the host need not",
          "[cuda]") {
  slate s;
  cu::stream first, second;
  cu::event mark;
  cu::pinned_memory host(1 << 20);
  cu::device_memory device(1 << 20);
  CHECK(mark.done());
  cu::check(cudaMemcpyAsync(device.data(), host.data(), host.bytes(), cudaMemcpyHostToDevice, first),
            "cudaMemcpyAsync");
  mark.record(first);
  mark.block(second);
  (void)mark.done();
  (void)second.done();
  CHECK(fake_gpu::counted().synchronisations == 0);
  second.synchronize();
  CHECK(mark.done());
  CHECK(fake_gpu::counted().synchronisations == 1);
}

TEST_CASE("asking whether a captured stream is done is refused, and does not end the capture", "[cuda]") {
  slate s;
  cu::stream stream;
  cu::device_memory device(64);
  CHECK_FALSE(stream.capturing());
  cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  CHECK(stream.capturing());
  CHECK(error_of([&] { (void)stream.done(); }).code() == cudaErrorStreamCaptureUnsupported);
  cu::check(cudaMemsetAsync(device.data(), 0, 64, stream), "cudaMemsetAsync");
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(stream.done());
}
