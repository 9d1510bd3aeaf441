// SPDX-License-Identifier: Apache-2.0
// A communicator whose ranks are processes of an MPI job.
#pragma once
#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/mpi/detail/layout.hpp"
#include "shardwise/mpi/detail/pieces.hpp"
#include "shardwise/mpi/detail/state.hpp"

namespace shardwise {
inline namespace v0 {
namespace mpi {

/// A `full_communicator` over an `MPI_Comm`, on host memory; what each function means, and what may alias, is said in
/// communicator.hpp. For one thread, which may call MPI: with MPI_THREAD_SINGLE or _FUNNELED that is the one that
/// initialized it, with _SERIALIZED no other may be inside MPI at the time.
///
/// Reductions are of f32, f64, f16, bf16, i32, i64 and u8. Every rank gets the same bits; the order of a sum is MPI's,
/// which may differ from run to run. 16-bit floats are summed two by two, each sum rounded to 16 bits, so that the
/// error grows with the number of ranks, where in_process rounds once. Integers wrap around; the maximum with a NaN is
/// a NaN. Anything else moves any dtype. Buffers need not be aligned. A reduction that is in place, and a
/// reduce_scatter of several pieces, take up to 64 MiB beside, which are kept.
///
/// A call that is wrong by itself throws `comm_error` before anything is sent. What MPI reports, and a collective that
/// is not done within the deadline, cannot be thrown: MPI may go on writing to the buffers. Then the sentence goes to
/// stderr and to `options::on_failure`, and MPI_Abort ends the job.
class communicator {
 public:
  using stream_type = host_stream;

  /// Refers to the engine's communicator, which lives longer, and is never freed here. Its error handler is
  /// MPI_ERRORS_RETURN while a call is under way, and its own again when the call returns. Local: other ranks need not
  /// call it. Throws `comm_error` where MPI is not initialized, or cannot be called on this thread.
  static communicator adopt(MPI_Comm comm, options o = {}) {
    require_usable(comm);
    o.deadline = shardwise::detail::require_deadline(o.deadline, "mpi::communicator");
    o.largest_message = std::clamp<std::size_t>(o.largest_message, 1, options().largest_message);
    return communicator(std::make_unique<detail::state>(comm, std::move(o)));
  }

  /// What `split` made is freed, which is collective: every rank of it lets it go, in the same order among others.
  communicator(communicator&&) = default;
  communicator& operator=(communicator&&) = default;

  int rank() const { return state_->rank(); }
  int size() const { return state_->size(); }
  MPI_Comm native_handle() const { return state_->comm(); }

  void barrier(host_stream = {}) {
    const call c{.op = operation::barrier};
    const auto guard = begin(c);
    finish(c, "MPI_Ibarrier", [&](MPI_Request* r) { return MPI_Ibarrier(handle(), r); });
  }

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, host_stream = {}) {
    const call c{.op = operation::all_reduce, .send = send, .recv = recv, .count = count, .type = type, .how = op};
    const auto guard = begin(c);
    for (std::size_t at = 0; at < count; at += at_once(c)) {
      const std::size_t n = std::min(at_once(c), count - at), bytes = n * size_of(type);
      const std::byte* from = c.sent() + at * size_of(type);
      // MPI wants all ranks in place or none, and a rank does not know of the others: none.
      if (send == recv) {
        std::memcpy(aside(bytes), from, bytes);
        from = aside(bytes);
      }
      finish(c, "MPI_Iallreduce", [&](MPI_Request* r) {
        return MPI_Iallreduce(from, c.received() + at * size_of(type), static_cast<int>(n),
                              operations::type_of(type, op), state_->ops().of(type, op), handle(), r);
      });
    }
  }

  void all_gather(const void* send, void* recv, std::size_t count, dtype type, host_stream = {}) {
    const call c{.op = operation::all_gather, .send = send, .recv = recv, .count = count, .type = type};
    const auto guard = begin(c);
    if (count == 0) return;
    const std::size_t bytes = count * size_of(type);
    copy(c.received() + mine() * bytes, c.sent(), bytes);
    const layout each = layout::block(count, type, largest() / ranks());
    finish(c, "MPI_Iallgather", [&](MPI_Request* r) {
      return MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, recv, each.count(), each.type(), handle(), r);
    });
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
    const auto guard = begin(c);
    if (rows == 0) return;
    if (rows > INT_MAX) state_->refuse(c, "MPI counts rows in int; gather fewer of them at once");
    // Every rank's rows, in the result.
    std::vector<std::byte*> to(ranks());
    std::byte* next = c.received();
    for (std::size_t r = 0; r < ranks(); ++r) {
      to[r] = next;
      next += columns[r] * size_of(type);
    }
    for (std::size_t row = 0; row < rows && columns[mine()] != 0; ++row) {
      copy(to[mine()] + row * recv_stride * size_of(type), c.sent() + row * send_stride * size_of(type),
           columns[mine()] * size_of(type));
    }
    const auto rows_of = [&](std::size_t width) {
      return layout::rows(rows, width, recv_stride, type, largest() / ranks());
    };
    if (std::all_of(columns.begin(), columns.end(), [&](std::size_t n) { return n == columns[0]; })) {
      if (columns[0] == 0) return;
      const layout each = rows_of(columns[0]);
      finish(c, "MPI_Iallgather", [&](MPI_Request* r) {
        return MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, recv, each.count(), each.type(), handle(), r);
      });
      return;
    }
    // MPI_Iallgatherv has one type for all ranks, and rows of another width are another type.
    std::vector<MPI_Request> requests(ranks(), MPI_REQUEST_NULL);
    for (std::size_t r = 0; r < ranks(); ++r) {
      if (columns[r] == 0) continue;
      const layout its = rows_of(columns[r]);
      state_->require(c, "MPI_Ibcast",
                      MPI_Ibcast(to[r], its.count(), its.type(), static_cast<int>(r), handle(), &requests[r]));
    }
    state_->finish(c, "MPI_Ibcast", MPI_SUCCESS, requests);
  }

  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op, host_stream = {}) {
    const call c{.op = operation::reduce_scatter, .send = send, .recv = recv, .count = count, .type = type, .how = op};
    const auto guard = begin(c);
    const bool in_place = recv == c.sent() + mine() * count * size_of(type);
    const std::size_t at_most = std::max<std::size_t>(at_once(c) / ranks(), 1);
    for (std::size_t at = 0; at < count; at += at_most) {
      const std::size_t n = std::min(at_most, count - at), bytes = n * size_of(type);
      const std::byte* from = c.sent();
      // MPI takes the ranks' pieces without gaps, and its place for the result in place is another than ours.
      if (in_place || n != count) {
        for (std::size_t r = 0; r < ranks(); ++r) {
          std::memcpy(aside(ranks() * bytes) + r * bytes, c.sent() + (r * count + at) * size_of(type), bytes);
        }
        from = aside(ranks() * bytes);
      }
      finish(c, "MPI_Ireduce_scatter_block", [&](MPI_Request* r) {
        return MPI_Ireduce_scatter_block(from, c.received() + at * size_of(type), static_cast<int>(n),
                                         operations::type_of(type, op), state_->ops().of(type, op), handle(), r);
      });
    }
  }

  void broadcast(void* data, std::size_t count, dtype type, int root, host_stream = {}) {
    const call c{.op = operation::broadcast, .send = data, .recv = data, .count = count, .type = type, .root = root};
    const auto guard = begin(c);
    if (count == 0) return;
    const layout all = layout::block(count, type, largest());
    finish(c, "MPI_Ibcast",
           [&](MPI_Request* r) { return MPI_Ibcast(data, all.count(), all.type(), root, handle(), r); });
  }

  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, host_stream = {}) {
    const call c{.op = operation::all_to_all,
                 .send = send,
                 .recv = recv,
                 .type = type,
                 .send_counts = send_counts,
                 .recv_counts = recv_counts};
    const auto guard = begin(c);
    const pieces sent(send_counts, type, largest()), received(recv_counts, type, largest());
    finish(c, "MPI_Ialltoallw", [&](MPI_Request* r) {
      return MPI_Ialltoallw(send, sent.counts.data(), sent.at.data(), sent.types.data(), recv, received.counts.data(),
                            received.at.data(), received.types.data(), handle(), r);
    });
  }

  /// See communicator.hpp. MPI has no MPI_Comm_split that need not be waited for: it is called when all ranks have
  /// come, by the deadline, and that a rank dies inside of it is left to MPI to notice.
  communicator split(int color, int key) {
    const call c{.op = operation::split, .color = color, .key = key};
    const auto guard = begin(c);
    // MPI_Comm_split takes no negative colors.
    struct choice {
      int color, key;
    };
    std::vector<choice> all(ranks());
    all[mine()] = {color, key};
    finish(c, "MPI_Iallgather", [&](MPI_Request* r) {
      return MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all.data(), 2, MPI_INT, handle(), r);
    });
    std::vector<int> members;
    for (int r = 0; r < size(); ++r) {
      if (all[static_cast<std::size_t>(r)].color == color) members.push_back(r);
    }
    const int first = members[0];
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
      return all[static_cast<std::size_t>(a)].key < all[static_cast<std::size_t>(b)].key;
    });
    MPI_Comm part = MPI_COMM_NULL;
    state_->require(c, "MPI_Comm_split", MPI_Comm_split(handle(), first, key, &part));
    return communicator(std::make_unique<detail::state>(part, *state_, members));
  }

 private:
  using call = detail::call;
  using layout = detail::layout;
  using operations = detail::operations;
  using pieces = detail::pieces;

  explicit communicator(std::unique_ptr<detail::state> s) : state_(std::move(s)) {}

  static void require_usable(MPI_Comm comm) {
    const auto refuse = [](const auto&... why) {
      shardwise::detail::raise(comm_error("mpi::communicator::adopt: ", why...));
    };
    int yes = 0;
    MPI_Initialized(&yes);
    if (yes == 0) refuse("MPI is not initialized; call MPI_Init before");
    if (detail::is_over()) refuse("MPI is finalized");
    if (comm == MPI_COMM_NULL) refuse("the communicator is MPI_COMM_NULL");
    MPI_Comm_test_inter(comm, &yes);
    if (yes != 0) refuse("the communicator is one between two groups; give one of a single group");
    int level = 0;
    MPI_Query_thread(&level);
    MPI_Is_thread_main(&yes);
    if (level < MPI_THREAD_SERIALIZED && yes == 0) {
      refuse("this is not the thread that initialized MPI; ask MPI_Init_thread for MPI_THREAD_SERIALIZED");
    }
  }

  MPI_Comm handle() const { return state_->comm(); }
  std::size_t mine() const { return static_cast<std::size_t>(rank()); }
  std::size_t ranks() const { return static_cast<std::size_t>(size()); }
  std::size_t largest() const { return state_->how().largest_message; }

  // How many elements a reduction gives to MPI at once, and how many of them are left at `at`. MPI has as much memory
  // of its own for each.
  std::size_t at_once(const call& c) const {
    constexpr std::size_t enough = std::size_t{64} << 20;
    return std::max<std::size_t>(std::min(largest(), enough) / size_of(c.type), 1);
  }

  detail::returned_errors begin(const call& c) {
    state_->begin(c);
    return detail::returned_errors(state_->owned() ? MPI_COMM_NULL : handle());
  }

  template <class Start>
  void finish(const call& c, const char* function, Start start) {
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = start(&request);
    state_->finish(c, function, code, {&request, 1});
  }

  static void copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    if (bytes != 0 && to != from) std::memcpy(to, from, bytes);
  }

  // Memory until the end of the call.
  std::byte* aside(std::size_t bytes) {
    if (aside_.size() < bytes) aside_.resize(bytes);
    return aside_.data();
  }

  std::unique_ptr<detail::state> state_;
  std::vector<std::byte> aside_;  // as large as the largest reduction in place so far
};

static_assert(full_communicator<communicator>);

}  // namespace mpi
}  // namespace v0
}  // namespace shardwise
