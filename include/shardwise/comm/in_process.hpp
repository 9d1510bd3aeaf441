// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process: for tests, for CPU engines, and to know without a GPU.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/detail/meeting.hpp"
#include "shardwise/comm/detail/reduce.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
struct in_process_access;
}

struct in_process_options {
  /// How long a rank waits for the others in one collective.
  std::chrono::nanoseconds deadline = std::chrono::seconds(30);
};

/// One rank of an in-process group. Made by `in_process` and by `split`; used by the thread of its rank only; models
/// `full_communicator`. Sums are in rank order: the same bits on every rank and on every run.
///
/// Every wait has a deadline. Where the ranks disagree on what they call, where one has thrown or returned, or does not
/// come in time, every rank that waits or calls later gets a `comm_error` that says which rank, which operation, and
/// why.
class in_process_communicator {
 public:
  using stream_type = host_stream;

  int rank() const { return rank_; }
  int size() const { return group_->size(); }

  void barrier(host_stream) {
    attend({.operation = "barrier"}, [](detail::attendance&) {});
  }

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, host_stream) {
    check_reducible(type);
    // Each rank reduces its share into a place of its own; only then may anyone write, since recv may be send.
    const auto share_of = [&](int r) {
      const std::size_t n = static_cast<std::size_t>(size()), i = static_cast<std::size_t>(r);
      return std::pair(count * i / n, count * (i + 1) / n);
    };
    const auto [begin, end] = share_of(rank_);
    std::vector<std::byte> share((end - begin) * size_of(type));
    detail::call c{.operation = "all_reduce",
                   .count = count,
                   .type = type,
                   .op = op,
                   .send = bytes(send),
                   .scratch = share.data()};
    detail::attendance here(*group_, rank_, c);
    detail::reduce(sends(), begin, end - begin, type, op, share.data());
    here.meet();
    for (int r = 0; r < size(); ++r) {
      const auto [from, to] = share_of(r);
      copy(bytes(recv) + from * size_of(type), group_->of(r).scratch, (to - from) * size_of(type));
    }
    here.leave();
  }

  void all_gather(const void* send, void* recv, std::size_t count, dtype type, host_stream) {
    attend({.operation = "all_gather", .count = count, .type = type, .send = bytes(send)}, [&](detail::attendance&) {
      const std::size_t n = count * size_of(type);
      for (int r = 0; r < size(); ++r) copy(bytes(recv) + static_cast<std::size_t>(r) * n, group_->of(r).send, n);
    });
  }

  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type, host_stream) {
    if (columns.size() != static_cast<std::size_t>(size())) {
      detail::raise(
          comm_error("gather_last_dim was given the columns of ", columns.size(), " ranks; the group has ", size()));
    }
    attend({.operation = "gather_last_dim",
            .type = type,
            .rows = rows,
            .columns = columns,
            .send = bytes(send),
            .send_stride = send_stride},
           [&](detail::attendance&) {
             const std::size_t element = size_of(type);
             std::size_t at = 0;
             for (int r = 0; r < size(); ++r) {
               const detail::call& from = group_->of(r);
               const std::size_t width = columns[static_cast<std::size_t>(r)];
               for (std::size_t row = 0; row < rows; ++row) {
                 copy(bytes(recv) + (row * recv_stride + at) * element, from.send + row * from.send_stride * element,
                      width * element);
               }
               at += width;
             }
           });
  }

  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op, host_stream) {
    check_reducible(type);
    attend({.operation = "reduce_scatter", .count = count, .type = type, .op = op, .send = bytes(send)},
           [&](detail::attendance&) {
             // In place, a rank writes only the piece of its own buffer that no other rank reads.
             detail::reduce(sends(), static_cast<std::size_t>(rank_) * count, count, type, op, bytes(recv));
           });
  }

  void broadcast(void* data, std::size_t count, dtype type, int root, host_stream) {
    if (root < 0 || root >= size()) detail::raise(comm_error("broadcast from rank ", root, " of ", size()));
    attend({.operation = "broadcast", .count = count, .type = type, .root = root, .send = bytes(data)},
           [&](detail::attendance&) {
             if (rank_ != root) copy(bytes(data), group_->of(root).send, count * size_of(type));
           });
  }

  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, host_stream) {
    const auto n = static_cast<std::size_t>(size());
    if (send_counts.size() != n || recv_counts.size() != n) {
      detail::raise(comm_error("all_to_all was given the counts of ", send_counts.size(), " and ", recv_counts.size(),
                               " ranks; the group has ", n));
    }
    attend({.operation = "all_to_all",
            .type = type,
            .send_counts = send_counts,
            .recv_counts = recv_counts,
            .send = bytes(send)},
           [&](detail::attendance&) {
             std::size_t at = 0;
             for (int r = 0; r < size(); ++r) {
               const detail::call& from = group_->of(r);
               const std::size_t mine =
                   std::accumulate(from.send_counts.begin(), from.send_counts.begin() + rank_, std::size_t{0});
               const std::size_t count = recv_counts[static_cast<std::size_t>(r)];
               copy(bytes(recv) + at * size_of(type), from.send + mine * size_of(type), count * size_of(type));
               at += count;
             }
           });
  }

  in_process_communicator split(int color, int key) {
    std::shared_ptr<detail::meeting> mine;
    int rank = 0;
    attend({.operation = "split", .color = color, .key = key}, [&](detail::attendance& here) {
      std::vector<int> ranks;
      for (int r = 0; r < size(); ++r) {
        if (group_->of(r).color == color) ranks.push_back(r);
      }
      std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) { return group_->of(a).key < group_->of(b).key; });
      rank = static_cast<int>(std::find(ranks.begin(), ranks.end(), rank_) - ranks.begin());
      if (rank == 0) {
        std::vector<int> members;
        for (int r : ranks) members.push_back(group_->members()[static_cast<std::size_t>(r)]);
        group_->child(rank_) = std::make_shared<detail::meeting>(group_->shared_world(), std::move(members));
      }
      here.meet();
      mine = group_->child(ranks[0]);
    });
    group_->child(rank_).reset();
    return {std::move(mine), rank};
  }

 private:
  friend struct detail::in_process_access;
  in_process_communicator(std::shared_ptr<detail::meeting> group, int rank) : group_(std::move(group)), rank_(rank) {}

  static const std::byte* bytes(const void* p) { return static_cast<const std::byte*>(p); }
  static std::byte* bytes(void* p) { return static_cast<std::byte*>(p); }
  static void copy(std::byte* to, const std::byte* from, std::size_t n) {
    if (n != 0 && to != from) std::memcpy(to, from, n);
  }
  static void check_reducible(dtype type) {
    if (!detail::can_reduce(type)) {
      detail::raise(comm_error("elements of type ", name_of(type),
                               " cannot be reduced; F64, F32, F16, BF16, I64, I32 and U8 can"));
    }
  }
  std::vector<const std::byte*> sends() const {
    std::vector<const std::byte*> all;
    for (int r = 0; r < size(); ++r) all.push_back(group_->of(r).send);
    return all;
  }
  // A collective of one phase: between the first and the last meeting every rank may read every other's buffers.
  template <class Work>
  void attend(const detail::call& c, Work&& work) {
    detail::attendance here(*group_, rank_, c);
    work(here);
    here.leave();
  }

  std::shared_ptr<detail::meeting> group_;
  int rank_;
};

