// SPDX-License-Identifier: Apache-2.0
// Whatever fails, every rank is told by name within its deadline, and nothing is left behind: many rounds of each
// fault.
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace nccl_test;
using clock_type = std::chrono::steady_clock;

namespace {

struct collective {
  const char* name;      // of the member function
  const char* function;  // of NCCL
  const char* words;
};
constexpr collective collectives[] = {
    {"all_reduce", "ncclAllReduce", "all_reduce of 4 f32 by sum"},
    {"all_gather", "ncclAllGather", "all_gather of 4 f32"},
    {"reduce_scatter", "ncclReduceScatter", "reduce_scatter of 4 f32 by max"},
    {"broadcast", "ncclBroadcast", "broadcast of 4 f32 from root 0"},
    {"gather_last_dim", "ncclAllGather", "gather_last_dim of 2 rows of f32"},
    {"gather_last_dim, unequal", "ncclBroadcast", "gather_last_dim of 2 rows of f32"},
    {"all_to_all", "ncclSend", "all_to_all of f32"},
    {"all_to_all", "ncclRecv", "all_to_all of f32"},
    {"barrier", "ncclAllReduce", "barrier"},
};

void call(gpu_rank& c, const std::string& name, float* p, cudaStream_t stream) {
  const auto f32 = sw::dtype::f32;
  const auto ranks = static_cast<std::size_t>(c.size());
  const std::vector<std::size_t> ones(ranks, 1);
  if (name == "all_reduce") return c.all_reduce(p, p, 4, f32, sw::reduction::sum, stream);
  if (name == "all_gather") return c.all_gather(p + 4 * c.rank(), p, 4, f32, stream);
  if (name == "reduce_scatter") return c.reduce_scatter(p, p + 4 * c.rank(), 4, f32, sw::reduction::max, stream);
  if (name == "broadcast") return c.broadcast(p, 4, f32, 0, stream);
  if (name == "gather_last_dim") return c.gather_last_dim(p + c.rank(), ranks, p, ranks, 2, ones, f32, stream);
  if (name == "all_to_all") return c.all_to_all(p, ones, p + ranks, ones, f32, stream);
  if (name == "barrier") return c.barrier(stream);
  std::vector<std::size_t> columns(ranks, 1);
  columns[0] = 2;
  const auto before = static_cast<std::size_t>(c.rank() == 0 ? 0 : c.rank() + 1);
  c.gather_last_dim(p + before, ranks + 1, p, ranks + 1, 2, columns, f32, stream);
}

struct verdict {
  std::string text;   // what the rank was told first
  std::string later;  // what the next call told it
  clock_type::duration took{};
};

// Every rank does `body(comm, p, stream)` and waits, then tries another call, and then does `last(rank)`, before it
// frees what its stream may still work on.
template <class Body, class Last = decltype([](int) {})>
std::vector<verdict> run(int ranks, const sw::nccl::options& opts, Body body, Last last = {}) {
  return on_gpus(ranks, opts, [&](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(64, 1);
    verdict v;
    const auto start = clock_type::now();
    v.text = error_of([&] {
      body(comm, x.data(), stream);
      comm.wait(stream);
    });
    v.took = clock_type::now() - start;
    if (!comm.healthy())
      v.later = error_of([&] { comm.all_reduce(x.data(), x.data(), 1, sw::dtype::f32, sw::reduction::sum, stream); });
    last(comm.rank());
    return v;
  });
}

std::string place(const std::string& name, int rank, int ranks) {
  return "rank " + std::to_string(rank) + " of " + std::to_string(ranks) + " (" + name + ", device " +
         std::to_string(rank) + "): ";
}

// "" where the rank was told something that names it, in time, and told the same again.
std::string flaw(const verdict& v, int rank, int ranks, std::chrono::milliseconds limit, const std::string& part = "") {
  if (!has(v.text, place("tp", rank, ranks))) return "not named: " + v.text;
  if (!has(v.text, part)) return "other words: " + v.text;
  if (v.later != v.text) return "another reason later: " + v.later + ", first: " + v.text;
  // Beyond the deadline itself only what the machine is busy with: generous, not a measurement.
  if (v.took > limit + 5s) return "too late";
  return "";
}

const std::pair<int, const char*> codes[] = {
    {1, "ncclUnhandledCudaError (1), unhandled cuda error"},
    {2, "ncclSystemError (2), unhandled system error"},
    {3, "ncclInternalError (3), internal error"},
    {4, "ncclInvalidArgument (4), invalid argument"},
    {5, "ncclInvalidUsage (5), invalid usage"},
    {6, "ncclRemoteError (6), remote process exited or there was a network error"},
    {8, "ncclTimeout (8), "},
    {13, "a result that shardwise does not know (13), "}};

}  // namespace

