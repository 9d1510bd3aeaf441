// SPDX-License-Identifier: Apache-2.0
// How communicators begin and end.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "shardwise/comm/rendezvous.hpp"
#include "shardwise/nccl/detail/open_group.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

/// NCCL gave `began` for a communicator that is being made: waits for `handle`, the new one or that which is split.
/// ncclSuccess is waited for, too: ncclCommSplit gives it when it has only begun.
inline ncclResult_t until_ready(const state& s, ncclComm_t handle, ncclResult_t began) {
  const bool begun = began == ncclSuccess || began == ncclInProgress;
  return begun && handle != nullptr ? settle(handle, patience(s.opts.init_deadline)) : began;
}

inline nccl::error error_of_opening(const state& s, const char* function, ncclResult_t result) {
  if (result != ncclInProgress) {
    nccl::error text = error_of(s, fault::failed, result);
    append_result(text, function, result);
    return text;
  }
  return error_of(s, fault::timed_out, result, function, " was not done within ", s.opts.init_deadline.count(), " ms");
}

inline void require_no_group(const char* what) {
  if (groups_of_thread.depth == 0) return;
  shardwise::detail::raise(
      nccl::error(fault::refused, ncclInvalidUsage, what, " was called inside a group: end the group first"));
}

/// Asks NCCL what the communicator is, which may be used from now on.
inline void learn(const std::shared_ptr<state>& s) {
  const auto must = [&](ncclResult_t result, const char* function) {
    if (result != ncclSuccess) poison_and_raise(s, error_of_opening(*s, function, result));
  };
  must(ncclCommCount(s->handle, &s->size), "ncclCommCount");
  must(ncclCommUserRank(s->handle, &s->rank), "ncclCommUserRank");
  must(ncclCommCuDevice(s->handle, &s->device), "ncclCommCuDevice");
  s->usable_on = s->device;
}

inline std::shared_ptr<state> open_communicator(const ncclUniqueId& id, int size, int rank, nccl::options opts) {
  require_version(runtime_version());
  require_no_group("communicator::create");
  const auto s = std::make_shared<state>(checked(std::move(opts)));
  s->rank = rank;
  s->size = size;
  if (size < 1 || rank < 0 || rank >= size) {
    shardwise::detail::raise(error_of(*s, fault::refused, ncclInvalidUsage, "ranks go from 0 to size - 1"));
  }
  if (cudaGetDevice(&s->device) != cudaSuccess) s->device = -1;  // NCCL says what is wrong
  ncclConfig_t config = config_of(s->opts, s->opts.name.c_str());
  const ncclResult_t began = ncclCommInitRankConfig(&s->handle, size, id, rank, &config);
  const ncclResult_t result = until_ready(*s, s->handle, began);
  if (result != ncclSuccess) poison_and_raise(s, error_of_opening(*s, "ncclCommInitRankConfig", result));
  learn(s);
  return s;
}

inline std::shared_ptr<state> adopt_communicator(ncclComm_t handle, nccl::options opts) {
  require_version(runtime_version());
  const auto s = std::make_shared<state>(checked(std::move(opts)));
  s->owned = false;
  if (handle == nullptr) {
    shardwise::detail::raise(
        nccl::error(fault::refused, ncclInvalidUsage, "the communicator to adopt as ", s->opts.name, " is null"));
  }
  s->handle = handle;
  const ncclResult_t result = until_ready(*s, handle, ncclSuccess);
  if (result != ncclSuccess) poison_and_raise(s, error_of_opening(*s, "ncclCommGetAsyncError", result));
  learn(s);
  return s;
}

inline std::shared_ptr<state> split_communicator(const std::shared_ptr<state>& s, int color, int key) {
  nccl::options opts = s->opts;
  opts.name += '/' + std::to_string(color);
  const auto child = std::make_shared<state>(std::move(opts));
  s->child = child;  // NCCL writes the handle into it, perhaps later than it is waited for
  ncclConfig_t config = config_of(child->opts, child->opts.name.c_str());
  const ncclResult_t began = ncclCommSplit(s->handle, color, key, &child->handle, &config);
  child->rank = s->rank;
  child->size = s->size;
  child->device = s->device;
  // The handle is there when the old communicator is out of ncclInProgress, and not before.
  ncclResult_t result = until_ready(*s, s->handle, began);
  if (result != ncclSuccess) {
    const nccl::error reason = error_of_opening(*s, "ncclCommSplit", result);
    poison(s, reason);
    // Where NCCL is at it no more, what it has made is nobody's.
    const bool over = result != ncclInProgress || (s->owned && !s->in_hands_of_nccl);
    if (over && child->handle != nullptr) (void)end_handle(child, ncclCommAbort).wait(patience(s->opts.abort_grace));
    raise_first(*s);
  }
  if (child->handle == nullptr) {
    poison_and_raise(s, error_of(*s, fault::failed, ncclInternalError, "ncclCommSplit ended without a communicator"));
  }
  s->child = nullptr;
  result = until_ready(*child, child->handle, ncclSuccess);
  if (result != ncclSuccess) poison_and_raise(child, error_of_opening(*child, "ncclCommSplit", result));
  learn(child);
  return child;
}

