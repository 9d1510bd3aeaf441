// SPDX-License-Identifier: Apache-2.0
// One rank of an in-process communicator: the collectives.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/detail/call_check.hpp"
#include "shardwise/comm/detail/counts.hpp"
#include "shardwise/comm/detail/in_process_call.hpp"
#include "shardwise/comm/detail/in_process_group.hpp"
#include "shardwise/comm/detail/reduce.hpp"

namespace shardwise {
inline namespace v0 {

/// A rank that `in_process` made, or a split of one; used by the thread of that rank only. A `full_communicator`: what
/// each function means, and what may alias, is said in communicator.hpp. Buffers need not be aligned.
///
/// Reductions are of f32, f64, f16, bf16, i32, i64 and u8, in rank order: the same bits on every rank and in every run.
/// 16-bit floats are summed in float and rounded once; integers wrap around; the maximum with a NaN is a NaN. Anything
/// else moves any dtype.
///
/// Every call throws `comm_error` where the ranks' calls do not match, where an argument is wrong, or where a rank has
/// failed, left, or does not come within the deadline. After that every call on every communicator of these ranks
/// throws the first reason.
class in_process_communicator {
 public:
  using stream_type = host_stream;

  in_process_communicator(std::shared_ptr<detail::in_process_group> group, int rank)
      : group_(std::move(group)), rank_(rank) {}
  in_process_communicator(in_process_communicator&&) = default;
  in_process_communicator& operator=(in_process_communicator&&) = default;

  int rank() const { return rank_; }
  int size() const { return group_->size(); }

  void barrier(host_stream = {}) { group_->meet(rank_, {.op = operation::barrier}); }

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, host_stream = {}) {
    const call c{.op = operation::all_reduce, .send = send, .recv = recv, .count = count, .type = type, .how = op};
    require(c);
    group_->meet(rank_, c);
    const std::size_t bytes = size_of(type);
    if (count * bytes <= small_bytes) {
      // Everyone reduces the whole: that is less work than one more meeting.
      std::byte whole[small_bytes];
      reduce_piece(c, 0, count, whole);
      group_->part();
      copy(c.received(), whole, count * bytes);
      return;
    }
    // Everyone reduces a piece, right into its own result: even if that is what it sent, no other rank reads this piece
    // of it. Then everyone takes the other pieces.
    const auto begin = [&](int r) {
      const auto ranks = static_cast<std::size_t>(size()), index = static_cast<std::size_t>(r);
      return count / ranks * index + std::min(index, count % ranks);
    };
    reduce_piece(c, begin(rank_), begin(rank_ + 1) - begin(rank_), c.received() + begin(rank_) * bytes);
    group_->part();
    for (int r = 0; r < size(); ++r) {
      const std::size_t at = begin(r) * bytes;
      if (r != rank_) copy(c.received() + at, group_->call_of(r).received() + at, begin(r + 1) * bytes - at);
    }
    group_->part();
  }

  void all_gather(const void* send, void* recv, std::size_t count, dtype type, host_stream = {}) {
    const call c{.op = operation::all_gather, .send = send, .recv = recv, .count = count, .type = type};
    require(c);
    group_->meet(rank_, c);
    const std::size_t bytes = count * size_of(type);
    for (int r = 0; r < size(); ++r) {
      copy(c.received() + static_cast<std::size_t>(r) * bytes, group_->call_of(r).sent(), bytes);
    }
    group_->part();
  }

  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type, host_stream = {}) {
    const call c{.op = operation::gather_last_dim,
                 .send = send,
                 .recv = recv,
                 .count = rows,
                 .type = type,
                 .send_stride = send_stride,
                 .recv_stride = recv_stride,
                 .send_counts = columns};
    require(c);
    group_->meet(rank_, c);
    const std::size_t bytes = size_of(type);
    std::byte* to = c.received();
    for (int r = 0; r < size(); ++r) {
      const call& from = group_->call_of(r);
      const std::size_t width = columns[static_cast<std::size_t>(r)] * bytes;
      for (std::size_t row = 0; row < rows && width != 0; ++row) {
        copy(to + row * recv_stride * bytes, from.sent() + row * from.send_stride * bytes, width);
      }
      to += width;
    }
    group_->part();
  }

  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op, host_stream = {}) {
    const call c{.op = operation::reduce_scatter, .send = send, .recv = recv, .count = count, .type = type, .how = op};
    require(c);
    group_->meet(rank_, c);
    // Into what it sent, perhaps: no other rank reads this piece of it.
    reduce_piece(c, static_cast<std::size_t>(rank_) * count, count, c.received());
    group_->part();
  }

  void broadcast(void* data, std::size_t count, dtype type, int root, host_stream = {}) {
    const call c{.op = operation::broadcast, .send = data, .recv = data, .count = count, .type = type, .root = root};
    require(c);
    group_->meet(rank_, c);
    if (rank_ != root) copy(c.received(), group_->call_of(root).sent(), count * size_of(type));
    group_->part();
  }

  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, host_stream = {}) {
    const call c{.op = operation::all_to_all,
                 .send = send,
                 .recv = recv,
                 .type = type,
                 .send_counts = send_counts,
                 .recv_counts = recv_counts};
    require(c);
    group_->meet(rank_, c);
    const std::size_t bytes = size_of(type);
    std::byte* to = c.received();
    for (int r = 0; r < size(); ++r) {
      const call& from = group_->call_of(r);
      const std::size_t n = recv_counts[static_cast<std::size_t>(r)] * bytes;
      const std::size_t at = detail::sum_of_counts(from.send_counts.first(static_cast<std::size_t>(rank_))) * bytes;
      if (n == 0) continue;
      copy(to, from.sent() + at, n);
      to += n;
    }
    group_->part();
  }

  in_process_communicator split(int color, int key) {
    group_->meet(rank_, {.op = operation::split, .color = color, .key = key});
    auto [group, rank] = group_->take_child(rank_);
    return {std::move(group), rank};
  }

 private:
  using call = detail::in_process_call;
  static constexpr std::size_t small_bytes = 16384;

  // Where a rank gathers in place, its own piece lies where it goes.
  static void copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    if (bytes != 0 && to != from) std::memcpy(to, from, bytes);
  }
  // Elements [begin, begin + count) of what the ranks sent.
  void reduce_piece(const call& c, std::size_t begin, std::size_t count, std::byte* to) const noexcept {
    if (count == 0) return;
    const std::size_t at = begin * size_of(c.type);
    detail::reduce(
        size(), [&](int r) { return group_->call_of(r).sent() + at; }, count, c.type, c.how, to);
  }

  void require(const call& c) {
    const std::string_view fault = detail::fault_of(c, rank_, size());
    if (!fault.empty()) group_->refuse(rank_, c, fault);
  }

  std::shared_ptr<detail::in_process_group> group_;
  int rank_;
};

static_assert(full_communicator<in_process_communicator>);

}  // namespace v0
}  // namespace shardwise
