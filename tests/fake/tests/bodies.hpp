// SPDX-License-Identifier: Apache-2.0
// What tests of the fake do on one rank: a communicator, its stream, and every collective with values that are known
// beforehand. For threads and for processes; nothing here asserts.
#pragma once
#include <cuda_runtime.h>
#include <nccl.h>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sanitized.hpp"
#include "shardwise/model/half.hpp"

namespace bodies {

inline std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclFloat32: return 4;
    default: return 8;
  }
}

template <class T>
void put(std::byte* to, T x) {
  std::memcpy(to, &x, sizeof x);
}
template <class T>
T get(const std::byte* from) {
  T x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
inline void put(ncclDataType_t type, std::byte* to, double x) {
  switch (type) {
    case ncclInt8: return put(to, static_cast<std::int8_t>(x));
    case ncclUint8: return put(to, static_cast<std::uint8_t>(x));
    case ncclInt32: return put(to, static_cast<std::int32_t>(x));
    case ncclInt64: return put(to, static_cast<std::int64_t>(x));
    case ncclFloat16: return put(to, shardwise::detail::to_f16(static_cast<float>(x)));
    case ncclBfloat16: return put(to, shardwise::detail::to_bf16(static_cast<float>(x)));
    case ncclFloat32: return put(to, static_cast<float>(x));
    default: return put(to, x);
  }
}
inline double get(ncclDataType_t type, const std::byte* from) {
  switch (type) {
    case ncclInt8: return get<std::int8_t>(from);
    case ncclUint8: return get<std::uint8_t>(from);
    case ncclInt32: return get<std::int32_t>(from);
    case ncclInt64: return static_cast<double>(get<std::int64_t>(from));
    case ncclFloat16: return static_cast<double>(shardwise::detail::from_f16(get<std::uint16_t>(from)));
    case ncclBfloat16: return static_cast<double>(shardwise::detail::from_bf16(get<std::uint16_t>(from)));
    case ncclFloat32: return static_cast<double>(get<float>(from));
    default: return get<double>(from);
  }
}

/// One rank's communicator and stream.
struct rank_of_world {
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  int rank = 0, size = 1;
};

/// Device memory of `count` elements, `shift` elements behind an aligned address, filled by value(i).
class buffer {
 public:
  buffer(ncclDataType_t type, std::size_t count, std::size_t shift, const std::function<double(std::size_t)>& value)
      : type_(type), count_(count) {
    const std::size_t size = size_of(type);
    if (cudaMalloc(&base_, (count + shift + 1) * size) != cudaSuccess) std::abort();
    at_ = static_cast<std::byte*>(base_) + shift * size;
    std::vector<std::byte> host(count * size + 1);
    for (std::size_t i = 0; i < count; ++i) put(type, host.data() + i * size, value(i));
    if (cudaMemcpy(at_, host.data(), count * size, cudaMemcpyHostToDevice) != cudaSuccess) std::abort();
  }
  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;
  ~buffer() { cudaFree(base_); }

  void* at(std::size_t element = 0) const { return at_ + element * size_of(type_); }
  /// How many elements are not value(i), after the stream has done its work.
  int wrong(cudaStream_t stream, const std::function<double(std::size_t)>& value) const {
    std::vector<std::byte> host(count_ * size_of(type_) + 1);
    if (cudaMemcpyAsync(host.data(), at_, count_ * size_of(type_), cudaMemcpyDeviceToHost, stream) != cudaSuccess ||
        cudaStreamSynchronize(stream) != cudaSuccess) {
      return 1'000'000;
    }
    int bad = 0;
    for (std::size_t i = 0; i < count_; ++i) bad += get(type_, host.data() + i * size_of(type_)) == value(i) ? 0 : 1;
    return bad;
  }

 private:
  ncclDataType_t type_;
  std::size_t count_;
  void* base_ = nullptr;
  std::byte* at_ = nullptr;
};

/// Waits until a non-blocking communicator is ready; its error else.
inline ncclResult_t ready(ncclComm_t comm, ncclResult_t result) {
  while (result == ncclInProgress) {
    std::this_thread::yield();
    if (const auto e = ncclCommGetAsyncError(comm, &result); e != ncclSuccess) return e;
  }
  return result;
}

/// Element i of rank r: small, so that every type holds every sum of 8 ranks exactly.
inline double value(int r, std::size_t i) { return static_cast<double>((i * 3 + static_cast<std::size_t>(r) * 5) % 8); }

inline double reduced(ncclRedOp_t op, int size, std::size_t i) {
  double x = value(0, i);
  for (int r = 1; r < size; ++r) {
    const double y = value(r, i);
    x = op == ncclSum ? x + y : op == ncclMax ? (x > y ? x : y) : op == ncclMin ? (x < y ? x : y) : x * y;
  }
  return x;
}

/// The number of wrong elements and of calls that failed, over every collective of one type and count.
inline int wrong_of(const rank_of_world& w, ncclDataType_t type, std::size_t count, std::size_t shift, bool in_place) {
  const auto n = static_cast<std::size_t>(w.size), me = static_cast<std::size_t>(w.rank);
  const auto mine = [&](std::size_t i) { return value(w.rank, i); };
  const auto none = [](std::size_t) { return 99.0; };
  const auto call = [&](ncclResult_t e) { return ready(w.comm, e) == ncclSuccess ? 0 : 1'000'000; };
  int bad = 0;

  for (const auto op : {ncclSum, ncclMax, ncclMin}) {
    const buffer send(type, count, shift, mine), recv(type, count, shift, none);
    const buffer& to = in_place ? send : recv;
    bad += call(ncclAllReduce(send.at(), to.at(), count, type, op, w.comm, w.stream));
    bad += to.wrong(w.stream, [&](std::size_t i) { return reduced(op, w.size, i); });
  }
  {
    const buffer send(type, count, shift, mine);
    const buffer recv(type, n * count, shift, [&](std::size_t i) {
      return in_place && i / (count + (count == 0)) == me ? value(w.rank, i % count) : 99.0;
    });
    const void* from = in_place ? recv.at(me * count) : send.at();
    bad += call(ncclAllGather(from, recv.at(), count, type, w.comm, w.stream));
    bad += recv.wrong(w.stream, [&](std::size_t i) { return value(static_cast<int>(i / count), i % count); });
  }
  {
    const buffer send(type, n * count, shift, mine), recv(type, count, shift, none);
    void* to = in_place ? send.at(me * count) : recv.at();
    bad += call(ncclReduceScatter(send.at(), to, count, type, ncclSum, w.comm, w.stream));
    if (in_place) {  // the other pieces stay as they were
      bad += send.wrong(
          w.stream, [&](std::size_t i) { return i / count == me ? reduced(ncclSum, w.size, i) : value(w.rank, i); });
    } else {
      bad += recv.wrong(w.stream, [&](std::size_t i) { return reduced(ncclSum, w.size, me * count + i); });
    }
  }
  for (int root = 0; root < w.size; ++root) {
    const buffer send(type, count, shift, mine), recv(type, count, shift, none);
    const buffer& to = in_place ? send : recv;
    bad += call(ncclBroadcast(send.at(), to.at(), count, type, root, w.comm, w.stream));
    bad += to.wrong(w.stream, [&](std::size_t i) { return value(root, i); });
    const buffer again(type, count, shift, mine), sum(type, count, shift, none);
    const buffer& total = in_place ? again : sum;
    bad += call(ncclReduce(again.at(), total.at(), count, type, ncclSum, root, w.comm, w.stream));
    bad += total.wrong(w.stream, [&](std::size_t i) {
      return w.rank == root ? reduced(ncclSum, w.size, i) : in_place ? mine(i) : 99.0;
    });
  }
  {  // everyone to everyone, with oneself: one group
    const buffer send(type, n * count, shift, mine), recv(type, n * count, shift, none);
    bad += ncclGroupStart() == ncclSuccess ? 0 : 1'000'000;
    for (std::size_t p = 0; p < n; ++p) {
      bad += call(ncclSend(send.at(p * count), count, type, static_cast<int>(p), w.comm, w.stream));
      bad += call(ncclRecv(recv.at(p * count), count, type, static_cast<int>(p), w.comm, w.stream));
    }
    bad += call(ncclGroupEnd());
    bad +=
        recv.wrong(w.stream, [&](std::size_t i) { return value(static_cast<int>(i / count), me * count + i % count); });
  }
  return bad;
}

inline constexpr ncclDataType_t all_types[] = {ncclInt8,    ncclUint8,    ncclInt32,   ncclInt64,
                                               ncclFloat16, ncclBfloat16, ncclFloat32, ncclFloat64};

/// Every collective, type and size, in place and not, aligned and not.
inline int wrong_of_all(const rank_of_world& w) {
  int bad = 0;
  for (const auto type : all_types) {
    for (const std::size_t count : {0u, 1u, 7u, 1000u, sanitized ? 3001u : 33'001u}) {
      for (const bool in_place : {false, true}) {
        const int more = wrong_of(w, type, count, in_place ? 0 : 1, in_place);
        if (more != 0) {
          std::fprintf(stderr, "rank %d of %d: type %d count %zu in place %d: %d wrong\n", w.rank, w.size,
                       static_cast<int>(type), count, in_place ? 1 : 0, more);
        }
        bad += more;
      }
    }
  }
  return bad;
}

/// Makes a communicator on the current device; false where that fails.
inline bool join(rank_of_world& w, const ncclUniqueId& id, bool blocking) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = blocking ? 1 : 0;
  const auto e = ncclCommInitRankConfig(&w.comm, w.size, id, w.rank, &config);
  return w.comm != nullptr && ready(w.comm, e) == ncclSuccess && cudaStreamCreate(&w.stream) == cudaSuccess;
}
inline bool leave(rank_of_world& w) {
  return cudaStreamDestroy(w.stream) == cudaSuccess && ready(w.comm, ncclCommFinalize(w.comm)) == ncclSuccess &&
         ncclCommDestroy(w.comm) == ncclSuccess;
}

/// Runs f on `size` ranks that are threads, each with device r; returns what it returned, rank by rank; -1: no
/// communicator, -2: it could not be ended.
inline std::vector<int> on_threads(int size, bool blocking, const std::function<int(rank_of_world&)>& f,
                                   bool ends_itself = false) {
  ncclUniqueId id;
  if (ncclGetUniqueId(&id) != ncclSuccess) return {-1};
  std::vector<int> results(static_cast<std::size_t>(size), 0);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      int& result = results[static_cast<std::size_t>(r)];
      rank_of_world w;
      w.rank = r;
      w.size = size;
      if (cudaSetDevice(r) != cudaSuccess || !join(w, id, blocking)) {
        result = -1;
        return;
      }
      result = f(w);
      if (!ends_itself && !leave(w) && result == 0) result = -2;
    });
  }
  for (auto& t : threads) t.join();
  return results;
}

}  // namespace bodies
