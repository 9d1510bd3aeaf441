// SPDX-License-Identifier: Apache-2.0
// Step 6, RUN: what shardwise asks of a group of ranks, and the ranks that need no GPU.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/comm/any_communicator.hpp"
#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/environment.hpp"
#include "shardwise/comm/groups.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/observer.hpp"
#include "shardwise/comm/rendezvous.hpp"
#include "shardwise/comm/same_schedule.hpp"
#include "shardwise/comm/tally.hpp"
#include "shardwise/comm/with_all_reduce.hpp"
// IWYU pragma: end_exports