TEST_CASE("each result of NCCL, given by each function, is told by name and ends all ranks", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  REQUIRE(n > 0);
  sw::nccl::options opts{.name = "tp", .deadline = 20ms};
  for (int round = 0; round < n; ++round) {
    opts.blocking = round % 5 == 4;
    const auto& [code, words] = codes[static_cast<std::size_t>(round) % std::size(codes)];
    const collective& c = collectives[static_cast<std::size_t>(round) / std::size(codes) % std::size(collectives)];
    // One rank alone has no unequal columns.
    const int ranks = std::string(c.name) == "gather_last_dim, unequal" ? 2 + round % 2 : 1 + round % 3;
    const int victim = round / 3 % ranks;
    CAPTURE(round, code, c.name, ranks, victim);
    fake_gpu::clear_injections();
    fake_gpu::inject({.function = c.function, .nth = 1, .result = code, .rank = victim});
    const auto told = run(ranks, opts, [&](gpu_rank& comm, float* p, cudaStream_t s) { call(comm, c.name, p, s); });
    for (int r = 0; r < ranks; ++r) {
      const verdict& v = told[static_cast<std::size_t>(r)];
      REQUIRE(flaw(v, r, ranks, opts.deadline,
                   r == victim ? std::string(c.words) + " (call 1): " + c.function + " gave " + words : "") == "");
      if (r == victim) REQUIRE(has(v.text, "; it was aborted"));
    }
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("an error that NCCL reports later is found by whoever waits", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  const sw::nccl::options opts{.name = "tp", .deadline = 10s};
  for (int round = 0; round < n; ++round) {
    const auto& [code, words] = codes[static_cast<std::size_t>(round) % 6];
    const int ranks = 1 + round % 3, victim = round / 3 % ranks;
    CAPTURE(round, code, ranks, victim);
    fake_gpu::clear_injections();
    fake_gpu::inject(
        {.function = "ncclAllReduce", .nth = 1, .result = code, .rank = victim, .what = fake_gpu::action::async_error});
    const auto told =
        run(ranks, opts, [&](gpu_rank& comm, float* p, cudaStream_t s) { call(comm, "all_reduce", p, s); });
    for (int r = 0; r < ranks; ++r) {
      const std::string part = std::string(" gave ") + words;
      REQUIRE(flaw(told[static_cast<std::size_t>(r)], r, ranks, opts.deadline, r == victim ? part : "") == "");
    }
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("a rank that does not come is found at the deadline, with the call that waits for it", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  sw::nccl::options opts{.name = "tp", .deadline = 10ms};
  for (int round = 0; round < n; ++round) {
    opts.blocking = round % 5 == 4;
    const collective& c = collectives[static_cast<std::size_t>(round) % std::size(collectives)];
    const int ranks = 2 + round % 2;
    const bool hangs = round % 4 == 3;  // it comes, and its part never ends
    CAPTURE(round, c.name, ranks, hangs);
    fake_gpu::clear_injections();
    if (hangs) {
      fake_gpu::inject({.function = c.function, .nth = 1, .rank = 1, .what = fake_gpu::action::hang});
    }
    const auto told = run(ranks, opts, [&](gpu_rank& comm, float* p, cudaStream_t s) {
      if (comm.rank() == 1 && !hangs) {
        std::this_thread::sleep_for(2 * opts.deadline);  // stands elsewhere
        throw sw::nccl::error(sw::nccl::fault::ended, ncclSuccess, place("tp", 1, comm.size()));
      }
      call(comm, c.name, p, s);
    });
    for (int r = 0; r < ranks; ++r) {
      if (r == 1 && !hangs) continue;
      const verdict& v = told[static_cast<std::size_t>(r)];
      // One is the first to run into its deadline; others may see that it has gone.
      const bool first = has(v.text, "not done within 10 ms") && has(v.text, std::string(c.words) + " (call 1)");
      REQUIRE(flaw(v, r, ranks, opts.deadline, first ? "a rank died, stands elsewhere" : "ncclRemoteError") == "");
    }
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("a rank that goes away before a collective or after one is found by the others", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  const sw::nccl::options opts{.name = "tp", .deadline = 200ms};
  for (int round = 0; round < n; ++round) {
    const int ranks = 2 + round % 3;
    CAPTURE(round, ranks);
    fake_gpu::clear_injections();
    const auto told = run(ranks, opts, [&](gpu_rank& comm, float* p, cudaStream_t s) {
      if (round % 2 == 0) call(comm, "all_reduce", p, s);
      if (comm.rank() == ranks - 1) {
        comm.abort();
        comm.wait(s);
      }
      call(comm, "all_gather", p, s);
    });
    for (int r = 0; r < ranks; ++r) {
      REQUIRE(flaw(told[static_cast<std::size_t>(r)], r, ranks, opts.deadline,
                   r == ranks - 1 ? "the communicator was aborted by a call" : "") == "");
    }
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("a wrong count, type, operation, root or order ends all ranks", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  const sw::nccl::options opts{.name = "tp", .deadline = 20ms};
  const auto f32 = sw::dtype::f32;
  const auto sum = sw::reduction::sum;
  for (int round = 0; round < n; ++round) {
    const int ranks = 2 + round % 2, kind = round / 2 % 6;
    CAPTURE(round, ranks, kind);
    const auto told = run(ranks, opts, [&](gpu_rank& comm, float* p, cudaStream_t s) {
      const bool odd = comm.rank() == 1;
      switch (kind) {
        case 0: return comm.all_reduce(p, p, odd ? 7 : 8, f32, sum, s);
        case 1: return comm.all_reduce(p, p, 8, odd ? sw::dtype::i32 : f32, sum, s);
        case 2: return comm.all_reduce(p, p, 8, f32, odd ? sw::reduction::max : sum, s);
        case 3: return odd ? comm.broadcast(p, 8, f32, 0, s) : comm.all_reduce(p, p, 8, f32, sum, s);
        case 4: return comm.broadcast(p, 8, f32, odd ? 1 : 0, s);
        default:
          if (odd) comm.broadcast(p, 8, f32, 0, s);
          comm.all_reduce(p, p, 8, f32, sum, s);
          if (!odd) comm.broadcast(p, 8, f32, 0, s);
      }
    });
    for (int r = 0; r < ranks; ++r) {
      REQUIRE(flaw(told[static_cast<std::size_t>(r)], r, ranks, opts.deadline) == "");
    }
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("an abort that hangs is not waited for, and the error says so", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(50);
  const sw::nccl::options opts{.name = "tp", .deadline = 5ms, .abort_grace = 5ms};
  for (int round = 0; round < n; ++round) {
    CAPTURE(round);
    fake_gpu::clear_injections();
    // Until the faults are cleared: any time would be over before a thread on a busy machine looked at the clock.
    fake_gpu::inject({.function = "ncclCommAbort", .nth = 1, .rank = 0, .what = fake_gpu::action::hang});
    const auto told = run(
        2, opts,
        [&](gpu_rank& comm, float* p, cudaStream_t s) {
          if (comm.rank() == 0) call(comm, "all_reduce", p, s);
          if (comm.rank() == 1) {
            std::this_thread::sleep_for(30ms);
            comm.abort();
            comm.wait(s);
          }
        },
        [](int rank) {  // the collective ends with the abort, and the memory waits for it
          if (rank == 0) fake_gpu::clear_injections();
        });
    REQUIRE(flaw(told[0], 0, 2, opts.deadline,
                 "; ncclCommAbort did not come back within 5 ms, and goes on in a thread of its own") == "");
    REQUIRE(flaw(told[1], 1, 2, opts.deadline, "the communicator was aborted by a call") == "");
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("making a communicator ends by its deadline, with NCCL's result or without", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  for (int round = 0; round < n; ++round) {
    const bool late = round % 2 == 0;
    const auto& [code, words] = codes[static_cast<std::size_t>(round / 2) % 6];
    CAPTURE(round, late, code);
    fake_gpu::clear_injections();
    const std::string part =
        late ? "ncclCommInitRankConfig was not done within 20 ms" : std::string("ncclCommInitRankConfig gave ") + words;
    if (!late) fake_gpu::inject({.function = "ncclCommInitRankConfig", .nth = 1, .result = code, .rank = -1});
    const auto texts = sw::in_process(2, [&](host_rank& host) {
      cu::set_device(host.rank());
      ncclUniqueId id{};
      if (host.rank() == 0) ncclGetUniqueId(&id);
      host.broadcast(&id, sizeof id, sw::dtype::u8, 0);
      // Late: rank 1 never comes. Otherwise one of both is given the result, and the other waits for it.
      if (late && host.rank() == 1) return std::string("late");
      return error_of([&] { (void)gpu_rank::create(id, 2, host.rank(), {.name = "tp", .init_deadline = 20ms}); });
    });
    int told = 0;
    for (int r = 0; r < 2; ++r) {
      const std::string& text = texts[static_cast<std::size_t>(r)];
      if (late && r == 1) continue;
      REQUIRE(
          has(text, "rank " + std::to_string(r) + " of 2 (tp, device " + std::to_string(r) + "): ncclCommInitRank"));
      told += has(text, part) ? 1 : 0;
    }
    REQUIRE(told >= 1);
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("where rank 0 cannot make the id, all ranks are told", "[nccl][faults]") {
  clean_slate slate;
  fake_gpu::inject({.function = "ncclGetUniqueId", .nth = 1, .result = ncclSystemError, .rank = -1});
  const auto texts = sw::in_process(3, [](host_rank& host) {
    cu::set_device(host.rank());
    sw::communicator_rendezvous meeting(host);
    return error_of([&] { (void)gpu_rank::create(meeting, {.name = "tp"}); });
  });
  for (int r = 0; r < 3; ++r) {
    CHECK(has(texts[static_cast<std::size_t>(r)], "rank " + std::to_string(r) +
                                                      " of 3 (tp): rank 0 could not make the id of the communicator: "
                                                      "ncclGetUniqueId gave ncclSystemError (2)"));
  }
  CHECK(slate.left() == "");
}

TEST_CASE("a split that fails or takes too long poisons the communicator", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  for (int round = 0; round < n; ++round) {
    const bool late = round % 2 == 0;
    const auto& [code, words] = codes[static_cast<std::size_t>(round / 2) % 6];
    CAPTURE(round, late, code);
    fake_gpu::clear_injections();
    if (!late) fake_gpu::inject({.function = "ncclCommSplit", .nth = 1, .result = code, .rank = 0});
    const sw::nccl::options opts{.name = "tp", .deadline = 20ms};
    const auto told = on_gpus(2, opts, [&](gpu_rank& made, cudaStream_t stream, host_rank& host) {
      gpu_rank comm = gpu_rank::adopt(made.native_handle(), {.name = "tp", .deadline = 20ms, .init_deadline = 20ms});
      const floats x(4);
      verdict v;
      if (host.rank() == 0) {
        v.text = error_of([&] { (void)comm.split(0, 0); });
        v.later = error_of([&] { comm.wait(stream); });
      }
      host.barrier();
      made.abort();
      return v;
    });
    const std::string part =
        late ? "ncclCommSplit was not done within 20 ms" : std::string("ncclCommSplit gave ") + words;
    REQUIRE(flaw(told[0], 0, 2, opts.deadline, part) == "");
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("a split whose ranks come late is waited for", "[nccl][faults]") {
  // ncclCommSplit gives ncclSuccess at once, and the handle when all are there.
  clean_slate slate;
  fake_gpu::inject(
      {.function = "ncclCommSplit", .nth = 1, .rank = 1, .what = fake_gpu::action::delay, .milliseconds = 50});
  const auto sums = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    gpu_rank part = comm.split(0, 0);
    const floats x(1, 1);
    part.all_reduce(x.data(), x.data(), 1, sw::dtype::f32, sw::reduction::sum, stream);
    part.wait(stream);
    return x.get();
  });
  for (const auto& sum : sums) CHECK(sum == std::vector<float>{2});
  CHECK(slate.left() == "");
}

TEST_CASE("what a failed split has made all the same is ended", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(20);
  for (int round = 0; round < n; ++round) {
    CAPTURE(round);
    const auto texts = on_gpus(1, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t, host_rank&) {
      // The communicator fails in the middle of it; until it is aborted the split comes to its end.
      fake_gpu::inject({.function = "ncclCommGetAsyncError",
                        .nth = 1,
                        .result = ncclRemoteError,
                        .rank = 0,
                        .what = fake_gpu::action::async_error});
      fake_gpu::inject(
          {.function = "ncclCommAbort", .nth = 1, .rank = 0, .what = fake_gpu::action::delay, .milliseconds = 20});
      return error_of([&] { (void)comm.split(0, 0); });
    });
    REQUIRE(has(texts[0], "rank 0 of 1 (tp, device 0): ncclCommSplit gave ncclRemoteError (6)"));
    REQUIRE(slate.left() == "");
  }
}

TEST_CASE("the destructor ends at its deadline, whatever hangs", "[nccl][faults]") {
  clean_slate slate;
  const int n = fault_rounds(200);
  for (int round = 0; round < n; ++round) {
    const int kind = round % 3;
    const bool blocking = round % 2 == 1;
    CAPTURE(round, kind, blocking);
    fake_gpu::clear_injections();
    if (kind == 1) {
      fake_gpu::inject(
          {.function = "ncclCommDestroy", .nth = 1, .rank = 0, .what = fake_gpu::action::delay, .milliseconds = 60});
    }
    if (kind == 2) fake_gpu::inject({.function = "ncclCommFinalize", .nth = 1, .result = ncclRemoteError, .rank = 0});
    const auto start = clock_type::now();
    const auto opts = [&](int rank) {
      // What a blocking one of rank 0 has on its stream ends when rank 1 has come after all: that one has to be
      // patient, or on a busy machine the work would stay for ever.
      const bool comes_after_all = kind == 0 && blocking && rank == 1;
      return sw::nccl::options{.name = "tp", .deadline = comes_after_all ? 100s : 10ms, .blocking = blocking};
    };
    on_gpus(2, opts, [&](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
      const floats x(4);
      if (kind == 0 && host.rank() == 1) host.barrier();  // stands elsewhere while rank 0 waits for it
      {
        gpu_rank gone = std::move(comm);
        // On a busy machine the deadline may be over before: it is the end that counts.
        (void)error_of([&] {
          if (kind == 0 && (host.rank() == 0 || blocking)) call(gone, "all_reduce", x.data(), stream);
          if (kind == 0 && host.rank() == 1 && blocking) gone.wait(stream);
        });
      }
      if (kind != 0 || host.rank() == 0) host.barrier();
      return 0;
    });
    REQUIRE(clock_type::now() - start < 10s);
    REQUIRE(slate.left() == "");
    // A blocking one whose work came to its end may have been closed in time.
    if (kind == 2 || (kind == 0 && !blocking)) REQUIRE(fake_gpu::calls("ncclCommAbort") >= 1);
    fake_gpu::reset_counts();
  }
}

TEST_CASE("a stream whose work failed is told with CUDA's own words", "[nccl][faults]") {
  clean_slate slate;
  fake_gpu::inject({.function = "cudaStreamQuery", .nth = 1, .result = 700, .rank = -1, .every = true});
  const auto told =
      run(1, {.name = "tp"}, [](gpu_rank& comm, float* p, cudaStream_t s) { call(comm, "all_reduce", p, s); });
  CHECK(flaw(told[0], 0, 1, 30s,
             "wait: cudaStreamQuery gave cudaErrorIllegalAddress (700), an illegal memory access was encountered; the "
             "last call was all_reduce of 4 f32 by sum (call 1)") == "");
  CHECK(slate.left() == "");
}

TEST_CASE("an error tells the versions, NCCL's last words as what they are, and a way out", "[nccl][faults]") {
  clean_slate slate;
  fake_gpu::inject({.function = "ncclAllReduce", .nth = 1, .result = ncclRemoteError, .rank = 0});
  const auto told =
      run(1, {.name = "tp"}, [](gpu_rank& comm, float* p, cudaStream_t s) { call(comm, "all_reduce", p, s); });
  CHECK(has(told[0].text, "; another rank ended or lost its connection: its own error says why; it was aborted") ==
        false);
  CHECK(has(told[0].text, "another rank ended or lost its connection: its own error says why. NCCL 2."));
  CHECK(slate.left() == "");

  using sw::nccl::detail::hint_of;
  CHECK(has(
      std::string(hint_of(ncclInvalidUsage, "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1000", 1)),
      "NCCL_HOSTID"));
  CHECK(has(std::string(hint_of(ncclInvalidUsage, "Multiple ranks detected using the same GPU on this node.", 1)),
            "NCCL_MULTI_RANK_GPU_ENABLE=1"));
  CHECK(has(std::string(hint_of(ncclInvalidUsage, "Mismatched NCCL version detected : rank 0 has 2.27", 1)),
            "libnccl.so.2"));
  CHECK(has(std::string(hint_of(ncclInternalError, "Bootstrap : no socket interface found", 1)), "NCCL_SOCKET_IFNAME"));
  CHECK(has(std::string(hint_of(ncclUnhandledCudaError, "", 0)), "no CUDA device"));
}

TEST_CASE("a library that is too old is refused", "[nccl]") {
  CHECK(error_of([] { sw::nccl::detail::require_version(21705); }) ==
        "NCCL 2.17.5 runs, and shardwise needs 2.20.5 or newer; it was compiled against " + std::to_string(NCCL_MAJOR) +
            "." + std::to_string(NCCL_MINOR) + "." + std::to_string(NCCL_PATCH) +
            ": see which libnccl.so.2 the loader finds first");
  CHECK(error_of([] { sw::nccl::detail::require_version(2708); }).substr(0, 15) == "NCCL 2.7.8 runs");
  CHECK(error_of([] { sw::nccl::detail::require_version(22005); }) == "");
}
