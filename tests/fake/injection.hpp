// SPDX-License-Identifier: Apache-2.0
// Faults that tests ask for: looked up by every call.
#pragma once
#include <atomic>
#include <optional>

#include "fake/counters.hpp"
#include "fake/fake_gpu.hpp"

namespace fake {

/// What a call has to do; `what` is never kill, which has happened already, and delay only for calls that may go on in
/// the background.
struct fault {
  fake_gpu::action what = fake_gpu::action::fail;
  int result = 0;
  int milliseconds = 0;
};

extern std::atomic<bool> any_faults;
std::optional<fault> find_fault(function f, int rank);

/// Counts the call, and looks for a fault of it. `rank`: of the communicator, or -1 where the call has none.
inline std::optional<fault> enter(function f, int rank = -1) {
  count_call(f);
  if (!any_faults.load(std::memory_order_acquire)) [[likely]]
    return std::nullopt;
  return find_fault(f, rank);
}

}  // namespace fake
