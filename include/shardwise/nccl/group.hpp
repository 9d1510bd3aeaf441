// SPDX-License-Identifier: Apache-2.0
// Several calls that NCCL starts together.
#pragma once
#include <concepts>
#include <memory>

#include "shardwise/nccl/communicator.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {

/// From here to `end()` the calls on the communicators that it names only take note of what is to be done; `end()`
/// starts all of it together, and waits, by the deadline, where ranks have to connect first. Proof of an open group for
/// `send` and `recv`. All communicators that are used inside are named, all blocking or all not; all ranks do the same,
/// in the same order. Groups may be nested: the outermost one counts. For the thread that made it; neither copied nor
/// moved.
///
/// What fails poisons the communicators, as outside of a group. `end()` throws the first reason; the destructor ends a
/// group that is still open, and leaves the reason to the next call.
class group {
 public:
  template <std::same_as<communicator>... More>
  explicit group(communicator& first, More&... more) {
    first.require_usable();
    (more.require_usable(), ...);
    const ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess) {
      detail::poison(first.s_, detail::error_of_opening(*first.s_, "ncclGroupStart", result));
      (detail::poison(more.s_, *first.s_->first), ...);
      detail::raise_first(*first.s_);
    }
    ++detail::groups_of_thread.depth;
    detail::join_group(first.s_);
    (detail::join_group(more.s_), ...);
    open_ = true;
  }
  group(const group&) = delete;
  group& operator=(const group&) = delete;
  ~group() {
    if (open_) (void)detail::end_group();
  }

  /// Starts what was called, if this is the outermost group. A second one does nothing.
  void end() {
    if (!open_) return;
    open_ = false;
    if (const std::shared_ptr<detail::state> failed = detail::end_group()) detail::raise_first(*failed);
  }

 private:
  bool open_ = false;
};

}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
