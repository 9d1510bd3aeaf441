// SPDX-License-Identifier: Apache-2.0
// What tests of costs rely on: the fake itself uses no operator new in a call, and nothing at all in null mode.
#include <cstdlib>
#include <new>

#include "catch.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/tests/bodies.hpp"

// A sanitizer has its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
namespace {
thread_local std::size_t news = 0;
}
void* operator new(std::size_t size) {
  ++news;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

TEST_CASE("no call on the way of a collective uses operator new in the fake") {
  const auto counted = bodies::on_threads(2, GENERATE(true, false), [](bodies::rank_of_world& w) {
    const bodies::buffer data(ncclFloat32, 100, 0, [](std::size_t) { return 1.0; });
    cudaEvent_t event = nullptr;
    cudaEventCreate(&event);
    std::size_t before = 0;
    for (int i = 0; i < 3; ++i) {
      before = news;  // of the last round
      const auto call = [&] {
        return ncclAllReduce(data.at(), data.at(), 100, ncclFloat32, ncclSum, w.comm, w.stream);
      };
      if (bodies::ready(w.comm, call()) != ncclSuccess) return -1;
      ncclGroupStart();
      for (int j = 0; j < 200; ++j) call();
      if (bodies::ready(w.comm, ncclGroupEnd()) != ncclSuccess) return -2;
      cudaEventRecord(event, w.stream);
      cudaStreamWaitEvent(w.stream, event, 0);
      while (cudaStreamQuery(w.stream) == cudaErrorNotReady) std::this_thread::yield();
    }
    const auto used = news - before;
    cudaEventDestroy(event);
    return static_cast<int>(used);
  });
  CHECK(counted == std::vector<int>{0, 0});
}
#endif

TEST_CASE("in null mode a collective of one rank is counted and moves nothing") {
  const auto results = bodies::on_threads(1, true, [](bodies::rank_of_world& w) {
    const bodies::buffer from(ncclFloat32, 10, 0, [](std::size_t) { return 1.0; });
    const bodies::buffer to(ncclFloat32, 10, 0, [](std::size_t) { return 2.0; });
    fake_gpu::reset_counts();
    fake_gpu::null_collectives(true);
    const auto e = ncclAllReduce(from.at(), to.at(), 10, ncclFloat32, ncclSum, w.comm, w.stream);
    fake_gpu::null_collectives(false);
    if (e != ncclSuccess || fake_gpu::calls("ncclAllReduce") != 1 || fake_gpu::counted().launches != 0) return 1;
    if (to.wrong(w.stream, [](std::size_t) { return 2.0; }) != 0) return 2;
    // Off again, it is a copy.
    if (ncclAllReduce(from.at(), to.at(), 10, ncclFloat32, ncclSum, w.comm, w.stream) != ncclSuccess) return 3;
    return to.wrong(w.stream, [](std::size_t) { return 1.0; });
  });
  CHECK(results == std::vector<int>{0});
}
