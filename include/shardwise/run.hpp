// SPDX-License-Identifier: Apache-2.0
// Step 7, RUN: placements as types, and the collective after each style.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/run/dispatch.hpp"
#include "shardwise/run/experts.hpp"
#include "shardwise/run/gather_output.hpp"
#include "shardwise/run/gathered.hpp"
#include "shardwise/run/host.hpp"
#include "shardwise/run/host_dispatch.hpp"
#include "shardwise/run/logits.hpp"
#include "shardwise/run/logits_memory.hpp"
#include "shardwise/run/logits_policy.hpp"
#include "shardwise/run/placed.hpp"
#include "shardwise/run/product.hpp"
#include "shardwise/run/run.hpp"
#include "shardwise/run/sequence_parallel.hpp"
// IWYU pragma: end_exports
