// SPDX-License-Identifier: Apache-2.0
// The meeting point of the ranks of one in-process communicator.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/in_process_call.hpp"
#include "shardwise/comm/detail/in_process_world.hpp"
#include "shardwise/comm/detail/mismatch.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A collective is: `meet`, read what the others brought, `part`. Between the two all ranks are inside and finite work
/// is all that is done, so `meet` is where a rank can be missed and `part` cannot fail. That is why no rank leaves, and
/// takes its buffers with it, while another still reads them.
class in_process_group : private meeting {
 public:
  /// Of the whole world.
  static std::shared_ptr<in_process_group> whole(std::shared_ptr<in_process_world> world) {
    std::vector<int> all(static_cast<std::size_t>(world->size()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
    const std::lock_guard lock(world->mutex());
    return make(world, std::move(all), "");
  }

  int size() const { return static_cast<int>(slots_.size()); }

  /// Waits for all ranks to come with a call. Throws `comm_error` where they do not match, or one does not come.
  void meet(int rank, const in_process_call& call) {
    std::unique_lock lock(world_->mutex());
    const collective_place place = come(rank, call);
    for (const int member : members) {
      if (!world_->failed() && world_->has_ended(member)) {
        world_->fail_of_return(member, place);
        world_->raise_to_waiting(member_of(rank));
      }
    }
    if (world_->failed()) world_->raise_to_late(member_of(rank));
    if (++arrived == size()) return all_arrived(rank, place);

    const std::uint64_t before = met_.load(std::memory_order_relaxed);
    const auto met = [&] { return met_.load(std::memory_order_acquire) != before; };
    const auto over = [&] { return met() || world_->failed(); };
    const auto deadline = std::chrono::steady_clock::now() + world_->deadline();
    lock.unlock();
    spin(over);
    if (met()) return;
    lock.lock();
    if (!wake.wait_until(lock, deadline, over)) {
      std::vector<int> absent;
      for (int r = 0; r < size(); ++r) {
        if (slot_of(r).number != place.number) absent.push_back(member_of(r));
      }
      world_->fail_of_absence(absent, place);
    }
    // All that met go on, even if something has failed since.
    if (!met()) world_->raise_to_waiting(member_of(rank));
  }

  /// Waits for all ranks that met to be done with each other's buffers.
  void part() {
    const std::uint64_t before = parted_.load(std::memory_order_relaxed);
    // The last one's increment is seen by all; what each has read and written, by the last.
    if (leaving_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
      leaving_.store(0, std::memory_order_relaxed);
      const std::lock_guard lock(world_->mutex());
      parted_.store(before + 1, std::memory_order_release);
      wake.notify_all();
      return;
    }
    const auto parted = [&] { return parted_.load(std::memory_order_acquire) != before; };
    spin(parted);
    if (parted()) return;
    std::unique_lock lock(world_->mutex());
    wake.wait(lock, parted);
  }

  /// What a rank brought; between `meet` and `part`.
  const in_process_call& call_of(int rank) const { return slots_[static_cast<std::size_t>(rank)].call; }

  /// After `meet` for a split: the rank's new group and its rank there.
  std::pair<std::shared_ptr<in_process_group>, int> take_child(int rank) {
    slot& mine = slot_of(rank);
    return {std::move(mine.child), mine.rank_in_child};
  }

  /// A call that is wrong by itself: ends all ranks. `text` goes on from "rank r called ... (collective n): ".
  [[noreturn]] void refuse(int rank, const in_process_call& call, std::string_view text) {
    const std::lock_guard lock(world_->mutex());
    const collective_place place = come(rank, call);
    if (world_->failed()) world_->raise_to_late(member_of(rank));
    world_->leaves(member_of(rank));
    comm_error reason("rank ", member_of(rank), " called ");
    words_of(reason, call);
    place.number_of(reason);
    reason.append(": ");
    reason.append(text);
    world_->fail_while_waiting(reason);
    world_->raise_to_waiting(member_of(rank));
  }

 private:
  struct slot {
    in_process_call call;
    std::size_t number = 0;
    std::shared_ptr<in_process_group> child = nullptr;
    int rank_in_child = 0;
  };

  in_process_group(std::shared_ptr<in_process_world> world, std::vector<int> ranks, std::string_view label)
      : meeting(std::move(ranks)),
        world_(std::move(world)),
        label_(label),
        slots_(members.size()),
        crowded_(static_cast<unsigned>(world_->size()) > std::thread::hardware_concurrency()) {}

  // Under the world's mutex.
  static std::shared_ptr<in_process_group> make(std::shared_ptr<in_process_world> world, std::vector<int> ranks,
                                                std::string_view label) {
    in_process_world& shared = *world;
    std::shared_ptr<in_process_group> group(new in_process_group(std::move(world), std::move(ranks), label));
    shared.attach(std::shared_ptr<meeting>(group, static_cast<meeting*>(group.get())));
    return group;
  }

  slot& slot_of(int rank) { return slots_[static_cast<std::size_t>(rank)]; }
  int member_of(int rank) const { return members[static_cast<std::size_t>(rank)]; }

  collective_place come(int rank, const in_process_call& call) {
    slot& mine = slot_of(rank);
    mine.call = call;
    const collective_place place{call.op, ++mine.number, label_};
    world_->comes_to(member_of(rank), place);
    return place;
  }

  // The last rank to arrive looks at what all brought, while the others wait, and sends them on.
  void all_arrived(int rank, const collective_place& place) {
    const auto calls = [&](int r) -> const in_process_call& { return call_of(r); };
    if (const auto different = mismatch_of(size(), calls, members, place)) {
      world_->fail(*different);
      world_->raise_to_waiting(member_of(rank));
    }
    if (place.op == operation::split) make_children();
    for (const int member : members) world_->leaves(member);
    arrived = 0;
    met_.store(met_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    wake.notify_all();
  }

  void make_children() {
    std::vector<std::tuple<int, int, int>> order;  // color, key, rank
    for (int r = 0; r < size(); ++r) order.emplace_back(call_of(r).color, call_of(r).key, r);
    std::sort(order.begin(), order.end());
    for (auto begin = order.begin(); begin != order.end();) {
      const int color = std::get<0>(*begin);
      const auto end = std::find_if(begin, order.end(), [&](const auto& o) { return std::get<0>(o) != color; });
      std::vector<int> ranks;
      std::string label = " of the split {";
      for (auto o = begin; o != end; ++o) {
        ranks.push_back(member_of(std::get<2>(*o)));
        label += (o == begin ? "" : ", ") + std::to_string(ranks.back());
      }
      const auto child = make(world_, ranks, world_->keep(label + "}"));
      int rank_in_child = 0;
      for (auto o = begin; o != end; ++o) {
        slot_of(std::get<2>(*o)).child = child;
        slot_of(std::get<2>(*o)).rank_in_child = rank_in_child++;
      }
      begin = end;
    }
  }

  // Peers are mostly about to come; going to sleep and being woken costs more than looking a few times. With more ranks
  // than cores the core is given to them at once.
  template <class Done>
  void spin(const Done& done) const {
    for (int i = 0; i < (crowded_ ? 0 : 2000); ++i) {
      if (done()) return;
    }
    for (int i = 0; i < 20; ++i) {
      if (done()) return;
      std::this_thread::yield();
    }
  }

  std::shared_ptr<in_process_world> world_;
  std::string_view label_;
  std::vector<slot> slots_;
  const bool crowded_;
  std::atomic<std::uint64_t> met_ = 0, parted_ = 0;
  std::atomic<int> leaving_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
