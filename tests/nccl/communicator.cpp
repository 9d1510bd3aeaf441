// SPDX-License-Identifier: Apache-2.0
// What a communicator knows, whom it belongs to, and how it ends.
#include "shardwise/nccl/communicator.hpp"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace nccl_test;

namespace {

std::vector<float> summed(gpu_rank& comm, cudaStream_t stream) {
  const floats x(3, static_cast<float>(comm.rank() + 1));
  comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
  comm.wait(stream);
  return x.get();
}

// As an engine makes its own.
ncclComm_t engines_own(host_rank& host, bool blocking = true) {
  ncclUniqueId id{};
  if (host.rank() == 0) ncclGetUniqueId(&id);
  host.broadcast(&id, sizeof id, sw::dtype::u8, 0);
  ncclComm_t handle = nullptr;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = blocking ? 1 : 0;
  const ncclResult_t made = ncclCommInitRankConfig(&handle, host.size(), id, host.rank(), &config);
  if (made != (blocking ? ncclSuccess : ncclInProgress)) throw std::runtime_error("engine");
  return handle;
}

}  // namespace

static_assert(std::is_nothrow_move_constructible_v<gpu_rank> && std::is_nothrow_move_assignable_v<gpu_rank>);
static_assert(!std::is_copy_constructible_v<gpu_rank>);
static_assert(std::is_same_v<gpu_rank::stream_type, cudaStream_t>);

TEST_CASE("a rank knows its place, its device and its name, and asks NCCL for nothing else", "[nccl]") {
  clean_slate slate;
  for (const int ranks : {1, 2, 4}) {
    on_gpus(ranks, {.name = "tp"}, [&](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
      if (comm.rank() != host.rank() || comm.size() != ranks || comm.device() != host.rank())
        throw std::logic_error("");
      if (comm.name() != "tp" || comm.native_handle() == nullptr) throw std::logic_error("name");
      if (!comm.healthy() || comm.error() != nullptr) throw std::logic_error("healthy");
      const auto sum = static_cast<float>(ranks * (ranks + 1) / 2);
      if (summed(comm, stream) != std::vector<float>{sum, sum, sum}) throw std::logic_error("sum");
      return 0;
    });
  }
  CHECK(fake_gpu::calls("ncclCommInitRankConfig") == 7);
  CHECK(fake_gpu::calls("ncclCommFinalize") == 7);
  CHECK(fake_gpu::calls("ncclCommDestroy") == 7);
  CHECK(fake_gpu::calls("ncclCommAbort") == 0);
  CHECK(fake_gpu::counted().findings == 0);
  CHECK(fake_gpu::counted().other_device_current == 0);
  CHECK(fake_gpu::counted().synchronisations == 7 * 2 * 2);  // two of each copy of `floats`
  CHECK(slate.left() == "");
}

TEST_CASE("a call while another device is current is refused by name, and calls nothing", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
    const floats x(8);
    host.barrier();
    if (comm.rank() == 0) fake_gpu::reset_counts();
    host.barrier();
    const std::vector<std::size_t> ones(2, 1);
    std::vector<std::string> told;
    {
      const cu::device_guard other(1 - comm.device());
      float* p = x.data();
      const auto f32 = sw::dtype::f32;
      told = {error_of([&] { comm.all_reduce(p, p, 8, f32, sw::reduction::sum, stream); }),
              error_of([&] { comm.all_gather(p, p, 4, f32, stream); }),
              error_of([&] { comm.reduce_scatter(p, p, 4, f32, sw::reduction::max, stream); }),
              error_of([&] { comm.broadcast(p, 4, f32, 0, stream); }),
              error_of([&] { comm.gather_last_dim(p, 1, p, 2, 1, ones, f32, stream); }),
              error_of([&] { comm.all_to_all(p, ones, p + 4, ones, f32, stream); }),
              error_of([&] { comm.barrier(stream); }),
              error_of([&] { comm.wait(stream); }),
              error_of([&] { (void)comm.split(0, 0); }),
              error_of([&] { sw::nccl::group g(comm); })};
    }
    host.barrier();
    for (const char* f : {"ncclAllReduce", "ncclAllGather", "ncclReduceScatter", "ncclBroadcast", "ncclSend",
                          "ncclGroupStart", "ncclCommSplit"}) {
      if (fake_gpu::calls(f) != 0) told.push_back(std::string(f) + " was called");
    }
    host.barrier();
    if (summed(comm, stream) != std::vector<float>{3, 3, 3}) told.push_back("it is not usable afterwards");
    return told;
  });
  for (int rank = 0; rank < 2; ++rank) {
    const auto& told = texts[static_cast<std::size_t>(rank)];
    const std::string expected = "rank " + std::to_string(rank) + " of 2 (tp, device " + std::to_string(rank) +
                                 "): device " + std::to_string(1 - rank) + " is current: make the communicator's";
    CHECK(told.size() == 10);
    for (const std::string& text : told) CHECK(text.substr(0, expected.size()) == expected);
  }
  CHECK(slate.left() == "");
}