/// The id that rank 0 makes, on all ranks; where it cannot be made, all are told.
template <rendezvous R>
ncclUniqueId share_unique_id(R& meeting, const nccl::options& opts) {
  struct message {
    ncclUniqueId id;
    ncclResult_t made;
  } shared{};
  if (meeting.rank() == 0) shared.made = ncclGetUniqueId(&shared.id);
  std::byte bytes[sizeof shared];
  std::memcpy(bytes, &shared, sizeof shared);
  meeting.broadcast(std::span<std::byte>(bytes), 0);
  std::memcpy(&shared, bytes, sizeof shared);
  if (shared.made != ncclSuccess) {
    nccl::error text(fault::failed, shared.made, "rank ", meeting.rank(), " of ", meeting.size(), " (", opts.name,
                     "): rank 0 could not make the id of the communicator: ");
    append_result(text, "ncclGetUniqueId", shared.made);
    text.append("; name the network interface of rank 0 in NCCL_SOCKET_IFNAME");
    shardwise::detail::raise(text);
  }
  return shared.id;
}

/// Ends a communicator that is in order. `first` says that it was closed, or why that failed.
inline void close_communicator(const std::shared_ptr<state>& s) noexcept {
  if (s->first) return;
  // NCCL would put off the end of any communicator until the group's, and then find it freed.
  if (s->in_group || (s->owned && groups_of_thread.depth > 0)) {
    return poison(s, error_of(*s, fault::ended, ncclInvalidUsage, "it was closed inside a group"));
  }
  if (s->owned) {
    constexpr const char* why =
        " ms: work that was called before is not done, or a CUDA graph that captured the communicator lives: destroy "
        "such graphs first";
    // In a helper whatever the options say, as NCCL_COMM_BLOCKING overrides them.
    const patience time(s->opts.deadline);
    const helped finalized = helper(s, s->device, ncclCommFinalize, s->handle, ncclCommAbort).wait(time);
    if (finalized.how == came_back::no) {
      // A blocking one, whose work is not done, or a thread that was given no processor in time. It is still in there,
      // and ncclCommAbort would free the communicator under it: the thread itself aborts it when it comes out.
      s->handle = nullptr;
      s->usable_on = nowhere;
      return poison(s, error_of(*s, fault::timed_out, ncclInProgress, "ncclCommFinalize did not come back within ",
                                s->opts.deadline.count(), why, "; it goes on in a thread of its own"));
    }
    if (finalized.how == came_back::was_not_called) {
      return poison(
          s, error_of(*s, fault::failed, ncclSystemError, "it was not finalized, as no thread could be started"));
    }
    const ncclResult_t result = finalized.good() ? settle(s->handle, time) : finalized.result;
    if (result == ncclInProgress) {
      return poison(s, error_of(*s, fault::timed_out, result, "ncclCommFinalize was not done within ",
                                s->opts.deadline.count(), why));
    }
    if (result != ncclSuccess) return poison(s, error_of_opening(*s, "ncclCommFinalize", result));
    const helped destroyed = end_handle(s, ncclCommDestroy).wait(patience(s->opts.deadline));
    if (destroyed.how == came_back::no) {
      return poison(s, error_of(*s, fault::timed_out, ncclInProgress, "ncclCommDestroy did not come back within ",
                                s->opts.deadline.count(), " ms, and goes on in a thread of its own"));
    }
    if (destroyed.how == came_back::was_not_called) {
      return poison(
          s, error_of(*s, fault::failed, ncclSystemError, "it was not destroyed, as no thread could be started"));
    }
    if (!destroyed.good()) return poison(s, error_of_opening(*s, "ncclCommDestroy", destroyed.result));
  }
  s->handle = nullptr;
  s->usable_on = nowhere;
  s->first.emplace(error_of(*s, fault::ended, ncclInvalidUsage, "the communicator was closed"));
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
