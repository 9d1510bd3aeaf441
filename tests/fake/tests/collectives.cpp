// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/tests/bodies.hpp"
#include "fake/tests/processes.hpp"

TEST_CASE("every collective, type and size of the fake gives the values of first principles on threads") {
  const int size = GENERATE(1, 2, 4);
  const bool blocking = GENERATE(true, false);
  CAPTURE(size, blocking);
  const auto wrong = bodies::on_threads(size, blocking, [](auto& w) { return bodies::wrong_of_all(w); });
  CHECK(wrong == std::vector<int>(static_cast<std::size_t>(size), 0));
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("every collective, type and size of the fake gives the values of first principles on processes") {
  const int size = GENERATE(1, 2, 4);
  const auto* what = GENERATE("collectives", "collectives-nonblocking");
  CAPTURE(size, what);
  const auto outcome = processes::run(size, what);
  CAPTURE(outcome.output);
  CHECK(outcome.code == 0);
  for (const auto& text : outcome.output) CHECK(text == "0 wrong\n");
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("one process per device is the same world on one host") {
  launch::options how;
  how.gpu_per_rank = true;
  const auto outcome = processes::run(2, "collectives", how);
  CAPTURE(outcome.output);
  CHECK(outcome.code == 0);
}

TEST_CASE("sums are made in rank order, each rounded to the type") {
  // 2048 + 1 is not a float16, and rounds to 2048 both times; 1 + 1 + 2048 would be 2050.
  const auto wrong = bodies::on_threads(3, true, [](auto& w) {
    const bodies::buffer data(ncclFloat16, 1, 0, [&](std::size_t) { return w.rank == 0 ? 2048.0 : 1.0; });
    if (ncclAllReduce(data.at(), data.at(), 1, ncclFloat16, ncclSum, w.comm, w.stream) != ncclSuccess) return 1;
    return data.wrong(w.stream, [](std::size_t) { return 2048.0; });
  });
  CHECK(wrong == std::vector<int>{0, 0, 0});
}

TEST_CASE("products and means are those of all ranks") {
  const auto wrong = bodies::on_threads(2, true, [](auto& w) {
    int bad = 0;
    for (const auto op : {ncclProd, ncclAvg}) {
      const bodies::buffer data(ncclFloat32, 3, 0, [&](std::size_t i) { return static_cast<double>(i) + w.rank; });
      bad += ncclAllReduce(data.at(), data.at(), 3, ncclFloat32, op, w.comm, w.stream) == ncclSuccess ? 0 : 100;
      bad += data.wrong(w.stream, [&](std::size_t i) {
        const auto x = static_cast<double>(i);
        return op == ncclProd ? x * (x + 1) : x + 0.5;
      });
    }
    return bad;
  });
  CHECK(wrong == std::vector<int>{0, 0});
}

TEST_CASE("a split orders ranks by key, then by old rank, and leaves out who has no color") {
  const bool blocking = GENERATE(true, false);
  const auto seen = bodies::on_threads(4, blocking, [blocking](auto& w) {
    // Ranks 0, 1, 3 with keys 5, 5, 2: the order is 3, 0, 1. Rank 2 takes no part.
    ncclComm_t part = nullptr;
    const int color = w.rank == 2 ? NCCL_SPLIT_NOCOLOR : 7;
    // ncclSuccess, though a non-blocking one has only begun: no handle yet where it waits for another rank.
    if (ncclCommSplit(w.comm, color, w.rank == 3 ? 2 : 5, &part, nullptr) != ncclSuccess) return 99;
    if (blocking && w.rank != 2 && part == nullptr) return 98;
    if (bodies::ready(w.comm, ncclInProgress) != ncclSuccess) return 100;
    if (w.rank == 2) return part == nullptr ? 20 : 101;
    bodies::rank_of_world p{part, w.stream, 0, 0};
    if (ncclCommUserRank(part, &p.rank) != ncclSuccess || ncclCommCount(part, &p.size) != ncclSuccess) return 102;
    const int bad = bodies::wrong_of(p, ncclFloat32, 1000, 0, false);
    if (bodies::ready(part, ncclCommFinalize(part)) != ncclSuccess || ncclCommDestroy(part) != ncclSuccess) return 103;
    return bad == 0 ? 10 * p.size + p.rank : 104;
  });
  CHECK(seen == std::vector<int>{31, 32, 20, 30});
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("one thread makes and uses the communicators of several devices in groups") {
  constexpr int size = 3;
  ncclComm_t comms[size];
  REQUIRE(ncclCommInitAll(comms, size, nullptr) == ncclSuccess);
  cudaStream_t streams[size];
  std::vector<std::unique_ptr<bodies::buffer>> data;
  for (int r = 0; r < size; ++r) {
    REQUIRE(cudaSetDevice(r) == cudaSuccess);
    REQUIRE(cudaStreamCreate(&streams[r]) == cudaSuccess);
    data.push_back(
        std::make_unique<bodies::buffer>(ncclInt32, 5, 0, [&](std::size_t i) { return bodies::value(r, i); }));
  }
  fake_gpu::reset_counts();
  REQUIRE(ncclGroupStart() == ncclSuccess);
  for (int r = 0; r < size; ++r) {
    void* at = data[static_cast<std::size_t>(r)]->at();
    REQUIRE(ncclAllReduce(at, at, 5, ncclInt32, ncclSum, comms[r], streams[r]) == ncclSuccess);
  }
  REQUIRE(ncclGroupEnd() == ncclSuccess);
  for (int r = 0; r < size; ++r) {
    CHECK(data[static_cast<std::size_t>(r)]->wrong(
              streams[r], [&](std::size_t i) { return bodies::reduced(ncclSum, size, i); }) == 0);
    CHECK(cudaStreamDestroy(streams[r]) == cudaSuccess);
    CHECK(ncclCommDestroy(comms[r]) == ncclSuccess);
  }
  CHECK(fake_gpu::counted().groups == 1);
  CHECK(fake_gpu::counted().launches == 3);
  data.clear();
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
}