TEST_CASE("an argument that is wrong by itself is refused in the words of the ranks in a process", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(16);
    float* const p = x.data();
    const std::vector<std::size_t> pair(2, 1), ones(3, 1);
    const auto f32 = sw::dtype::f32;
    const auto sum = sw::reduction::sum;
    using sw::dtype;
    std::vector<std::string> told = {
        error_of([&] { comm.all_reduce(p, p, 4, dtype::f8_e4m3, sum, stream); }),
        error_of([&] { comm.reduce_scatter(p, p, 4, dtype::i16, sw::reduction::max, stream); }),
        error_of([&] { comm.all_reduce(nullptr, p, 1, f32, sum, stream); }),
        error_of([&] { comm.all_gather(p, nullptr, 1, f32, stream); }),
        error_of([&] { comm.broadcast(p, 4, f32, 2, stream); }),
        error_of([&] { comm.broadcast(p, 4, f32, -1, stream); }),
        error_of([&] { comm.gather_last_dim(p, 1, p + 8, 3, 1, ones, f32, stream); }),
        error_of([&] { comm.gather_last_dim(p, 0, p + 8, 2, 2, pair, f32, stream); }),
        error_of([&] { comm.gather_last_dim(p, 1, p + 8, 1, 2, pair, f32, stream); }),
        error_of([&] { comm.gather_last_dim(nullptr, 1, p + 8, 2, 1, pair, f32, stream); }),
        error_of([&] { comm.all_to_all(p, ones, p + 8, pair, f32, stream); }),
        error_of([&] { comm.all_to_all(p, pair, p + 8, ones, f32, stream); }),
        error_of([&] { comm.all_to_all(p, pair, p, pair, f32, stream); }),
        error_of([&] { (void)comm.split(-1, 0); })};
    if (!comm.healthy()) told.push_back("poisoned");
    if (summed(comm, stream) != std::vector<float>{3, 3, 3}) told.push_back("it is not usable afterwards");
    return told;
  });
  const std::string reduces = "reductions are of f32, f64, f16, bf16, i32, i64 and u8; cast the tensor to one of them";
  const std::string counts = "it needs one count for each rank of this communicator";
  const std::vector<std::string> expected = {
      "all_reduce of 4 f8_e4m3 by sum: " + reduces,
      "reduce_scatter of 4 i16 by max: " + reduces,
      "all_reduce of 1 f32 by sum: a buffer is null",
      "all_gather of 1 f32: a buffer is null",
      "broadcast of 4 f32 from root 2: the root is not a rank of this communicator",
      "broadcast of 4 f32 from root -1: the root is not a rank of this communicator",
      "gather_last_dim of 1 rows, columns [1, 1, 1], f32: " + counts,
      "gather_last_dim of 2 rows, columns [1, 1], f32: rows overlap: a stride is too short",
      "gather_last_dim of 2 rows, columns [1, 1], f32: rows overlap: a stride is too short",
      "gather_last_dim of 1 rows, columns [1, 1], f32: a buffer is null",
      "all_to_all of f32: " + counts,
      "all_to_all of f32: " + counts,
      "all_to_all of f32: it cannot be done in place",
      "split: the color is below 0"};
  for (int rank = 0; rank < 2; ++rank) {
    const auto& told = texts[static_cast<std::size_t>(rank)];
    REQUIRE(told.size() == expected.size());
    const std::string place = "rank " + std::to_string(rank) + " of 2 (tp, device " + std::to_string(rank) + "): ";
    for (std::size_t i = 0; i < told.size(); ++i) CHECK(told[i] == place + expected[i]);
  }
  CHECK(slate.left() == "");
}

