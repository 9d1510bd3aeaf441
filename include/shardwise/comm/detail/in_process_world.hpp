// SPDX-License-Identifier: Apache-2.0
// What all ranks of one `in_process` share: where each stands, and the first failure, which ends them all.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/collective_place.hpp"
#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Where the ranks of one communicator wait for each other. Under the world's mutex.
struct meeting {
  explicit meeting(std::vector<int> ranks) : members(std::move(ranks)) {}
  const std::vector<int> members;  ///< as ranks of the world
  int arrived = 0;
  std::condition_variable wake;
};

/// Threads lock `mutex()` for all but `failed()`.
class in_process_world {
 public:
  in_process_world(int ranks, std::chrono::milliseconds deadline)
      : ranks_(static_cast<std::size_t>(ranks)), deadline_(deadline) {}

  std::mutex& mutex() { return mutex_; }
  std::chrono::milliseconds deadline() const { return deadline_; }
  int size() const { return static_cast<int>(ranks_.size()); }
  bool failed() const noexcept { return failed_.load(std::memory_order_acquire); }

  /// Registers a communicator's meeting, so that its waits end with the world. It may go without a word.
  void attach(std::weak_ptr<meeting> m) {
    std::erase_if(meetings_, [](const std::weak_ptr<meeting>& gone) { return gone.expired(); });
    meetings_.push_back(std::move(m));
  }
  /// A name that stays for as long as the world, which outlives communicators.
  std::string_view keep(const std::string& name) {
    const auto known = std::find(names_.begin(), names_.end(), name);
    return known != names_.end() ? *known : names_.emplace_back(name);
  }

  void comes_to(int rank, const collective_place& place) { state(rank) = {place, true, state(rank).ended}; }
  void leaves(int rank) { state(rank).waits = false; }
  bool has_ended(int rank) { return state(rank).ended; }

  /// Ends all ranks with `reason`, unless something did so before.
  void fail(const comm_error& reason) {
    if (reason_) return;
    reason_ = reason;
    failed_.store(true, std::memory_order_release);
    for (const auto& weak : meetings_) {
      if (const auto m = weak.lock()) m->wake.notify_all();
    }
  }
  /// The same, and says which ranks wait where.
  void fail_while_waiting(comm_error reason) {
    for (int r = 0; r < size(); ++r) {
      if (!state(r).waits) continue;
      append_rank(reason, "; rank ", r);
      reason.append(" waits in ");
      state(r).place.words_of(reason);
    }
    fail(reason);
  }
  /// Throws the first reason to a rank that it met while it waited.
  [[noreturn]] void raise_to_waiting(int rank) {
    leaves(rank);
    raise(*reason_);
  }
  /// Throws the first reason to a rank that came after it.
  [[noreturn]] void raise_to_late(int rank) {
    leaves(rank);
    comm_error text = *reason_;
    append_rank(text, "; rank ", rank);
    text.append(" then came to ");
    state(rank).place.words_of(text);
    raise(text);
  }

  /// `absent` have not come to `place` within the deadline.
  void fail_of_absence(const std::vector<int>& absent, const collective_place& place) {
    comm_error text;
    for (const int r : absent) {
      append_rank(text, text.text().empty() ? "rank " : "; rank ", r);
      text.append(" did not come to ");
      place.words_of(text);
      text.append(" within " + span_text(deadline_) + ": it ");
      if (state(r).place.number == 0) {
        text.append("has called no collective");
      } else {
        text.append(state(r).waits ? "waits in " : "was last in ");
        state(r).place.words_of(text);
      }
    }
    fail_while_waiting(text);
  }
  /// `rank` has returned, and others are in `place`.
  void fail_of_return(int rank, const collective_place& place) {
    const std::size_t done = place.number - 1;
    comm_error text("rank ", rank, " returned after ", done, done == 1 ? " collective" : " collectives", place.of,
                    " and will not come to ");
    place.words_of(text);
    fail_while_waiting(text);
  }

  /// The rank's function has returned: fine, if nobody waits for the rank.
  void returned(int rank) {
    const std::lock_guard lock(mutex_);
    state(rank).ended = true;
    for (const auto& weak : meetings_) {
      const auto m = weak.lock();
      if (!m || m->arrived == 0) continue;
      if (std::find(m->members.begin(), m->members.end(), rank) == m->members.end()) continue;
      const auto waiting = std::find_if(m->members.begin(), m->members.end(), [&](int r) { return state(r).waits; });
      if (waiting != m->members.end()) fail_of_return(rank, state(*waiting).place);
    }
  }
  /// The rank's function has thrown.
  void threw(int rank, std::string_view what, std::exception_ptr thrown) {
    const std::lock_guard lock(mutex_);
    state(rank).ended = true;
    state(rank).thrown = std::move(thrown);
    if (failed()) return;
    first_ = rank;
    constexpr std::size_t room = 800;  // of the 2000 bytes that an error holds
    fail_while_waiting(comm_error("rank ", rank, " ended before the others: \"", what.substr(0, room), "\""));
  }
  /// The rank whose throw was the first failure; -1 where that was none.
  int first_to_throw() const { return first_; }
  /// What the caller of `in_process` is told, once all ranks have ended: the first failure, whatever ranks threw after
  /// it; null if no rank threw.
  std::exception_ptr root_cause() {
    if (first_ >= 0) return state(first_).thrown;
    for (const rank_state& s : ranks_) {
      if (s.thrown) return reason_ ? std::make_exception_ptr(*reason_) : s.thrown;
    }
    return nullptr;
  }

 private:
  struct rank_state {
    collective_place place;
    bool waits = false;
    bool ended = false;
    std::exception_ptr thrown = nullptr;
  };
  rank_state& state(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  static void append_rank(comm_error& text, std::string_view before, int rank) {
    text.append(before);
    text.append(rank);
  }

  std::mutex mutex_;
  std::atomic<bool> failed_ = false;
  std::optional<comm_error> reason_;
  std::vector<rank_state> ranks_;
  std::vector<std::weak_ptr<meeting>> meetings_;
  std::list<std::string> names_;
  std::chrono::milliseconds deadline_;
  int first_ = -1;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
