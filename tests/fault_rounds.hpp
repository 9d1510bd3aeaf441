// SPDX-License-Identifier: Apache-2.0
// How often a fault is tried: each time threads and processes may be elsewhere.
#pragma once
#include <cstdlib>

/// The environment's SHARDWISE_FAULT_ROUNDS, which a long run raises.
inline int fault_rounds(int usually) {
  const char* wanted = std::getenv("SHARDWISE_FAULT_ROUNDS");
  return wanted != nullptr ? std::atoi(wanted) : usually;
}