TEST_CASE("the name lives as long as NCCL's communicator, wherever the options and the object went", "[nccl]") {
  // The fake keeps the pointer, as NCCL does, and finds a name that was freed or changed.
  clean_slate slate;
  on_gpus(2, {}, [](gpu_rank&, cudaStream_t stream, host_rank& host) {
    std::vector<gpu_rank> kept;
    for (int i = 0; i < 20; ++i) {
      sw::communicator_rendezvous meeting(host);
      auto opts = std::make_unique<sw::nccl::options>();
      opts->name = "a name that is too long for a string's own room, number " + std::to_string(i);
      gpu_rank made = gpu_rank::create(meeting, *opts);
      std::memset(opts->name.data(), '!', opts->name.size());
      opts.reset();
      gpu_rank part = made.split(0, 0);
      kept.push_back(std::move(made));
      kept.push_back(std::move(part));
    }
    for (gpu_rank& comm : kept) {
      if (summed(comm, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("sum");
    }
    if (kept[6].name() != "a name that is too long for a string's own room, number 3") throw std::logic_error("name");
    if (kept[7].name() != std::string(kept[6].name()) + "/0") throw std::logic_error("name of the split");
    return 0;
  });
  CHECK(fake_gpu::counted().findings == 0);
  CHECK(slate.left() == "");
}

TEST_CASE("an adopted communicator is left alone", "[nccl]") {
  clean_slate slate;
  on_gpus(2, {}, [](gpu_rank&, cudaStream_t stream, host_rank& host) {
    const ncclComm_t handle = engines_own(host);
    host.barrier();
    if (host.rank() == 0) fake_gpu::reset_counts();
    host.barrier();
    for (int i = 0; i < 3; ++i) {
      gpu_rank comm = gpu_rank::adopt(handle, {.name = "engine"});
      if (comm.native_handle() != handle || comm.rank() != host.rank() || comm.size() != 2) throw std::logic_error("");
      if (comm.device() != host.rank() || comm.name() != "engine") throw std::logic_error("device");
      if (summed(comm, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("sum");
      if (i == 1) comm.close();
      if (i == 2) comm.abort();
      if ((i == 0) != comm.healthy()) throw std::logic_error("healthy");
    }
    host.barrier();
    for (const char* f : {"ncclCommAbort", "ncclCommDestroy", "ncclCommFinalize", "ncclCommInitRankConfig",
                          "ncclCommSplit", "cudaDeviceSynchronize"}) {
      if (fake_gpu::calls(f) != 0) throw std::logic_error(f);
    }
    constexpr int copies = 3 * 2 * 2;  // of `floats`
    if (fake_gpu::calls("cudaStreamSynchronize") != copies) throw std::logic_error("cudaStreamSynchronize");
    host.barrier();
    gpu_rank again = gpu_rank::adopt(handle);
    if (summed(again, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("it is not the engine's any more");
    if (ncclCommDestroy(handle) != ncclSuccess) throw std::logic_error("destroy");
    return 0;
  });
  CHECK(slate.left() == "");
  CHECK(error_of([] { (void)gpu_rank::adopt(nullptr, {.name = "engine"}); }) ==
        "the communicator to adopt as engine is null");
}

TEST_CASE("a fault of an adopted communicator poisons it, and leaves the abort to its engine", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {}, [](gpu_rank&, cudaStream_t stream, host_rank& host) {
    const ncclComm_t handle = engines_own(host);
    std::string text, later;
    {
      gpu_rank comm = gpu_rank::adopt(handle, {.name = "engine", .deadline = 100ms});
      const floats x(8);
      // Rank 1 does not come.
      if (host.rank() == 0) {
        comm.all_reduce(x.data(), x.data(), 8, sw::dtype::f32, sw::reduction::sum, stream);
        text = error_of([&] { comm.wait(stream); });
        later = error_of([&] { comm.broadcast(x.data(), 8, sw::dtype::f32, 0, stream); });
        if (fake_gpu::calls("ncclCommAbort") != 0) throw std::logic_error("aborted");
        if (text != later) throw std::logic_error(later);
        if (ncclCommAbort(handle) != ncclSuccess) throw std::logic_error("abort");
      }
    }
    host.barrier();
    if (host.rank() == 1) ncclCommAbort(handle);
    return text;
  });
  CHECK(has(texts[0],
            "rank 0 of 2 (engine, device 0): wait: the stream was not done within 100 ms; the last call was all_reduce "
            "of 8 f32 by sum (call 1); a rank died"));
  CHECK(has(texts[0], "; the communicator is the engine's, which has to abort it"));
  CHECK(slate.left() == "");
}

TEST_CASE("a split has its own ranks and name, and lives and dies alone", "[nccl]") {
  clean_slate slate;
  on_gpus(4, {.name = "world", .min_ctas = 1, .max_ctas = 2}, [](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
    const int color = comm.rank() % 2;
    std::optional<gpu_rank> part = comm.split(color, -comm.rank());
    if (part->size() != 2 || part->rank() != (comm.rank() < 2 ? 1 : 0) || part->device() != comm.device()) {
      throw std::logic_error("place");
    }
    if (part->name() != "world/" + std::to_string(color)) throw std::logic_error("name");
    if (summed(*part, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("sum");
    if (color == 0) part->abort();
    if (color == 0 && !has(error_of([&] { part->barrier(stream); }), "was aborted by a call")) {
      throw std::logic_error("abort");
    }
    if (color == 1 && summed(*part, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("other part");
    part.reset();
    if (summed(comm, stream) != std::vector<float>{10, 10, 10}) throw std::logic_error("whole");
    host.barrier();
    return 0;
  });
  CHECK(fake_gpu::calls("ncclCommAbort") == 2);
  CHECK(fake_gpu::calls("ncclCommDestroy") == 6);
  CHECK(fake_gpu::counted().findings == 0);
  CHECK(slate.left() == "");
}

TEST_CASE("closing ends a communicator once, and later calls say so", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(4);
    comm.close();
    comm.close();
    std::vector<std::string> told;
    if (comm.healthy() || comm.native_handle() != nullptr) told.push_back("still there");
    if (comm.error() == nullptr || comm.error()->kind() != sw::nccl::fault::ended) told.push_back("kind");
    told.push_back(error_of([&] { comm.all_gather(x.data(), x.data(), 2, sw::dtype::f32, stream); }));
    told.push_back(error_of([&] { comm.wait(stream); }));
    told.push_back(error_of([&] { (void)comm.split(0, 0); }));
    return told;
  });
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const std::string text =
        "rank " + std::to_string(rank) + " of 2 (tp, device " + std::to_string(rank) + "): the communicator was closed";
    CHECK(texts[rank] == std::vector<std::string>(3, text));
  }
  CHECK(fake_gpu::calls("ncclCommDestroy") == 2);
  CHECK(slate.left() == "");
}

TEST_CASE("a communicator can be moved, and the one that was moved from says so", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    gpu_rank moved = std::move(comm);
    std::vector<std::string> told = {error_of([&] { comm.wait(stream); }),
                                     error_of([&] { comm.broadcast(nullptr, 0, sw::dtype::f32, 0, stream); })};
    comm.close();
    comm.abort();
    if (comm.healthy()) told.push_back("healthy");
    gpu_rank part = moved.split(0, 0);
    part = std::move(moved);
    if (summed(part, stream) != std::vector<float>{3, 3, 3}) told.push_back("sum");
    if (part.name() != "tp") told.push_back("name");
    return told;
  });
  for (const auto& told : texts) CHECK(told == std::vector<std::string>(2, "the communicator was moved from"));
  CHECK(fake_gpu::calls("ncclCommDestroy") == 4);
  CHECK(slate.left() == "");
}

TEST_CASE("a barrier waits for the stream and all ranks, with four bytes in the order of the stream", "[nccl]") {
  clean_slate slate;
  on_gpus(2, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
    host.barrier();
    if (host.rank() == 0) fake_gpu::reset_counts();
    host.barrier();
    for (int i = 0; i < 5; ++i) comm.barrier(stream);
    return 0;
  });
  CHECK(fake_gpu::operations("ncclAllReduce").operations == 10);
  CHECK(fake_gpu::operations("ncclAllReduce").bytes == 40);
  CHECK(fake_gpu::calls("cudaMallocAsync") == 10);
  CHECK(fake_gpu::calls("cudaFreeAsync") == 10);
  // These may wait for what other threads' collectives do on the device.
  CHECK(fake_gpu::calls("cudaMalloc") == 0);
  CHECK(fake_gpu::calls("cudaFree") == 0);
  CHECK(fake_gpu::counted().synchronisations == 0);
  CHECK(slate.left() == "");
}

TEST_CASE("a barrier leaves no memory behind, however it ends and whosever the communicator is", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {}, [](gpu_rank&, cudaStream_t stream, host_rank& host) {
    const ncclComm_t handle = engines_own(host);
    gpu_rank comm = gpu_rank::adopt(handle, {.name = "engine", .deadline = 50ms});
    comm.barrier(stream);
    host.barrier();
    std::string text;
    if (host.rank() == 0) text = error_of([&] { comm.barrier(stream); });  // rank 1 does not come
    host.barrier();
    ncclCommAbort(handle);
    return text;
  });
  CHECK(has(texts[0], "the last call was barrier"));
  fake_gpu::inject({.function = "ncclAllReduce", .nth = 1, .result = ncclInternalError, .rank = 0});
  on_gpus(1, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    if (!has(error_of([&] { comm.barrier(stream); }), "ncclInternalError")) throw std::logic_error("no error");
    return 0;
  });
  fake_gpu::clear_injections();
  fake_gpu::inject({.function = "cudaMallocAsync", .nth = 1, .result = cudaErrorNotSupported, .rank = 0});
  on_gpus(1, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    bool told = false;
    try {
      comm.barrier(stream);
    } catch (const cu::error& e) {
      told = e.code() == cudaErrorNotSupported && e.call() == "cudaMallocAsync";
    }
    if (!told || !comm.healthy()) throw std::logic_error("no memory pools");
    return 0;
  });
  CHECK(slate.left() == "");
}

