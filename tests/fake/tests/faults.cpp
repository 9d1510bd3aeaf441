// SPDX-License-Identifier: Apache-2.0
// Faults that are injected, ranks that die, aborts: what the others see, and that nothing stays behind.
#include <dirent.h>
#include <chrono>
#include <csignal>
#include <thread>

#include "catch.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/functions.hpp"
#include "fake/tests/bodies.hpp"
#include "fake/tests/processes.hpp"

using bodies::rank_of_world;
using fake_gpu::action;

namespace {

int entries_of(const char* folder) {
  int total = 0;
  if (DIR* d = opendir(folder)) {
    while (readdir(d) != nullptr) ++total;
    closedir(d);
  }
  return total;
}

struct no_faults_after {
  ~no_faults_after() { fake_gpu::clear_injections(); }
};

// Until the stream is done or the communicator has an error; ncclNumResults: neither within a minute.
ncclResult_t outcome_of(const rank_of_world& w) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    ncclResult_t async = ncclSuccess;
    if (const auto e = ncclCommGetAsyncError(w.comm, &async); e != ncclSuccess) return e;
    if (async != ncclSuccess && async != ncclInProgress) return async;
    if (async == ncclSuccess && cudaStreamQuery(w.stream) == cudaSuccess) return ncclSuccess;
    std::this_thread::yield();
  }
  return ncclNumResults;
}

bool abort_and_end(rank_of_world& w) {
  return ncclCommAbort(w.comm) == ncclSuccess && cudaStreamSynchronize(w.stream) == cudaSuccess &&
         cudaStreamDestroy(w.stream) == cudaSuccess;
}

ncclResult_t all_reduce(const rank_of_world& w, const bodies::buffer& data, std::size_t count = 10) {
  return ncclAllReduce(data.at(), data.at(), count, ncclFloat32, ncclSum, w.comm, w.stream);
}

double one(std::size_t) { return 1.0; }

}  // namespace

TEST_CASE("each error code comes back from the call that it was injected into, and from no other") {
  const no_faults_after after;
  const int code = GENERATE(1, 2, 3, 4, 5, 6);
  fake_gpu::inject({.function = "ncclAllReduce", .nth = 2, .result = code, .rank = 1});
  const auto results = bodies::on_threads(2, true, [&](rank_of_world& w) {
    const bodies::buffer data(ncclFloat32, 10, 0, one);
    if (all_reduce(w, data) != ncclSuccess || outcome_of(w) != ncclSuccess) return 100;
    if (w.rank == 1) {
      const int got = all_reduce(w, data);
      if (all_reduce(w, data) != ncclSuccess) return 101;  // the third call is this rank's second collective
      return outcome_of(w) == ncclSuccess ? got : 102;
    }
    return all_reduce(w, data) == ncclSuccess && outcome_of(w) == ncclSuccess ? 50 : 103;
  });
  CHECK(results == std::vector<int>{50, code});
}

TEST_CASE("every function that returns a status can be made to fail") {
  const no_faults_after after;
  // The calls have null arguments: without the fault they would fail in another way, with it they do not look.
  ncclUniqueId id = {};
  const std::pair<const char*, std::function<int()>> calls[] = {
      {"ncclGetUniqueId", [&] { return ncclGetUniqueId(&id); }},
      {"ncclCommInitRank", [&] { return ncclCommInitRank(nullptr, 1, id, 0); }},
      {"ncclCommInitRankConfig", [&] { return ncclCommInitRankConfig(nullptr, 1, id, 0, nullptr); }},
      {"ncclCommSplit", [] { return ncclCommSplit(nullptr, 0, 0, nullptr, nullptr); }},
      {"ncclCommFinalize", [] { return ncclCommFinalize(nullptr); }},
      {"ncclCommDestroy", [] { return ncclCommDestroy(nullptr); }},
      {"ncclCommAbort", [] { return ncclCommAbort(nullptr); }},
      {"ncclCommGetAsyncError", [] { return ncclCommGetAsyncError(nullptr, nullptr); }},
      {"ncclGroupStart", [] { return ncclGroupStart(); }},
      {"cudaMalloc", [] { return cudaMalloc(static_cast<void**>(nullptr), 0); }},
      {"cudaHostAlloc", [] { return cudaHostAlloc(static_cast<void**>(nullptr), 0, 0); }},
      {"cudaStreamQuery", [] { return cudaStreamQuery(nullptr); }},
      {"cudaStreamSynchronize", [] { return cudaStreamSynchronize(nullptr); }},
      {"cudaEventRecord", [] { return cudaEventRecord(nullptr, nullptr); }},
      {"cudaMemcpyAsync", [] { return cudaMemcpyAsync(nullptr, nullptr, 1, cudaMemcpyDefault, nullptr); }},
      {"cudaSetDevice", [] { return cudaSetDevice(0); }},
  };
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    fake_gpu::inject({.function = name, .nth = 1, .result = 3});
    CHECK(call() == 3);
    fake_gpu::clear_injections();
  }
}

