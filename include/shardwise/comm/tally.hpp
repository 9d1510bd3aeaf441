// SPDX-License-Identifier: Apache-2.0
// What a communicator did: calls and bytes per operation.
#pragma once
#include <cstddef>
#include <span>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/forwarding.hpp"
#include "shardwise/comm/operation.hpp"

namespace shardwise {
inline namespace v0 {

/// Calls that succeeded, and their bytes: those of the whole result on one rank. all_reduce, broadcast and
/// reduce_scatter: count elements; all_gather: size * count; gather_last_dim: rows * sum(columns); all_to_all:
/// sum(recv_counts); barrier and split: none. Of one rank; not for several threads.
class tally {
 public:
  struct entry {
    std::size_t calls = 0, bytes = 0;
    friend bool operator==(const entry&, const entry&) = default;
  };

  const entry& operator[](operation op) const { return entries_[static_cast<std::size_t>(op)]; }
  entry total() const {
    entry sum;
    for (const entry& e : entries_) {
      sum.calls += e.calls;
      sum.bytes += e.bytes;
    }
    return sum;
  }
  void add(operation op, std::size_t bytes) {
    entry& e = entries_[static_cast<std::size_t>(op)];
    ++e.calls;
    e.bytes += bytes;
  }
  void reset() { *this = tally(); }

 private:
  entry entries_[operation_count];
};

/// `counted(comm, t)` is `comm`, and adds to `t` what it does. The caller keeps both alive. A split of it adds to `t`
/// too.
template <class Base>
class counted : public forwarding_communicator<Base> {
  using forward = forwarding_communicator<Base>;

 public:
  using base_type = typename forward::base_type;
  using stream_type = typename forward::stream_type;

  counted(Base comm, tally& t) : forward(static_cast<Base&&>(comm)), tally_(&t) {}

  void barrier(stream_type stream) {
    forward::barrier(stream);
    tally_->add(operation::barrier, 0);
  }

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                  stream_type stream) requires can_all_reduce<base_type> {
    forward::all_reduce(send, recv, count, type, op, stream);
    tally_->add(operation::all_reduce, count * size_of(type));
  }

  void all_gather(const void* send, void* recv, std::size_t count, dtype type,
                  stream_type stream) requires can_all_gather<base_type> {
    forward::all_gather(send, recv, count, type, stream);
    tally_->add(operation::all_gather, static_cast<std::size_t>(this->size()) * count * size_of(type));
  }

  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type,
                       stream_type stream) requires can_gather_last_dim<base_type> {
    forward::gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, stream);
    tally_->add(operation::gather_last_dim, rows * sum_of(columns) * size_of(type));
  }

  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                      stream_type stream) requires can_reduce_scatter<base_type> {
    forward::reduce_scatter(send, recv, count, type, op, stream);
    tally_->add(operation::reduce_scatter, count * size_of(type));
  }

  void broadcast(void* data, std::size_t count, dtype type, int root,
                 stream_type stream) requires can_broadcast<base_type> {
    forward::broadcast(data, count, type, root, stream);
    tally_->add(operation::broadcast, count * size_of(type));
  }

  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type,
                  stream_type stream) requires can_all_to_all<base_type> {
    forward::all_to_all(send, send_counts, recv, recv_counts, type, stream);
    tally_->add(operation::all_to_all, sum_of(recv_counts) * size_of(type));
  }

  auto split(int color, int key) requires can_split<base_type> {
    auto part = forward::split(color, key);
    tally_->add(operation::split, 0);
    return counted<decltype(part)>(std::move(part), *tally_);
  }

 private:
  static std::size_t sum_of(std::span<const std::size_t> counts) {
    std::size_t sum = 0;
    for (const std::size_t n : counts) sum += n;
    return sum;
  }
  tally* tally_;
};
template <communicator C>
counted(C& comm, tally& t) -> counted<C&>;

}  // namespace v0
}  // namespace shardwise