TEST_CASE("collectives are captured, and what would wait is refused without ending the capture", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
    const floats x(3, 1);
    std::vector<std::string> told;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
    told.push_back(error_of([&] { comm.barrier(stream); }));
    told.push_back(error_of([&] { comm.wait(stream); }));
    cu::check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    cu::check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
    host.barrier();
    for (int i = 0; i < 2; ++i) {
      cu::check(cudaGraphLaunch(exec, stream), "cudaGraphLaunch");
      comm.wait(stream);
    }
    if (x.get() != std::vector<float>{4, 4, 4}) told.push_back("replayed twice it is 1 * 2 * 2");
    cu::check(cudaGraphExecDestroy(exec), "cudaGraphExecDestroy");
    cu::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    if (!comm.healthy()) told.push_back("poisoned");
    return told;
  });
  for (const auto& told : texts) {
    REQUIRE(told.size() == 2);
    CHECK(has(told[0], "barrier was called while the stream is captured"));
    CHECK(has(told[1], "wait was called while the stream is captured"));
  }
  CHECK(slate.left() == "");
}

TEST_CASE("a wait is for its own stream, whatever other streams are captured meanwhile", "[nccl]") {
  clean_slate slate;
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
    on_gpus(2, {}, [mode](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
      const floats x(3, 1);
      const cu::stream other;
      cudaGraph_t graph = nullptr;
      comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
      host.barrier();
      cu::check(cudaStreamBeginCapture(other, mode), "cudaStreamBeginCapture");
      comm.wait(stream);
      comm.barrier(stream);
      cu::check(cudaStreamEndCapture(other, &graph), "cudaStreamEndCapture");
      cu::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
      cudaStreamCaptureMode now = cudaStreamCaptureModeRelaxed;
      cu::check(cudaThreadExchangeStreamCaptureMode(&now), "cudaThreadExchangeStreamCaptureMode");
      if (now != cudaStreamCaptureModeGlobal) throw std::logic_error("the thread's mode is another one now");
      (void)cudaThreadExchangeStreamCaptureMode(&now);
      host.barrier();  // the other rank's capture is over, too
      if (x.get() != std::vector<float>{2, 2, 2}) throw std::logic_error("sum");
      return 0;
    });
  }
  CHECK(slate.left() == "");
}