TEST_CASE("an asynchronous error is seen by polling, hangs the stream alone, and an abort wakes it") {
  const no_faults_after after;
  fake_gpu::inject(
      {.function = "ncclAllReduce", .nth = 2, .result = ncclSystemError, .rank = 0, .what = action::async_error});
  const auto results = bodies::on_threads(
      2, GENERATE(true, false),
      [](rank_of_world& w) {
        const bodies::buffer data(ncclFloat32, 10, 0, one);
        if (bodies::ready(w.comm, all_reduce(w, data)) != ncclSuccess || outcome_of(w) != ncclSuccess) return 100;
        const auto second = bodies::ready(w.comm, all_reduce(w, data));
        if (w.rank == 1) {  // it waits for rank 0, which has left when this one hears of it
          const auto seen = outcome_of(w);
          return abort_and_end(w) ? static_cast<int>(seen) : 101;
        }
        const auto seen = second != ncclSuccess ? second : outcome_of(w);
        if (cudaStreamQuery(w.stream) != cudaErrorNotReady) return 102;
        // A broken communicator gives its error to every further call.
        if (all_reduce(w, data) != seen) return 103;
        return abort_and_end(w) ? static_cast<int>(seen) : 104;
      },
      true);
  CHECK(results == std::vector<int>{ncclSystemError, ncclRemoteError});
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
}

