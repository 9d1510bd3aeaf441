// SPDX-License-Identifier: Apache-2.0
#include "fake/group.hpp"

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace fake {
namespace {

// A list in memory of malloc, so that calls use no operator new, which tests count.
struct operation_list {
  operation* data = nullptr;
  std::size_t size = 0, capacity = 0;

  operation_list() = default;
  operation_list(const operation_list&) = delete;
  operation_list& operator=(const operation_list&) = delete;
  ~operation_list() { std::free(data); }
  void push(const operation& o) {
    static_assert(std::is_trivially_copyable_v<operation>);
    if (size == capacity) {
      capacity = capacity == 0 ? 64 : 2 * capacity;
      data = static_cast<operation*>(std::realloc(static_cast<void*>(data), capacity * sizeof o));
      if (data == nullptr) std::abort();
    }
    std::memcpy(static_cast<void*>(data + size++), &o, sizeof o);
  }
};

struct open_groups {
  int depth = 0;
  ncclResult_t error = ncclSuccess;
  operation_list operations;
  std::vector<long_work> works;
};
thread_local open_groups mine;

// All at once, as each may wait for the others.
ncclResult_t begin_all(std::vector<long_work> works) {
  ncclResult_t result = ncclSuccess;
  const auto note = [&](ncclResult_t e) {
    if (result == ncclSuccess || (result == ncclInProgress && e != ncclSuccess)) result = e;
  };
  std::vector<std::thread> threads;
  std::vector<ncclResult_t> results(works.size(), ncclSuccess);
  for (std::size_t i = 0; i < works.size(); ++i) {
    if (works[i].comm->blocking) {
      threads.emplace_back([&, i] { results[i] = finish_long_work(works[i]); });
    } else {
      results[i] = start_in_background(works[i]);
    }
  }
  for (auto& t : threads) t.join();
  for (const auto e : results) note(e);
  return result;
}

}  // namespace

bool group_is_open() { return mine.depth > 0; }
void open_group() { ++mine.depth; }
void add_to_group(const operation& o) { mine.operations.push(o); }
void add_to_group(const long_work& work) { mine.works.push_back(work); }

ncclResult_t group_result(ncclResult_t result) {
  if (mine.depth > 0 && mine.error == ncclSuccess && result != ncclInProgress) mine.error = result;
  return result;
}

ncclResult_t close_group() {
  if (--mine.depth > 0) return ncclSuccess;
  counts().groups.fetch_add(1, std::memory_order_relaxed);
  const auto error = std::exchange(mine.error, ncclSuccess);
  const auto total = std::exchange(mine.operations.size, 0);
  auto works = std::exchange(mine.works, {});
  if (error != ncclSuccess) {
    for (auto& w : works) {
      if (w.init_result != nullptr) {
        *w.init_result = nullptr;
        discard(*w.comm);
      }
      if (w.made != nullptr) discard(*w.made);
    }
    return error;
  }
  auto largest = counts().largest_group.load();
  while (total > largest && !counts().largest_group.compare_exchange_weak(largest, total)) {
  }
  const auto begun = works.empty() ? ncclSuccess : begin_all(std::move(works));
  if (begun != ncclSuccess && begun != ncclInProgress) return begun;
  const auto launched = launch_all(mine.operations.data, total);
  return launched == ncclSuccess ? begun : launched;
}

namespace {
void launch_now(launch* l) {
  communicator& c = *l->comm;
  const auto failed = start_launch(l);
  if (failed != ncclSuccess) c.fail(failed);
}
void let_go(communicator& c) {
  int busy = ncclInProgress;
  c.async.compare_exchange_strong(busy, ncclSuccess);
}
}  // namespace

ncclResult_t launch_all(const operation* operations, std::size_t total) {
  ncclResult_t result = ncclSuccess;
  bool several = false;
  for (std::size_t i = 0; i < total; ++i) several = several || operations[i].comm != operations[0].comm;
  for (std::size_t i = 0; i < total; ++i) {
    communicator& c = *operations[i].comm;
    bool seen = false;
    for (std::size_t j = 0; j < i && !seen; ++j) seen = operations[j].comm == operations[i].comm;
    if (seen) continue;
    launch* l = launch::make(c, operations + i, total - i);
    ncclResult_t e = ncclSuccess;
    for (std::size_t j = 0; j < l->total; ++j) {
      const auto& hit = l->operations[j].hit;
      if (hit && hit->what == fake_gpu::action::delay) c.delay = hit->milliseconds;
    }
    const auto s = find_stream(l->operations[0].stream, c.device);
    if (c.blocking || (s && s->capturing() != nullptr)) {
      c.linger();
      e = start_launch(l);
    } else {
      // As NCCL does: the caller must not touch the stream before the communicator is out of ncclInProgress.
      int idle = ncclSuccess;
      c.async.compare_exchange_strong(idle, ncclInProgress);
      // NCCL launches all communicators of a group in one thread, one after the other: in the same order on all ranks.
      if (several) launch_now(l);
      const bool started = several ? c.job.start(
                                         [](void* argument) -> void* {
                                           communicator& comm = *static_cast<communicator*>(argument);
                                           comm.linger();
                                           let_go(comm);
                                           return nullptr;
                                         },
                                         &c)
                                   : c.job.start(
                                         [](void* argument) -> void* {
                                           communicator& comm = *static_cast<launch*>(argument)->comm;
                                           comm.linger();
                                           launch_now(static_cast<launch*>(argument));
                                           let_go(comm);
                                           return nullptr;
                                         },
                                         l);
      e = started ? ncclInProgress : ncclSystemError;
    }
    if (result == ncclSuccess || (result == ncclInProgress && e != ncclSuccess)) result = e;
  }
  return result;
}

}  // namespace fake

using namespace fake;

ncclResult_t ncclGroupStart() {
  const auto hit = enter(function::ncclGroupStart);
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  open_group();
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  const auto hit = enter(function::ncclGroupEnd);
  if (!group_is_open()) return refuse(misuse::group_end_without_start, "ncclGroupEnd: not in a group call.");
  if (hit && hit->what == fake_gpu::action::fail) group_result(static_cast<ncclResult_t>(hit->result));
  return close_group();
}