TEST_CASE("a wait for the null stream is refused while a stream that waits for it is captured", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(1, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t, host_rank&) {
    cudaStream_t behind = nullptr;
    cudaGraph_t graph = nullptr;
    cu::check(cudaStreamCreate(&behind), "cudaStreamCreate");
    cu::check(cudaStreamBeginCapture(behind, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    const std::string text = error_of([&] { comm.wait(nullptr); });
    if (cudaPeekAtLastError() != cudaSuccess) throw std::logic_error("an error is left behind");
    cu::check(cudaStreamEndCapture(behind, &graph), "cudaStreamEndCapture");
    cu::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    cu::check(cudaStreamDestroy(behind), "cudaStreamDestroy");
    if (!comm.healthy()) throw std::logic_error("poisoned");
    comm.wait(nullptr);
    return text;
  });
  CHECK(has(texts[0], "wait was called on the null stream while a stream that waits for it is captured"));
  CHECK(slate.left() == "");
}

TEST_CASE("a capture that begins while the stream is waited for poisons nothing", "[nccl]") {
  clean_slate slate;
  fake_gpu::inject({.function = "cudaStreamQuery", .nth = 1, .result = cudaErrorStreamCaptureUnsupported, .rank = -1});
  const auto texts = on_gpus(1, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const std::string text = error_of([&] { comm.wait(stream); });
    comm.wait(stream);
    return text;
  });
  CHECK(has(texts[0], "wait: a capture of the stream began meanwhile (cudaErrorStreamCaptureUnsupported)"));
  CHECK(slate.left() == "");
}

