// SPDX-License-Identifier: Apache-2.0
// Where the threads of in-process ranks meet: barriers that end with a reason instead of hanging.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shardwise/error.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// What a rank asks for in one collective. All but the pointers must agree between ranks.
struct call {
  const char* operation = "";
  std::size_t count = 0;
  dtype type = dtype::u8;
  reduction op = reduction::sum;
  int root = 0;
  std::size_t rows = 0;
  std::span<const std::size_t> columns{};                     // of gather_last_dim: the same on all ranks
  std::span<const std::size_t> send_counts{}, recv_counts{};  // of all_to_all: paired between ranks
  const std::byte* send = nullptr;
  std::size_t send_stride = 0;
  std::byte* scratch = nullptr;  // written by its rank, read by the others in a later phase
  int color = 0, key = 0;
};

/// "all_reduce of 8 F32 (sum)": for errors.
inline std::string words_for(const call& c) {
  std::string s = c.operation;
  const std::string name = s;
  if (name == "barrier" || name == "split") return s;
  if (name == "all_to_all") return s + " of " + std::string(name_of(c.type));
  if (name == "gather_last_dim") {
    s += " of " + std::to_string(c.rows) + " rows of columns [";
    for (std::size_t i = 0; i < c.columns.size(); ++i) s += (i == 0 ? "" : ", ") + std::to_string(c.columns[i]);
    return s + "] " + std::string(name_of(c.type));
  }
  s += " of " + std::to_string(c.count) + " " + std::string(name_of(c.type));
  if (name == "all_reduce" || name == "reduce_scatter") s += c.op == reduction::sum ? " (sum)" : " (max)";
  if (name == "broadcast") s += " from rank " + std::to_string(c.root);
  return s;
}

/// One run of in-process ranks: which have ended, and the first reason why the others cannot go on.
struct world {
  explicit world(int ranks, std::chrono::nanoseconds patience_)
      : patience(patience_), ranks_of_world(static_cast<std::size_t>(ranks)) {}

  struct rank_state {
    bool ended = false;
    const char* operation = nullptr;  // the collective it is in, or was in last
    std::uint64_t number = 0;         // of that collective, from 1
  };

  std::mutex mutex;
  std::condition_variable changed;
  const std::chrono::nanoseconds patience;
  std::vector<rank_state> ranks_of_world;
  std::atomic<bool> failed = false;
  std::string reason;
  std::exception_ptr root;  // what the first rank to end badly ended with

  // All with the mutex held.
  void fail(std::string why) {
    if (failed) return;
    reason = std::move(why);
    failed = true;
    changed.notify_all();
  }
  std::string seen_in(std::size_t rank) const {
    const rank_state& s = ranks_of_world[rank];
    if (s.operation == nullptr) return "it has been in no collective yet";
    return std::string("it was last seen in ") + s.operation + " (collective " + std::to_string(s.number) + ")";
  }
};

/// The ranks of one communicator. A split makes another of the same world.
class meeting {
 public:
  meeting(std::shared_ptr<world> w, std::vector<int> members)
      : world_(std::move(w)),
        members_(std::move(members)),
        calls_(members_.size()),
        arrived_(members_.size()),
        children_(members_.size()) {}

  int size() const { return static_cast<int>(members_.size()); }
  const std::vector<int>& members() const { return members_; }
  const std::shared_ptr<world>& shared_world() const { return world_; }
  const call& of(int rank) const { return *calls_[static_cast<std::size_t>(rank)]; }
  std::shared_ptr<meeting>& child(int rank) { return children_[static_cast<std::size_t>(rank)]; }

 private:
  friend class attendance;
  world::rank_state& state_of(int rank) {
    return world_->ranks_of_world[static_cast<std::size_t>(members_[static_cast<std::size_t>(rank)])];
  }

  void stop_working() {
    const std::lock_guard lock(world_->mutex);
    if (--working_ == 0) world_->changed.notify_all();
  }

  // `then_works`: when all are here, each goes on to look at the others' buffers.
  void wait(int rank, const call& c, bool then_works) {
    std::unique_lock lock(world_->mutex);
    if (world_->failed) give_up(rank, c, lock);
    const std::uint64_t mine = generation_.load(std::memory_order_relaxed);
    arrived_[static_cast<std::size_t>(rank)] = true;
    if (++count_ == members_.size()) {
      count_ = 0;
      working_ = then_works ? members_.size() : 0;
      std::fill(arrived_.begin(), arrived_.end(), false);
      generation_.store(mine + 1, std::memory_order_release);
      world_->changed.notify_all();
      return;
    }
    // The others are often just behind: look a few times before sleeping.
    lock.unlock();
    for (int look = 0; look < 256; ++look) {
      if (generation_.load(std::memory_order_acquire) != mine) return;
    }
    lock.lock();
    const auto deadline = std::chrono::steady_clock::now() + world_->patience;
    while (generation_.load(std::memory_order_relaxed) == mine) {
      if (world_->failed) give_up(rank, c, lock);
      if (const int gone = ended_member(); gone >= 0) {
        const auto g = static_cast<std::size_t>(members_[static_cast<std::size_t>(gone)]);
        world_->fail("rank " + std::to_string(g) + " has returned after " +
                     std::to_string(world_->ranks_of_world[g].number) + " collectives and will not come to " +
                     place(rank, c));
        give_up(rank, c, lock);
      }
      if (world_->changed.wait_until(lock, deadline) == std::cv_status::timeout &&
          generation_.load(std::memory_order_relaxed) == mine && !world_->failed) {
        world_->fail(absent(rank, c));
      }
    }
  }

