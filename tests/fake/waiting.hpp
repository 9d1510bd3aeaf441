// SPDX-License-Identifier: Apache-2.0
// The one loop in which a rank waits for others.
#pragma once
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace fake {

/// A rank that waits long says so once: on a real machine nobody would.
void report_stall(const communicator& c, const char* what, const char* ranks);
std::chrono::seconds stall_limit();

/// `ready()` is tried again whenever something changed; `missing(rank)` says for whom it waits.
template <class Ready, class Missing>
waited wait_until(communicator& c, segment& world, const char* what, const Ready& ready, const Missing& missing) {
  const auto start = std::chrono::steady_clock::now();
  bool told = false;
  for (;;) {
    const auto bell = world.bell();
    if (ready()) return waited::ready;
    if (c.abort.load(std::memory_order_acquire)) return waited::aborted;
    if (const auto result = world.poisoned(); result != ncclSuccess) {
      set_last_error(world.poison_text());
      c.fail(result);
      return waited::failed;
    }
    for (int r = 0; r < c.size; ++r) {
      // It may have come and then left: looked at in this order.
      if (missing(r) && world.gone(r) && !ready() && missing(r)) {
        warn("%s: rank %d: connection closed by remote peer, rank %d", what, c.rank, r);
        c.fail(ncclRemoteError);  // as misc/socket.cc does where a peer's connection closes
        return waited::failed;
      }
    }
    if (!told && std::chrono::steady_clock::now() - start > stall_limit()) {
      char ranks[200] = "";
      std::size_t used = 0;
      for (int r = 0; r < c.size && used + 8 < sizeof ranks; ++r) {
        if (missing(r)) used += static_cast<std::size_t>(std::snprintf(ranks + used, sizeof ranks - used, " %d", r));
      }
      report_stall(c, what, ranks);
      told = true;
    }
    world.wait(bell);
  }
}

template <class Missing>
waited wait_for_ranks(communicator& c, segment& world, const char* what, const Missing& missing) {
  const auto ready = [&] {
    for (int r = 0; r < c.size; ++r) {
      if (missing(r)) return false;
    }
    return true;
  };
  return wait_until(c, world, what, ready, missing);
}

}  // namespace fake