TEST_CASE("a wait also waits for what NCCL has not yet put on the stream", "[nccl]") {
  clean_slate slate;
  fake_gpu::inject(
      {.function = "ncclAllReduce", .nth = 1, .rank = -1, .what = fake_gpu::action::delay, .milliseconds = 30});
  on_gpus(1, {}, [](gpu_rank&, cudaStream_t stream, host_rank& host) {
    const ncclComm_t handle = engines_own(host, false);
    gpu_rank comm = gpu_rank::adopt(handle);
    const floats from(1, 7), to(1, 0);
    // The engine's own call, which nobody has waited for.
    if (ncclAllReduce(from.data(), to.data(), 1, ncclFloat32, ncclSum, handle, stream) != ncclInProgress) {
      throw std::logic_error("it was not to be done at once");
    }
    comm.wait(stream);
    if (to.get() != std::vector<float>{7}) throw std::logic_error("wait came back before the work was on the stream");
    if (ncclCommDestroy(handle) != ncclSuccess) throw std::logic_error("destroy");
    return 0;
  });
  CHECK(slate.left() == "");
}

TEST_CASE("a communicator that is closed before its graphs ends by the deadline, and says what it waits for",
          "[nccl]") {
  clean_slate slate;
  for (const bool blocking : {false, true}) {
    fake_gpu::reset_counts();
    const sw::nccl::options opts{.name = "tp", .deadline = 100ms, .abort_grace = 50ms, .blocking = blocking};
    const auto texts = on_gpus(1, opts, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
      const floats x(3, 1);
      cudaGraph_t graph = nullptr;
      cudaGraphExec_t exec = nullptr;
      cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
      comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
      cu::check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
      cu::check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
      const std::string text = error_of([&] { comm.close(); });
      cu::check(cudaGraphExecDestroy(exec), "cudaGraphExecDestroy");
      cu::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
      return text;
    });
    // It is ncclCommFinalize that waits. ncclCommAbort waits for that of a non-blocking one, and would free a blocking
    // one in the hands of it: that one is aborted by the thread that it is left to.
    CHECK(has(texts[0], blocking ? "rank 0 of 1 (tp, device 0): ncclCommFinalize did not come back within 100 ms: work "
                                 : "rank 0 of 1 (tp, device 0): ncclCommFinalize was not done within 100 ms: work "));
    CHECK(has(texts[0],
              "that was called before is not done, or a CUDA graph that captured the communicator lives: destroy such "
              "graphs first; "));
    CHECK(has(texts[0], blocking
                            ? "; it goes on in a thread of its own"
                            : "; ncclCommAbort did not come back within 50 ms, and goes on in a thread of its own"));
    CHECK(slate.left() == "");
    CHECK(fake_gpu::calls("ncclCommAbort") == 1);
    CHECK(fake_gpu::calls("ncclCommDestroy") == 0);
  }
}