TEST_CASE("a hang in a collective holds all ranks until they abort") {
  const no_faults_after after;
  fake_gpu::inject({.function = "ncclBroadcast", .nth = 1, .rank = 1, .what = action::hang});
  const auto results = bodies::on_threads(
      2, true,
      [](rank_of_world& w) {
        const bodies::buffer data(ncclFloat32, 10, 0, one);
        if (ncclBroadcast(data.at(), data.at(), 10, ncclFloat32, 0, w.comm, w.stream) != ncclSuccess) return 1;
        for (int i = 0; i < 50; ++i) {
          if (cudaStreamQuery(w.stream) != cudaErrorNotReady) return 2;
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return abort_and_end(w) ? 0 : 3;
      },
      true);
  CHECK(results == std::vector<int>{0, 0});
}

TEST_CASE("a rank that never comes holds init, which an abort ends where it is non-blocking") {
  ncclUniqueId id;
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  ncclComm_t comm = nullptr;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  REQUIRE(ncclCommInitRankConfig(&comm, 2, id, 0, &config) == ncclInProgress);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ncclResult_t async = ncclSuccess;
  CHECK(ncclCommGetAsyncError(comm, &async) == ncclSuccess);
  CHECK(async == ncclInProgress);
  CHECK(ncclCommAbort(comm) == ncclSuccess);
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("init that fails on one rank fails on the others") {
  const no_faults_after after;
  const bool blocking = GENERATE(true, false);
  fake_gpu::inject(
      {.function = "ncclCommInitRankConfig", .result = ncclSystemError, .rank = 1, .what = action::async_error});
  ncclUniqueId id;
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  ncclResult_t results[2] = {};
  std::thread ranks[2];
  for (int r = 0; r < 2; ++r) {
    ranks[r] = std::thread([&, r] {
      cudaSetDevice(r);
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = blocking ? 1 : 0;
      ncclComm_t comm = nullptr;
      results[r] = ncclCommInitRankConfig(&comm, 2, id, r, &config);
      if (blocking) {
        if (comm != nullptr) results[r] = ncclNumResults;
        return;
      }
      results[r] = bodies::ready(comm, results[r]);
      ncclCommAbort(comm);
    });
  }
  ranks[1].join();
  CHECK(results[1] == ncclSystemError);
  ranks[0].join();
  CHECK(results[0] == ncclRemoteError);
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("a slow init stays in progress, and comes to its end") {
  const no_faults_after after;
  fake_gpu::inject({.function = "ncclCommInitRankConfig", .rank = 1, .what = action::delay, .milliseconds = 100});
  const auto wrong =
      bodies::on_threads(2, false, [](rank_of_world& w) { return bodies::wrong_of(w, ncclFloat32, 5, 0, false); });
  CHECK(wrong == std::vector<int>{0, 0});
}

TEST_CASE("a process that dies in a collective, or leaves without it, is a remote error for the others") {
  const auto* what = GENERATE("survive", "leave");
  launch::options how;
  how.may_die = {1};
  if (std::string(what) == "survive") {
    const auto* kill = GENERATE("rank=1:ncclAllReduce:2:kill-inside", "rank=1:ncclAllReduce:2:kill");
    how.environment = {{"FAKE_GPU_INJECT", kill}};
  }
  const auto outcome = processes::run(3, what, how);
  CAPTURE(what, outcome.output, outcome.failed_rank);
  CHECK(outcome.code == 0);
  for (const int r : {0, 2}) {
    CHECK(outcome.output[static_cast<std::size_t>(r)].find("connection closed by remote peer, rank 1") !=
          std::string::npos);
  }
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("faults by the environment meet the rank that is named") {
  launch::options how;
  how.environment = {{"FAKE_GPU_INJECT", "rank=1:ncclCommInitRankConfig:1:ncclSystemError"}};
  const auto outcome = processes::run(2, "collectives", how);
  CHECK(outcome.code == 9);
  CHECK(outcome.failed_rank == 1);
}

TEST_CASE("two processes with one host id are refused one device") {
  launch::options how;
  how.environment = {{"NCCL_HOSTID", "the same"}};
  const auto outcome = processes::run(2, "collectives", how);
  CHECK(outcome.code == 9);
  CHECK(outcome.output[static_cast<std::size_t>(outcome.failed_rank)].find(
            "Duplicate GPU detected : rank 0 and rank 1") != std::string::npos);
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("without a device every rank skips, and the launcher says so") {
  launch::options how;
  how.environment = {{"FAKE_GPU_DEVICES", "0"}};
  const auto outcome = processes::run(2, "collectives", how);
  CHECK(outcome.code == 77);
  CHECK(outcome.skip == "SKIP: no CUDA device");
}

TEST_CASE("a process that is killed leaves a file that the next one sweeps away") {
  // Rank 0 makes the id and dies in init, before rank 1 has come.
  launch::options how;
  how.environment = {{"FAKE_GPU_INJECT", "rank=0:ncclCommInitRankConfig:1:kill"}};
  const auto outcome = processes::run(1, "collectives", how);
  CHECK(outcome.code == 128 + SIGKILL);
  CHECK(fake_gpu::files().size() == 1);
  CHECK(processes::run(1, "collectives").code == 0);
  CHECK(fake_gpu::files().empty());
}

TEST_CASE("twenty rounds of every end leave no thread, descriptor, file or object behind") {
  const no_faults_after after;
  const auto* end = GENERATE("destroy", "abort", "hang");
  const bool blocking = GENERATE(true, false);
  CAPTURE(end, blocking);
  const auto round = [&] {
    const std::string how = end;
    if (how == "hang") fake_gpu::inject({.function = "ncclAllReduce", .rank = 1, .what = action::hang});
    return bodies::on_threads(
        2, blocking,
        [&](rank_of_world& w) {
          const bodies::buffer data(ncclFloat32, 10, 0, one);
          const auto called = bodies::ready(w.comm, all_reduce(w, data));
          if (how == "hang") return abort_and_end(w) ? 0 : 2;  // the other rank may have left already
          if (called != ncclSuccess) return 1;
          if (outcome_of(w) != ncclSuccess) return 3;
          return (how == "abort" ? abort_and_end(w) : bodies::leave(w)) ? 0 : 4;
        },
        true);
  };
  const std::vector<int> fine{0, 0};
  CHECK(round() == fine);
  const int threads = entries_of("/proc/self/task"), descriptors = entries_of("/proc/self/fd");
  for (int i = 0; i < 20; ++i) {
    if (round() != fine) FAIL("round " << i);
  }
  // A thread that has ended may be listed a moment longer.
  for (int i = 0; i < 1000 && entries_of("/proc/self/task") > threads; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(entries_of("/proc/self/task") == threads);
  CHECK(entries_of("/proc/self/fd") == descriptors);
  CHECK(fake_gpu::live() == fake_gpu::live_objects{});
  CHECK(fake_gpu::files().empty());
}
