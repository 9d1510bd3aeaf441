// SPDX-License-Identifier: Apache-2.0
// What a communicator is made of: the handle, whether it may still be used, and the first reason why not.
#pragma once
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "shardwise/cuda/device.hpp"
#include "shardwise/nccl/detail/hint.hpp"
#include "shardwise/nccl/detail/note.hpp"
#include "shardwise/nccl/detail/patience.hpp"
#include "shardwise/nccl/detail/versions.hpp"
#include "shardwise/nccl/options.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

// No device: `usable_on` of a communicator that may not be used any more.
inline constexpr int nowhere = -2;

/// Used by one thread at a time. Its address stays: NCCL keeps a pointer to the name, and writes the handle into it. A
/// helper thread that NCCL does not let go keeps it alive.
struct state {
  // What every collective reads and writes.
  ncclComm_t handle = nullptr;
  int usable_on = nowhere;  ///< the device, until the communicator has ended
  int rank = 0, size = 1, device = -1;
  note last;
  bool in_group = false;
  std::size_t calls = 0;

  bool owned = true;
  bool abort_at_end_of_group = false;
  bool in_hands_of_nccl = false;  ///< what a helper thread called did not come back
  nccl::options opts;
  std::optional<nccl::error> first;   ///< why it is poisoned, or that it was closed
  std::shared_ptr<state> child = {};  ///< while a split is under way
  state* next_in_group = nullptr;     ///< of this thread's group
  std::shared_ptr<state> self = {};   ///< keeps it alive in there

  explicit state(nccl::options o) : opts(std::move(o)) {}
  state(const state&) = delete;
  state& operator=(const state&) = delete;
};

/// "rank 1 of 4 (tp, device 1): "
inline void append_place(comm_error& text, const state& s) {
  text.append("rank ");
  text.append(s.rank);
  text.append(" of ");
  text.append(s.size);
  text.append(" (");
  text.append(s.opts.name);
  if (s.device >= 0) {
    text.append(", device ");
    text.append(s.device);
  }
  text.append("): ");
}

template <class... Parts>
nccl::error error_of(const state& s, fault kind, ncclResult_t result, const Parts&... parts) {
  nccl::error text(kind, result);
  append_place(text, s);
  (text.append(parts), ...);
  return text;
}

/// What a communicator that was moved from refers to. Never destroyed, as a static communicator may outlive it.
inline std::shared_ptr<state> moved_from() noexcept {
  alignas(state) static std::byte room[sizeof(state)];
  static state* const s = [] {
    auto* made = new (room) state(nccl::options{});
    made->first.emplace(fault::ended, ncclInvalidUsage, "the communicator was moved from");
    return made;
  }();
  return {std::shared_ptr<state>(), s};
}

/// "ncclAllReduce gave ncclSystemError (2), unhandled system error"
inline std::string_view name_of(ncclResult_t result) {
  switch (static_cast<int>(result)) {
    case 0: return "ncclSuccess";
    case 1: return "ncclUnhandledCudaError";
    case 2: return "ncclSystemError";
    case 3: return "ncclInternalError";
    case 4: return "ncclInvalidArgument";
    case 5: return "ncclInvalidUsage";
    case 6: return "ncclRemoteError";
    case 7: return "ncclInProgress";
    case 8: return "ncclTimeout";  // since 2.30
    default: return "a result that shardwise does not know";
  }
}
inline void append_result(comm_error& text, std::string_view function, ncclResult_t result) {
  text.append(function);
  text.append(" gave ");
  text.append(name_of(result));
  text.append(" (");
  text.append(static_cast<int>(result));
  text.append("), ");
  text.append(ncclGetErrorString(result));
}

// What a helper thread calls. Two have it, that thread and who waits for it: the last one lets it go, and the state.
struct helper_job {
  std::shared_ptr<state> s;
  ncclResult_t (*call)(ncclComm_t);
  ncclComm_t handle;
  ncclResult_t result = ncclInProgress;
  std::atomic<bool> done = false;
  std::atomic<int> owners = 2;

