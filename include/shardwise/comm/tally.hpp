// SPDX-License-Identifier: Apache-2.0
// What a communicator was asked to do, counted.
#pragma once
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>

#include "shardwise/comm/communicator.hpp"

namespace shardwise {
inline namespace v0 {

/// Calls and bytes by operation. Bytes are those of the whole result on one rank: of an all-reduce its elements, of a
/// gather all ranks' pieces, of a reduce-scatter or all-to-all what is received. One rank's; used by its thread only.
struct tally {
  struct row {
    std::string_view operation;
    std::uint64_t calls = 0, bytes = 0;
  };
  row rows[7] = {{"all_reduce"}, {"all_gather"}, {"gather_last_dim"}, {"reduce_scatter"},
                 {"broadcast"},  {"all_to_all"}, {"barrier"}};

  void add(std::string_view operation, std::size_t bytes) {
    for (row& r : rows) {
      if (r.operation != operation) continue;
      ++r.calls;
      r.bytes += bytes;
    }
  }
  std::uint64_t calls() const {
    std::uint64_t n = 0;
    for (const row& r : rows) n += r.calls;
    return n;
  }
  std::uint64_t bytes() const {
    std::uint64_t n = 0;
    for (const row& r : rows) n += r.bytes;
    return n;
  }
};

/// A communicator that is `Comm` and tells a tally of each call before it is made. Refers to both: they outlive it.
/// What `split` returns is not counted.
template <full_communicator Comm>
class counted {
 public:
  using stream_type = typename Comm::stream_type;
  counted(Comm& comm, tally& counts) : comm_(comm), counts_(counts) {}

  int rank() const { return comm_.rank(); }
  int size() const { return comm_.size(); }
  void barrier(stream_type stream) {
    counts_.add("barrier", 0);
    comm_.barrier(stream);
  }
  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, stream_type stream) {
    counts_.add("all_reduce", count * size_of(type));
    comm_.all_reduce(send, recv, count, type, op, stream);
  }
  void all_gather(const void* send, void* recv, std::size_t count, dtype type, stream_type stream) {
    counts_.add("all_gather", count * static_cast<std::size_t>(size()) * size_of(type));
    comm_.all_gather(send, recv, count, type, stream);
  }
  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type, stream_type stream) {
    counts_.add("gather_last_dim", rows * sum_of(columns) * size_of(type));
    comm_.gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, stream);
  }
  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op, stream_type stream) {
    counts_.add("reduce_scatter", count * size_of(type));
    comm_.reduce_scatter(send, recv, count, type, op, stream);
  }
  void broadcast(void* data, std::size_t count, dtype type, int root, stream_type stream) {
    counts_.add("broadcast", count * size_of(type));
    comm_.broadcast(data, count, type, root, stream);
  }
  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, stream_type stream) {
    counts_.add("all_to_all", sum_of(recv_counts) * size_of(type));
    comm_.all_to_all(send, send_counts, recv, recv_counts, type, stream);
  }
  auto split(int color, int key) { return comm_.split(color, key); }

 private:
  static std::size_t sum_of(std::span<const std::size_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  }
  Comm& comm_;
  tally& counts_;
};

}  // namespace v0
}  // namespace shardwise
