// SPDX-License-Identifier: Apache-2.0
// How each misuse of refusals.hpp is brought about.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "fake/fake_gpu.hpp"
#include "fake/refusals.hpp"
#include "fake/tests/bodies.hpp"

namespace misuses {

using bodies::rank_of_world;
using fake::misuse;

// What a misuse gave: the result, and the sentence.
struct seen {
  ncclResult_t result = ncclSuccess;
  std::string report;
};
inline seen saw(ncclResult_t result) { return {result, fake_gpu::last_report()}; }

inline bool is(const seen& s, misuse what) {
  const auto& entry = fake::entry_of(what);
  return s.result == entry.result && s.report.starts_with(std::string(entry.name) + ": ");
}

// A communicator of one rank on device 0, its stream, and 64 floats.
struct alone : rank_of_world {
  alone() {
    ncclUniqueId id;
    fine = cudaSetDevice(0) == cudaSuccess && ncclGetUniqueId(&id) == ncclSuccess && bodies::join(*this, id, true) &&
           cudaMalloc(&memory, 64 * sizeof(float)) == cudaSuccess;
  }
  alone(const alone&) = delete;
  alone& operator=(const alone&) = delete;
  ~alone() {
    cudaSetDevice(0);
    cudaStreamDestroy(stream);
    if (comm != nullptr) ncclCommAbort(comm);
    cudaFree(memory);
  }
  float* at(std::size_t i = 0) const { return static_cast<float*>(memory) + i; }
  ncclResult_t reduce(const void* from, void* to, ncclDataType_t type = ncclFloat32, ncclRedOp_t op = ncclSum) const {
    return ncclAllReduce(from, to, 4, type, op, comm, stream);
  }