  int ended_member() const {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (!arrived_[i] && world_->ranks_of_world[static_cast<std::size_t>(members_[i])].ended)
        return static_cast<int>(i);
    }
    return -1;
  }
  std::string place(int rank, const call& c) {
    return std::string(c.operation) + " (collective " + std::to_string(state_of(rank).number) + ")";
  }
  std::string absent(int rank, const call& c) {
    std::string s;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (arrived_[i]) continue;
      const auto g = static_cast<std::size_t>(members_[i]);
      s += (s.empty() ? "rank " : ", and rank ") + std::to_string(g) + " did not come to " + place(rank, c) +
           " within " +
           std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(world_->patience).count()) + " ms; " +
           world_->seen_in(g);
    }
    return s;
  }
  // A rank whose buffers another may be reading does not unwind before that one has finished, which it does soon: it
  // only copies and adds.
  [[noreturn]] void give_up(int rank, const call& c, std::unique_lock<std::mutex>& lock) {
    world_->changed.wait(lock, [&] { return working_ == 0; });
    const std::string text = world_->reason + "; rank " + std::to_string(members_[static_cast<std::size_t>(rank)]) +
                             " waits in " + place(rank, c);
    raise(comm_error(std::string_view(text)));
  }

  // What the ranks disagree on, "" if nothing. Each rank compares for itself, all with the same result.
  std::string difference() const {
    std::string different;
    const call& first = of(0);
    for (int r = 1; r < size() && different.empty(); ++r) {
      const call& o = of(r);
      if (std::string_view(o.operation) != first.operation || o.count != first.count || o.type != first.type ||
          o.op != first.op || o.root != first.root || o.rows != first.rows ||
          !std::equal(o.columns.begin(), o.columns.end(), first.columns.begin(), first.columns.end())) {
        different = named(0) + " called " + words_for(first) + ", and " + named(r) + " called " + words_for(o);
      }
    }
    for (int a = 0; a < size() && different.empty(); ++a) {
      for (int b = 0; b < size() && different.empty(); ++b) {
        const call &from = of(a), &to = of(b);
        if (from.send_counts.empty() && to.recv_counts.empty()) continue;
        const std::size_t sent = from.send_counts[static_cast<std::size_t>(b)];
        const std::size_t expected = to.recv_counts[static_cast<std::size_t>(a)];
        if (sent == expected) continue;
        different = "in all_to_all " + named(a) + " sends " + std::to_string(sent) + " elements to " + named(b) +
                    ", which expects " + std::to_string(expected);
      }
    }
    return different;
  }
  std::string named(int rank) const { return "rank " + std::to_string(members_[static_cast<std::size_t>(rank)]); }

  std::shared_ptr<world> world_;
  std::vector<int> members_;  // ranks of the world, by rank here
  std::vector<const call*> calls_;
  std::vector<char> arrived_;
  std::vector<std::shared_ptr<meeting>> children_;
  std::size_t count_ = 0, working_ = 0;
  std::atomic<std::uint64_t> generation_ = 0;
};

/// One rank's part in one collective. Between the constructor and `leave` the buffers that the calls of all ranks name
/// may be read; they stay alive, since no rank unwinds while another may be reading.
class attendance {
 public:
  /// Announces `c` and waits until every rank has announced its own. Throws `comm_error` where they disagree.
  attendance(meeting& m, int rank, const call& c) : attendance(m, rank, c, announced{}) {
    const std::string different = m.difference();
    if (different.empty()) return;
    working_ = false;
    m.stop_working();
    std::unique_lock lock(m.world_->mutex);
    m.world_->fail(different + " (collective " + std::to_string(m.state_of(rank).number) + ")");
    m.give_up(rank, c, lock);
  }
  ~attendance() {
    if (working_) meeting_.stop_working();
  }
  attendance(const attendance&) = delete;
  attendance& operator=(const attendance&) = delete;

  /// Waits until every rank is here: between two phases.
  void meet() {
    working_ = false;
    meeting_.stop_working();
    meeting_.wait(rank_, call_, true);
    working_ = true;
  }
  /// The last `meet`: afterwards nobody looks at another rank's buffers.
  void leave() {
    working_ = false;
    meeting_.stop_working();
    meeting_.wait(rank_, call_, false);
  }

 private:
  // A constructor of its own, so that the destructor runs if comparing the calls throws.
  struct announced {};
  attendance(meeting& m, int rank, const call& c, announced) : meeting_(m), rank_(rank), call_(c) {
    m.calls_[static_cast<std::size_t>(rank)] = &c;
    {
      const std::lock_guard lock(m.world_->mutex);
      world::rank_state& me = m.state_of(rank);
      me.operation = c.operation;
      ++me.number;
    }
    m.wait(rank, c, true);
    working_ = true;
  }

  meeting& meeting_;
  int rank_;
  const call& call_;
  bool working_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
