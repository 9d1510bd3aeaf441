// SPDX-License-Identifier: Apache-2.0
// What a communicator is made of: the handle, whether it may still be used, and the first reason why not.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "shardwise/cuda/device.hpp"
#include "shardwise/nccl/detail/helper.hpp"
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
  std::optional<nccl::error> first;               ///< why it is poisoned, or that it was closed
  std::shared_ptr<state> child = {};              ///< while a split is under way
  state* next_in_group = nullptr;                 ///< of this thread's group
  std::optional<helper> aborting = std::nullopt;  ///< when that has ended
  std::shared_ptr<state> self = {};               ///< keeps it alive in there

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

/// Takes the handle, for ncclCommAbort or ncclCommDestroy. It is never used again, whatever happens.
inline helper end_handle(const std::shared_ptr<state>& s, nccl_call call) noexcept {
  s->usable_on = nowhere;
  return helper(s, s->device, call, std::exchange(s->handle, nullptr));
}

/// Starts to abort what is ours, at once or when the thread's group ends.
inline std::optional<helper> begin_abort(const std::shared_ptr<state>& s) noexcept {
  s->usable_on = nowhere;
  if (s->in_group) {
    s->abort_at_end_of_group = true;
    return std::nullopt;
  }
  s->abort_at_end_of_group = false;
  if (s->handle == nullptr) return std::nullopt;
  if (!s->owned) {
    s->first->append("; the communicator is the engine's, which has to abort it");
    return std::nullopt;
  }
  return end_handle(s, ncclCommAbort);
}
/// Says what became of it.
inline void end_abort(const std::shared_ptr<state>& s, helper& h, const patience& time) noexcept {
  const helped aborted = h.wait(time);
  s->in_hands_of_nccl = aborted.how != came_back::yes;
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
inline void abort_handle(const std::shared_ptr<state>& s) noexcept {
  if (auto h = begin_abort(s)) end_abort(s, *h, patience(s->opts.abort_grace));
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