  bool fine = false;
  void* memory = nullptr;
};

inline seen of_init(int size, int rank, ncclConfig_t* config) {
  ncclUniqueId id;
  if (ncclGetUniqueId(&id) != ncclSuccess) return {};
  ncclComm_t comm = nullptr;
  const seen s = saw(ncclCommInitRankConfig(&comm, size, id, rank, config));
  // The id is still good, and is used up here.
  rank_of_world w;
  return comm == nullptr && bodies::join(w, id, true) && bodies::leave(w) ? s : seen{};
}

// Two ranks do something that both are told: what rank 0 saw, where rank 1 saw the same.
inline seen of_two(const std::function<ncclResult_t(rank_of_world&, void* memory)>& misused) {
  seen both[2];
  std::string errors[2];
  bodies::on_threads(
      2, true,
      [&](rank_of_world& w) {
        const auto me = static_cast<std::size_t>(w.rank);
        const bodies::buffer data(ncclFloat32, 64, 0, [](std::size_t) { return 1.0; });
        ncclResult_t async = misused(w, data.at());
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (async == ncclSuccess && std::chrono::steady_clock::now() < deadline) {
          if (ncclCommGetAsyncError(w.comm, &async) != ncclSuccess) break;
        }
        both[me] = {async, ncclGetLastError(w.comm)};
        // A broken communicator hangs its stream until it is aborted.
        ncclCommAbort(w.comm);
        cudaStreamSynchronize(w.stream);
        cudaStreamDestroy(w.stream);
        return 0;
      },
      true);
  return both[0].result == both[1].result && both[0].report == both[1].report ? both[0] : seen{};
}

inline seen bring_about(misuse what) {
  switch (what) {
    case misuse::null_communicator:
      return saw(ncclAllReduce(nullptr, nullptr, 0, ncclFloat32, ncclSum, nullptr, nullptr));
    case misuse::corrupt_communicator: {
      int count = 0;
      return saw(ncclCommCount(reinterpret_cast<ncclComm_t>(&count), &count));
    }
    case misuse::used_after_destroy: {
      alone a;
      const auto comm = std::exchange(a.comm, nullptr);
      if (ncclCommDestroy(comm) != ncclSuccess) return {};
      return saw(ncclAllReduce(a.at(), a.at(), 4, ncclFloat32, ncclSum, comm, a.stream));
    }
    case misuse::used_after_abort: {
      alone a;
      const auto comm = std::exchange(a.comm, nullptr);
      if (ncclCommAbort(comm) != ncclSuccess) return {};
      return saw(ncclAllReduce(a.at(), a.at(), 4, ncclFloat32, ncclSum, comm, a.stream));
    }
    case misuse::used_after_finalize: {
      alone a;
      if (ncclCommFinalize(a.comm) != ncclSuccess) return {};
      return saw(a.reduce(a.at(), a.at()));
    }
    case misuse::finalized_twice: {
      alone a;
      if (ncclCommFinalize(a.comm) != ncclSuccess) return {};
      return saw(ncclCommFinalize(a.comm));
    }
    case misuse::used_in_progress: {
      // The second rank never comes.
      ncclUniqueId id;
      ncclComm_t comm = nullptr;
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      if (ncclGetUniqueId(&id) != ncclSuccess) return {};
      if (ncclCommInitRankConfig(&comm, 2, id, 0, &config) != ncclInProgress) return {};
      int count = 0;
      const seen s = saw(ncclCommCount(comm, &count));
      return ncclCommAbort(comm) == ncclSuccess ? s : seen{};
    }
    case misuse::null_result_pointer: return saw(ncclGetVersion(nullptr));
    case misuse::null_buffer: {
      alone a;
      return saw(a.reduce(nullptr, a.at()));
    }
    case misuse::host_pointer: {
      alone a;
      float host[4] = {};
      return saw(a.reduce(a.at(), host));
    }
    case misuse::pointer_of_other_device: {
      alone a;
      void* other = nullptr;
      if (cudaSetDevice(1) != cudaSuccess || cudaMalloc(&other, 64) != cudaSuccess) return {};
      const seen s = saw(a.reduce(other, a.at()));
      return cudaFree(other) == cudaSuccess ? s : seen{};
    }
    case misuse::past_the_allocation: {
      alone a;
      return saw(a.reduce(a.at(61), a.at()));
    }
    case misuse::bad_root: {
      alone a;
      return saw(ncclBroadcast(a.at(), a.at(), 4, ncclFloat32, 1, a.comm, a.stream));
    }
    case misuse::bad_peer: {
      alone a;
      return saw(ncclSend(a.at(), 4, ncclFloat32, -1, a.comm, a.stream));
    }
    case misuse::bad_type: {
      alone a;
      return saw(a.reduce(a.at(), a.at(), static_cast<ncclDataType_t>(ncclNumTypes)));
    }
    case misuse::bad_op: {
      alone a;
      return saw(a.reduce(a.at(), a.at(), ncclFloat32, ncclNumOps));
    }
    case misuse::float8_sum: {
      alone a;
      return saw(a.reduce(a.at(), a.at(), ncclFloat8e4m3));
    }
    case misuse::group_end_without_start: return saw(ncclGroupEnd());
    case misuse::bad_rank: return of_init(2, 2, nullptr);
    case misuse::bad_id: {
      // Used up by the communicator that it made.
      ncclUniqueId id;
      rank_of_world w;
      ncclComm_t again = nullptr;
      if (ncclGetUniqueId(&id) != ncclSuccess || !bodies::join(w, id, true)) return {};
      const seen s = saw(ncclCommInitRank(&again, 1, id, 0));
      return bodies::leave(w) && again == nullptr ? s : seen{};
    }
    case misuse::bad_config: {
      ncclConfig_t config = {};
      return of_init(1, 0, &config);
    }
    case misuse::duplicate_gpu: {
      ncclUniqueId id;
      if (ncclGetUniqueId(&id) != ncclSuccess) return {};
      seen both[2];
      std::thread ranks[2];
      for (std::size_t r = 0; r < 2; ++r) {
        ranks[r] = std::thread([&, r] {
          ncclComm_t comm = nullptr;
          both[r].result = ncclCommInitRank(&comm, 2, id, static_cast<int>(r));
          both[r].report = fake_gpu::last_report();
        });
      }
      for (auto& t : ranks) t.join();
      return both[0].result == both[1].result ? both[0] : seen{};
    }
    case misuse::stream_of_other_device: {
      alone a;
      cudaStream_t other = nullptr;
      if (cudaSetDevice(1) != cudaSuccess || cudaStreamCreate(&other) != cudaSuccess) return {};
      const seen s = saw(ncclAllReduce(a.at(), a.at(), 4, ncclFloat32, ncclSum, a.comm, other));
      return cudaStreamDestroy(other) == cudaSuccess ? s : seen{};
    }
    case misuse::dead_stream: {
      alone a;
      cudaStream_t other = nullptr;
      if (cudaStreamCreate(&other) != cudaSuccess || cudaStreamDestroy(other) != cudaSuccess) return {};
      return saw(ncclAllReduce(a.at(), a.at(), 4, ncclFloat32, ncclSum, a.comm, other));
    }
    case misuse::ranks_disagree:
      return of_two([](rank_of_world& w, void* at) {
        return ncclAllReduce(at, at, w.rank == 0 ? 4 : 5, ncclFloat32, ncclSum, w.comm, w.stream);
      });
    case misuse::sizes_of_world_disagree: {
      ncclUniqueId id;
      ncclComm_t first = nullptr, second = nullptr;
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      if (ncclGetUniqueId(&id) != ncclSuccess) return {};
      if (ncclCommInitRankConfig(&first, 2, id, 0, &config) != ncclInProgress) return {};
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (fake_gpu::live().segments == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
      const seen s = saw(ncclCommInitRank(&second, 3, id, 1));
      return ncclCommAbort(first) == ncclSuccess ? s : seen{};
    }
    case misuse::rank_taken: {
      // Either may be the one who comes second.
      ncclUniqueId id;
      ncclComm_t comms[2] = {};
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      if (ncclGetUniqueId(&id) != ncclSuccess) return {};
      for (auto& comm : comms) {
        if (ncclCommInitRankConfig(&comm, 2, id, 0, &config) != ncclInProgress) return {};
      }
      seen s;
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (s.result == ncclSuccess && std::chrono::steady_clock::now() < deadline) {
        for (const auto comm : comms) {
          ncclResult_t async = ncclSuccess;
          if (ncclCommGetAsyncError(comm, &async) != ncclSuccess) return {};
          if (async != ncclInProgress && s.result == ncclSuccess) s = saw(async);
        }
      }
      for (const auto comm : comms) {
        if (ncclCommAbort(comm) != ncclSuccess) return {};
      }
      return s;
    }
    case misuse::overlap:
      return of_two([](rank_of_world& w, void* at) {
        return ncclAllReduce(at, static_cast<float*>(at) + w.rank, 4, ncclFloat32, ncclSum, w.comm, w.stream);
      });
    case misuse::peers_disagree:
      return of_two([](rank_of_world& w, void* at) {
        return w.rank == 0 ? ncclSend(at, 4, ncclFloat32, 1, w.comm, w.stream)
                           : ncclRecv(at, 8, ncclFloat32, 0, w.comm, w.stream);
      });
    case misuse::dangling_name: {
      // The memory of the name is used for something else.
      char name[] = "tensor parallel";
      ncclUniqueId id;
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.commName = name;
      ncclComm_t comm = nullptr;
      if (ncclGetUniqueId(&id) != ncclSuccess) return {};
      if (ncclCommInitRankConfig(&comm, 1, id, 0, &config) != ncclSuccess) return {};
      name[0] = 'X';
      const seen s = saw(ncclCommDestroy(comm));
      return ncclCommAbort(comm) == ncclSuccess ? s : seen{};
    }
    case misuse::end_while_captured: {
      alone a;
      cudaGraph_t graph = nullptr;
      if (cudaStreamBeginCapture(a.stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return {};
      if (a.reduce(a.at(), a.at()) != ncclSuccess) return {};
      if (cudaStreamEndCapture(a.stream, &graph) != cudaSuccess) return {};
      fake_gpu::reset_counts();
      const auto comm = std::exchange(a.comm, nullptr);
      ncclResult_t destroyed = ncclInternalError;
      std::thread other([&] { destroyed = ncclCommDestroy(comm); });
      while (fake_gpu::counted().findings == 0) std::this_thread::yield();
      seen s = saw(fake::entry_of(what).result);  // it waits, so there is no result yet
      const bool freed = cudaGraphDestroy(graph) == cudaSuccess;
      other.join();
      return freed && destroyed == ncclSuccess ? s : seen{};
    }
    case misuse::aborted_in_finalize: {
      alone a;
      cudaGraph_t graph = nullptr;
      if (cudaStreamBeginCapture(a.stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return {};
      if (a.reduce(a.at(), a.at()) != ncclSuccess) return {};
      if (cudaStreamEndCapture(a.stream, &graph) != cudaSuccess) return {};
      fake_gpu::reset_counts();
      ncclResult_t finalized = ncclInternalError;
      std::thread other([&] { finalized = ncclCommFinalize(a.comm); });
      while (fake_gpu::counted().findings == 0) std::this_thread::yield();
      const seen s = saw(ncclCommAbort(a.comm));
      const bool freed = cudaGraphDestroy(graph) == cudaSuccess;
      other.join();
      return freed && finalized == ncclSuccess ? s : seen{};
    }
    case misuse::total: break;
  }
  return {};
}

}  // namespace misuses