namespace detail {
struct in_process_access {
  static in_process_communicator make(std::shared_ptr<meeting> group, int rank) { return {std::move(group), rank}; }
};
}  // namespace detail

/// Runs `fn(in_process_communicator&)` on `ranks` threads and waits for all of them. Returns what `fn` returned, by
/// rank (nothing, if that is nothing).
///
/// If a rank throws, the others are ended at their next or present collective, and the exception of the first one is
/// rethrown here, as it was. A rank that returns while others still wait for it ends them likewise.
template <class F>
auto in_process(int ranks, F&& fn, in_process_options options = {}) {
  using result = std::invoke_result_t<F&, in_process_communicator&>;
  using kept = std::conditional_t<std::is_void_v<result>, char, result>;
  if (ranks < 1 || ranks > 1024)
    detail::raise(comm_error("in_process was asked for ", ranks, " ranks; 1 to 1024 can be had"));

  const auto shared = std::make_shared<detail::world>(ranks, options.deadline);
  std::vector<int> members(static_cast<std::size_t>(ranks));
  std::iota(members.begin(), members.end(), 0);
  const auto group = std::make_shared<detail::meeting>(shared, members);
  std::vector<std::unique_ptr<kept>> results(static_cast<std::size_t>(ranks));

  // With the mutex held by neither. `why` is null for a rank that has simply returned.
  const auto end = [&](int rank, const char* why, std::exception_ptr thrown) {
    const std::lock_guard lock(shared->mutex);
    if (why != nullptr) {
      if (shared->root == nullptr) shared->root = std::move(thrown);
      shared->fail("rank " + std::to_string(rank) + " ended before the others: \"" + why + "\"");
    }
    shared->ranks_of_world[static_cast<std::size_t>(rank)].ended = true;
    shared->changed.notify_all();
  };
  const auto call_fn = [&](int rank) {
    in_process_communicator comm = detail::in_process_access::make(group, rank);
    if constexpr (std::is_void_v<result>) {
      fn(comm);
    } else {
      results[static_cast<std::size_t>(rank)] = std::make_unique<kept>(fn(comm));
    }
    end(rank, nullptr, nullptr);
  };
  std::vector<std::thread> threads;
#if defined(__cpp_exceptions)
  const auto body = [&](int rank) {
    try {
      call_fn(rank);
    } catch (const std::exception& e) {
      end(rank, e.what(), std::current_exception());
    } catch (...) {
      end(rank, "an exception of unknown type", std::current_exception());
    }
  };
  try {
    for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  } catch (const std::exception& e) {  // no more threads can be had: those that run must not wait for the others
    end(static_cast<int>(threads.size()), e.what(), std::current_exception());
  }
#else
  for (int r = 0; r < ranks; ++r) threads.emplace_back(call_fn, r);
#endif
  for (std::thread& t : threads) t.join();
  if (shared->root != nullptr) std::rethrow_exception(shared->root);
  if constexpr (!std::is_void_v<result>) {
    std::vector<kept> all;
    for (auto& r : results) all.push_back(std::move(*r));
    return all;
  }
}

}  // namespace v0
}  // namespace shardwise
