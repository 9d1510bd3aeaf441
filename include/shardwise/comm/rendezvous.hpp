// SPDX-License-Identifier: Apache-2.0
// How ranks find each other before there is a communicator: bytes from one to all, and a barrier. That is all that a
// GPU library's bootstrap asks for.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {

/// `broadcast(bytes, root)`: `bytes`, of one size on all ranks, become rank `root`'s. `barrier()`: returns when every
/// rank has called it. Every rank makes the same calls in the same order; each throws `comm_error` where ranks do not
/// agree, where one is gone, and at the latest when the deadline of the rendezvous has passed.
template <class R>
concept rendezvous = requires(R& r, const R& seen, std::span<std::byte> bytes, int root) {
  { seen.rank() } -> std::same_as<int>;
  { seen.size() } -> std::same_as<int>;
  r.broadcast(bytes, root);
  r.barrier();
};

/// A rendezvous over ranks that have a communicator on the host already: the ranks of `in_process`, MPI. The deadline
/// and the errors are the communicator's. Refers to the communicator; for the thread that owns the rank.
template <can_broadcast C>
requires std::same_as<typename C::stream_type, host_stream>
class communicator_rendezvous {
 public:
  explicit communicator_rendezvous(C& comm) : comm_(&comm) {}

  int rank() const { return comm_->rank(); }
  int size() const { return comm_->size(); }
  void broadcast(std::span<std::byte> bytes, int root) {
    comm_->broadcast(bytes.data(), bytes.size(), dtype::u8, root, host_stream{});
  }
  void barrier() { comm_->barrier(host_stream{}); }

 private:
  C* comm_;
};

/// Stands for a barrier that is made of broadcasts.
struct barrier_of_broadcasts {};

/// A rendezvous over what the user has: PMIx, a store of c10d, an MPI that is not ours. `broadcast(bytes, root)` does
/// what the concept says; so does `barrier()`, and where there is none it is made of one broadcast from each rank.
/// Deadlines are the callback's duty, and what it throws is passed on. For one thread.
template <class Broadcast, class Barrier = barrier_of_broadcasts>
class callback_rendezvous {
 public:
  callback_rendezvous(int rank, int size, Broadcast broadcast, Barrier barrier = {})
      : broadcast_(std::move(broadcast)), barrier_(std::move(barrier)), rank_(rank), size_(size) {
    if (size < 1 || rank < 0 || rank >= size) {
      detail::raise(comm_error("callback_rendezvous: rank ", rank, " of ", size, ": ranks go from 0 to size - 1"));
    }
  }

  int rank() const { return rank_; }
  int size() const { return size_; }
  void broadcast(std::span<std::byte> bytes, int root) {
    if (root < 0 || root >= size_) {
      detail::raise(comm_error("callback_rendezvous: broadcast from rank ", root, " of ", size_, " ranks"));
    }
    broadcast_(bytes, root);
  }
  void barrier() {
    if constexpr (std::same_as<Barrier, barrier_of_broadcasts>) {
      // Rank r sends in its turn only, so who has heard all of them knows that all have come.
      for (int root = 0; root < size_; ++root) {
        std::byte turn{};
        broadcast_(std::span(&turn, 1), root);
      }
    } else {
      barrier_();
    }
  }

 private:
  Broadcast broadcast_;
  Barrier barrier_;
  int rank_, size_;
};

}  // namespace v0
}  // namespace shardwise