  void let_go() {
    if (owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};
inline void* run_helper(void* argument) {
  auto* const job = static_cast<helper_job*>(argument);
  if (job->s->device >= 0) (void)cudaSetDevice(job->s->device);  // else NCCL makes device 0 this thread's, and uses it
  job->result = job->call(job->handle);
  job->done.store(true, std::memory_order_release);
  job->let_go();
  return nullptr;
}

enum class came_back : unsigned char { yes, no, was_not_called };
struct helped {
  came_back how;
  ncclResult_t result;  ///< of the call, where it came back

  bool good() const { return how == came_back::yes && (result == ncclSuccess || result == ncclInProgress); }
};

/// Calls ncclCommFinalize, ncclCommAbort or ncclCommDestroy in a thread of its own, as none of them can be interrupted.
inline helped call_in_helper(const std::shared_ptr<state>& s, ncclResult_t (*call)(ncclComm_t), ncclComm_t handle,
                             std::chrono::milliseconds limit) noexcept {
  auto* const job = new (std::nothrow) helper_job{s, call, handle};
  pthread_t thread;
  if (job == nullptr || pthread_create(&thread, nullptr, run_helper, job) != 0) {
    delete job;
    s->in_hands_of_nccl = true;
    return {came_back::was_not_called, ncclSystemError};
  }
  const patience time(limit);
  while (!job->done.load(std::memory_order_acquire)) {
    if (time.pause()) continue;
    s->in_hands_of_nccl = true;
    pthread_detach(thread);
    job->let_go();
    return {came_back::no, ncclInProgress};
  }
  pthread_join(thread, nullptr);
  const ncclResult_t result = job->result;
  job->let_go();
  return {came_back::yes, result};
}

/// Takes the handle, and gives it to ncclCommAbort or ncclCommDestroy. It is never used again, whatever happens.
inline helped end_handle(const std::shared_ptr<state>& s, ncclResult_t (*call)(ncclComm_t),
                         std::chrono::milliseconds limit) noexcept {
  s->usable_on = nowhere;
  return call_in_helper(s, call, std::exchange(s->handle, nullptr), limit);
}

/// Aborts what is ours, at once or when the thread's group ends, and says what became of it.
inline void abort_handle(const std::shared_ptr<state>& s) noexcept {
  s->usable_on = nowhere;
  if (s->in_group) {
    s->abort_at_end_of_group = true;
    return;
  }
  s->abort_at_end_of_group = false;
  if (s->handle == nullptr) return;
  if (!s->owned) {
    s->first->append("; the communicator is the engine's, which has to abort it");
    return;
  }
  const helped aborted = end_handle(s, ncclCommAbort, s->opts.abort_grace);
  switch (aborted.how) {
    case came_back::yes:
      if (aborted.good()) {
        s->first->append("; it was aborted");
      } else {
        s->first->append("; ");
        append_result(*s->first, "ncclCommAbort", aborted.result);
      }
      break;
    case came_back::no:
      s->first->append("; ncclCommAbort did not come back within ");
      s->first->append(s->opts.abort_grace.count());
      s->first->append(" ms, and goes on in a thread of its own");
      break;
    case came_back::was_not_called: s->first->append("; it was not aborted, as no thread could be started"); break;
  }
}

/// Keeps the first reason, and ends the communicator. What NCCL said last is asked before it is aborted.
inline void poison(const std::shared_ptr<state>& s, const nccl::error& reason) noexcept {
  if (s->first) return;
  s->first.emplace(reason);
  constexpr std::size_t room = 500;  // of the 2000 bytes that an error holds
  std::string_view words;
  if (reason.kind() != fault::ended) {
    const char* last = ncclGetLastError(s->handle);
    words = std::string_view(last != nullptr ? last : "").substr(0, room);
  }
  const int devices = reason.result() == ncclUnhandledCudaError ? cuda::device_count() : -1;
  const std::string_view hint = reason.kind() == fault::ended ? "" : hint_of(reason.result(), words, devices);
  if (!hint.empty()) {
    s->first->append("; ");
    s->first->append(hint);
  }
  if (reason.kind() != fault::ended) {
    s->first->append(". ");
    append_versions(*s->first);
  }
  if (!words.empty()) {
    s->first->append(". NCCL's last words, maybe of an earlier call: \"");
    s->first->append(words);
    s->first->append('"');
  }
  abort_handle(s);
}

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_first(const state& s) { shardwise::detail::raise(*s.first); }

[[noreturn, gnu::cold, gnu::noinline]] inline void poison_and_raise(const std::shared_ptr<state>& s,
                                                                    const nccl::error& reason) {
  poison(s, reason);
  raise_first(*s);
}

/// What is wrong with the last call itself: nothing was called.
[[noreturn, gnu::cold, gnu::noinline]] inline void refuse(const state& s, std::string_view why) {
  nccl::error text = error_of(s, fault::refused, ncclInvalidUsage);
  words_of(text, s.last);
  text.append(": ");
  text.append(why);
  shardwise::detail::raise(text);
}

/// Waits while NCCL still works on what was called. What it gave: ncclInProgress where the time was not enough.
inline ncclResult_t settle(ncclComm_t handle, const patience& time) {
  for (;;) {
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(handle, &result);
    if (asked != ncclSuccess) return asked;
    if (result != ncclInProgress || !time.pause()) return result;
  }
}

/// The last call failed, or did not come to its end.
inline nccl::error error_of_last(const state& s, const char* function, ncclResult_t result) {
  nccl::error text = error_of(s, result == ncclInProgress ? fault::timed_out : fault::failed, result);
  words_of(text, s.last);
  text.append(" (call ");
  text.append(s.calls);
  text.append("): ");
  if (result == ncclInProgress) {
    text.append(function);
    text.append(" was not done within ");
    text.append(s.opts.deadline.count());
    text.append(" ms");
  } else {
    append_result(text, function, result);
  }
  return text;
}

/// A call gave something else than ncclSuccess. Inside a group NCCL has only taken note of it.
[[gnu::cold, gnu::noinline]] inline void see_to(const std::shared_ptr<state>& s, const char* function,
                                                ncclResult_t result) {
  if (result == ncclInProgress) {
    if (s->in_group) return;
    result = settle(s->handle, patience(s->opts.deadline));
    if (result == ncclSuccess) return;
  }
  poison_and_raise(s, error_of_last(*s, function, result));
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
