// SPDX-License-Identifier: Apache-2.0
// What a communicator over MPI is made of, how it waits, and how it fails.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/call_check.hpp"
#include "shardwise/comm/detail/collective_place.hpp"
#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/comm/detail/in_process_call.hpp"
#include "shardwise/comm/detail/mismatch.hpp"
#include "shardwise/error.hpp"
#include "shardwise/mpi/detail/header.hpp"
#include "shardwise/mpi/detail/operation.hpp"
#include "shardwise/mpi/options.hpp"

namespace shardwise {
inline namespace v0 {
namespace mpi {
namespace detail {

using call = shardwise::detail::in_process_call;

/// For as long as it lives, errors on an engine's communicator come back as numbers; then its own error handler has it
/// again. Nothing for MPI_COMM_NULL: on communicators of our own they always come back.
class returned_errors {
 public:
  explicit returned_errors(MPI_Comm comm) : comm_(comm) {
    if (comm_ == MPI_COMM_NULL) return;
    MPI_Comm_get_errhandler(comm_, &before_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  returned_errors(const returned_errors&) = delete;
  ~returned_errors() {
    if (comm_ == MPI_COMM_NULL) return;
    MPI_Comm_set_errhandler(comm_, before_);
    MPI_Errhandler_free(&before_);
  }

 private:
  MPI_Comm comm_;
  MPI_Errhandler before_ = MPI_ERRHANDLER_NULL;
};

inline bool is_over() {
  int over = 0;
  MPI_Finalized(&over);
  return over != 0;
}

/// One rank's side. Not for several threads.
class state {
 public:
  /// Of an engine's communicator.
  state(MPI_Comm comm, options o)
      : ops_(std::make_shared<const operations>()), options_(std::move(o)), comm_(comm), owned_(false) {
    look();
    whole_ = size_;
    for (int r = 0; r < size_; ++r) members_.push_back(r);
  }
  /// Of a split: `members` are ranks of `from`.
  state(MPI_Comm comm, const state& from, const std::vector<int>& members)
      : ops_(from.ops_), options_(from.options_), label_(" of the split {"), comm_(comm), owned_(true) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    look();
    whole_ = from.whole_;
    for (const int r : members) {
      members_.push_back(from.members_[static_cast<std::size_t>(r)]);
      label_ += (label_.back() == '{' ? "" : ", ") + std::to_string(members_.back());
    }
    label_ += "}";
  }
  state(const state&) = delete;
  ~state() { release(); }

  MPI_Comm comm() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return size_; }
  const options& how() const { return options_; }
  const operations& ops() const { return *ops_; }
  bool owned() const { return owned_; }

  /// Every collective begins here. Throws where the call is wrong by itself, and, if asked for, where it is not that of
  /// all ranks; nothing has been sent then.
  void begin(const call& c) {
    ++number_;
    const std::string_view fault =
        is_over() ? "MPI is finalized; release what refers to it before" : shardwise::detail::fault_of(c, rank_, size_);
    if (!fault.empty()) refuse(c, fault);
    if (options_.compare_calls) compare(c);
  }

  [[noreturn]] void refuse(const call& c, std::string_view fault) const {
    comm_error text = called(c);
    text.append(": ");
    text.append(fault);
    shardwise::detail::raise(text);
  }

  /// After the call of MPI that started `c`, or a part of it: returns when it is done on this rank.
  void finish(const call& c, std::string_view function, int code, std::span<MPI_Request> requests) {
    require(c, function, code);
    using clock = std::chrono::steady_clock;
    clock::time_point start;
    // MPI gets on with the work only while it is asked, so that this never sleeps, as MPI_Wait does not; after a few
    // looks it gives way to ranks that have no core of their own.
    int looks = 0;
    for (MPI_Request& r : requests) {
      for (;;) {
        int done = 0;
        require(c, function, MPI_Test(&r, &done, MPI_STATUS_IGNORE));
        if (done != 0) break;
        if (looks < awake && ++looks == awake) start = clock::now();
        if (looks < awake) continue;
        if (clock::now() - start >= options_.deadline) fail_of_deadline(c);
        std::this_thread::yield();
      }
    }
  }

  void require(const call& c, std::string_view function, int code) {
    if (code == MPI_SUCCESS) return;
    char words[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, words, &length);
    comm_error text = called(c);
    text.append(": ");
    text.append(function);
    text.append(" failed, \"");
    text.append(std::string_view(words, static_cast<std::size_t>(length)));
    text.append("\"");
    fail(text);
  }

 private:
  static constexpr int awake = 50;

  comm_error called(const call& c) const {
    comm_error text("rank ", members_[static_cast<std::size_t>(rank_)], " of ", whole_);
    if (releasing_) {
      text.append(" released the communicator");
      text.append(label_);
      return text;
    }
    text.append(" called ");
    words_of(text, c);
    shardwise::detail::collective_place{c.op, number_, label_}.number_of(text);
    return text;
  }

  void compare(const call& c) {
    static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
    const auto ranks = static_cast<std::size_t>(size_), width = 5 + 2 * ranks;
    std::vector<std::size_t> all(width * ranks);
    const auto line_of = [&](int r) { return std::span(all).subspan(static_cast<std::size_t>(r) * width, width); };
    const auto mine = line_of(rank_);
    mine[0] = static_cast<std::size_t>(c.op);
    mine[1] = c.count;
    mine[2] = static_cast<std::size_t>(c.type);
    mine[3] = static_cast<std::size_t>(c.how);
    mine[4] = static_cast<std::size_t>(c.root);
    std::copy(c.send_counts.begin(), c.send_counts.end(), mine.begin() + 5);
    std::copy(c.recv_counts.begin(), c.recv_counts.end(), mine.end() - size_);
    MPI_Request request = MPI_REQUEST_NULL;
    const returned_errors guard(owned_ ? MPI_COMM_NULL : comm_);
    const int code = MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all.data(), static_cast<int>(width),
                                    MPI_UINT64_T, comm_, &request);
    finish(c, "MPI_Iallgather", code, {&request, 1});
    const auto call_of = [&](int r) {
      const auto line = line_of(r);
      call theirs{.op = static_cast<operation>(line[0]),
                  .count = line[1],
                  .type = static_cast<dtype>(line[2]),
                  .how = static_cast<reduction>(line[3]),
                  .root = static_cast<int>(line[4])};
      if (theirs.op == operation::gather_last_dim || theirs.op == operation::all_to_all) {
        theirs.send_counts = line.subspan(5, ranks);
      }
      if (theirs.op == operation::all_to_all) theirs.recv_counts = line.last(ranks);
      return theirs;
    };
    if (const auto different = shardwise::detail::mismatch_of(size_, call_of, members_, {c.op, number_, label_})) {
      shardwise::detail::raise(*different);
    }
  }

  [[noreturn]] void fail_of_deadline(const call& c) noexcept {
    comm_error text = called(c);
    text.append(", and it was not done within " + shardwise::detail::span_text(options_.deadline));
    text.append(": a rank died, left, never came, or called something else; compare what the ranks say");
    fail(text);
  }

  void look() {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }

  // MPI may write to the buffers of a call that it has not finished, at any time from now on. So nothing is unwound.
  [[noreturn]] void fail(const comm_error& reason) noexcept {
    std::fprintf(stderr, "shardwise: %s; MPI_Abort ends the job\n", reason.what());
    std::fflush(stderr);
    if (options_.on_failure) options_.on_failure(reason);
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::abort();
  }

  // Freeing is collective. So it has a deadline too, and is left out where an exception ends one rank but not all.
  void release() noexcept {
    if (!owned_ || is_over() || std::uncaught_exceptions() != exceptions_) return;
    releasing_ = true;
    const call c{.op = operation::barrier};
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Ibarrier(comm_, &request);
    finish(c, "MPI_Ibarrier", code, {&request, 1});
    MPI_Comm_free(&comm_);
  }

  std::shared_ptr<const operations> ops_;
  options options_;
  std::string label_;         // " of the split {1, 3}"
  std::vector<int> members_;  // as ranks of the engine's communicator, which has `whole_`
  std::size_t number_ = 0;
  MPI_Comm comm_;
  int rank_ = 0, size_ = 1, whole_ = 1;
  bool owned_, releasing_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace detail
}  // namespace mpi
}  // namespace v0
}  // namespace shardwise
