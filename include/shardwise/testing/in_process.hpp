// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/comm/in_process.hpp"

namespace shardwise {
inline namespace v0 {
namespace testing {

/// `in_process(ranks, [](auto& comm) { ... })`: the ranks of a test as threads of its process. Checks belong outside:
/// Catch2's assertions are for one thread.
using shardwise::in_process;

}  // namespace testing
}  // namespace v0
}  // namespace shardwise
