// SPDX-License-Identifier: Apache-2.0
// The group that is open in this thread, and the communicators in it.
#pragma once
#include <memory>

#include "shardwise/nccl/detail/state.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

// NCCL counts for each thread, too.
struct open_groups {
  int depth = 0;
  state* members = nullptr;
};
inline thread_local open_groups groups_of_thread;

inline void join_group(const std::shared_ptr<state>& s) {
  if (s->in_group) return;
  s->in_group = true;
  s->self = s;
  s->next_in_group = groups_of_thread.members;
  groups_of_thread.members = s.get();
}

/// Ends the innermost group; with the outermost one NCCL starts what was called in it. Every member that fails is
/// poisoned. Returns one that has failed, or null.
inline std::shared_ptr<state> end_group() noexcept {
  const ncclResult_t ended = ncclGroupEnd();
  const bool outermost = --groups_of_thread.depth == 0;
  if (!outermost && ended == ncclSuccess) return nullptr;
  std::shared_ptr<state> failed;
  // First all of them come to their end, as NCCL may work on them together; then those that failed are aborted. Their
  // deadlines run side by side.
  const patience::clock::time_point start = patience::clock::now();
  for (state* m = groups_of_thread.members; m != nullptr; m = m->next_in_group) {
    if (m->first) {
      failed = m->self;  // inside the group: that of the end only follows from it
      continue;
    }
    ncclResult_t result = ended;
    if (result == ncclInProgress) result = settle(m->handle, patience(m->opts.deadline, start));
    if (result == ncclSuccess) continue;
    poison(m->self, error_of_last(*m, "ncclGroupEnd", result));
    if (failed == nullptr) failed = m->self;
  }
  if (!outermost) return failed;
  // NCCL may end one's abort only with another's: all begin before one is waited for.
  for (state* m = groups_of_thread.members; m != nullptr; m = m->next_in_group) {
    m->in_group = false;
    if (m->abort_at_end_of_group) m->aborting = begin_abort(m->self);
  }
  const patience::clock::time_point all_began = patience::clock::now();
  while (state* m = groups_of_thread.members) {
    groups_of_thread.members = m->next_in_group;
    const std::shared_ptr<state> keep = std::move(m->self);
    m->next_in_group = nullptr;
    if (m->aborting) end_abort(keep, *m->aborting, patience(m->opts.abort_grace, all_began));
    m->aborting.reset();
  }
  return failed;
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
