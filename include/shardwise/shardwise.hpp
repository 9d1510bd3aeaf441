// SPDX-License-Identifier: Apache-2.0
// Everything that needs only the standard library, in the order of the flow. The plans of known families are apart, in
// models.hpp: a plan of one's own does not pay for them.
#pragma once
// clang-format off
// IWYU pragma: begin_exports
#include "shardwise/plan.hpp"
#include "shardwise/model.hpp"
#include "shardwise/match.hpp"
#include "shardwise/shard.hpp"
#include "shardwise/comm.hpp"
#include "shardwise/run.hpp"
#include "shardwise/audit.hpp"
#include "shardwise/version.hpp"
// IWYU pragma: end_exports
// clang-format on