TEST_CASE("a blocking communicator is made, split, used and closed as the others are", "[nccl]") {
  clean_slate slate;
  const sw::nccl::options opts{.name = "tp", .blocking = true};
  on_gpus(3, opts, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    ncclResult_t result = ncclSuccess;
    const floats x(3, 1);
    // NCCL's own says that it is done when it returns, as only a blocking one does.
    if (ncclAllReduce(x.data(), x.data(), 3, ncclFloat32, ncclSum, comm.native_handle(), stream) != ncclSuccess ||
        ncclCommGetAsyncError(comm.native_handle(), &result) != ncclSuccess || result != ncclSuccess) {
      throw std::logic_error("not blocking");
    }
    gpu_rank part = comm.split(0, -comm.rank());
    if (part.rank() != 2 - comm.rank()) throw std::logic_error("rank");
    if (ncclAllReduce(x.data(), x.data(), 3, ncclFloat32, ncclSum, part.native_handle(), stream) != ncclSuccess) {
      throw std::logic_error("the split is not blocking");
    }
    if (summed(part, stream) != std::vector<float>{6, 6, 6}) throw std::logic_error("sum");
    part.close();
    comm.close();
    return 0;
  });
  CHECK(fake_gpu::calls("ncclCommDestroy") == 6);
  CHECK(fake_gpu::calls("ncclCommAbort") == 0);
  // One that cannot be made.
  fake_gpu::inject({.function = "ncclCommInitRankConfig", .nth = 1, .result = ncclSystemError, .rank = 0});
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  CHECK(has(error_of([&] { (void)gpu_rank::create(id, 1, 0, opts); }),
            "rank 0 of 1 (tp, device 0): ncclCommInitRankConfig gave ncclSystemError (2)"));
  CHECK(slate.left() == "");
}

TEST_CASE("a communicator closes as it is, where NCCL_COMM_BLOCKING makes it another than the options say", "[nccl]") {
  clean_slate slate;
  for (const bool blocking : {false, true}) {
    fake_gpu::reset_counts();
    setenv("NCCL_COMM_BLOCKING", blocking ? "0" : "1", 1);
    on_gpus(2, {.name = "tp", .deadline = 2000ms, .blocking = blocking},
            [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
              if (summed(comm, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("sum");
              comm.close();
              return 0;
            });
    unsetenv("NCCL_COMM_BLOCKING");
    CHECK(fake_gpu::calls("ncclCommDestroy") == 2);
    CHECK(fake_gpu::calls("ncclCommAbort") == 0);
    CHECK(slate.left() == "");
  }
}

TEST_CASE("a least number of thread blocks may be given alone", "[nccl]") {
  clean_slate slate;
  on_gpus(2, {.name = "tp", .min_ctas = 4}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    if (summed(comm, stream) != std::vector<float>{3, 3, 3}) throw std::logic_error("sum");
    return 0;
  });
  CHECK(slate.left() == "");
}

TEST_CASE("a stream that is another one in each thread is refused where NCCL launches in a thread of its own",
          "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(1, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(3, 1);
    const std::size_t columns[] = {3};
    const auto text = error_of(
        [&] { comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, cudaStreamPerThread); });
    for (const auto& other : {error_of([&] { comm.barrier(cudaStreamPerThread); }), error_of([&] {
                                comm.gather_last_dim(x.data(), 1, x.data(), 1, 3, columns, sw::dtype::f32,
                                                     cudaStreamPerThread);
                              })}) {
      if (!has(other, "the calling thread's own (cudaStreamPerThread)")) throw std::logic_error(other);
    }
    if (summed(comm, stream) != std::vector<float>{1, 1, 1}) throw std::logic_error("poisoned");
    return text;
  });
  CHECK(texts[0] ==
        "rank 0 of 1 (tp, device 0): all_reduce of 3 f32 by sum: the stream is the calling thread's own "
        "(cudaStreamPerThread), and NCCL would use that of another thread: give a stream that was created");
  CHECK(slate.left() == "");
}

TEST_CASE("options that cannot be meant are refused before anything is made", "[nccl]") {
  clean_slate slate;
  const ncclUniqueId id{};
  CHECK(has(error_of([&] { (void)gpu_rank::create(id, 1, 0, {.name = "tp", .deadline = 0ms}); }),
            "a deadline of the communicator tp is 0 ms; it must be above 0"));
  CHECK(has(error_of([&] { (void)gpu_rank::create(id, 2, 2, {.name = "tp"}); }), "rank 2 of 2 (tp): ranks go from 0"));
  CHECK(has(error_of([&] { (void)gpu_rank::create(id, 0, 0, {.name = "tp"}); }), "rank 0 of 0 (tp): ranks go from 0"));
  CHECK(fake_gpu::calls("ncclCommInitRankConfig") == 0);
  CHECK(slate.left() == "");
}
