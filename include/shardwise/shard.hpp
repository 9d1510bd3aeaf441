// SPDX-License-Identifier: Apache-2.0
// Step 4, SHARD: from rule, shape and number of ranks to each rank's slices.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/shard/examine.hpp"
#include "shardwise/shard/export.hpp"
#include "shardwise/shard/fingerprint.hpp"
#include "shardwise/shard/layout.hpp"
#include "shardwise/shard/manifest.hpp"
#include "shardwise/shard/schedule.hpp"
#include "shardwise/shard/shard.hpp"
#include "shardwise/shard/sharding.hpp"
#include "shardwise/shard/slice.hpp"
#include "shardwise/shard/step.hpp"
#include "shardwise/shard/unshard.hpp"
// IWYU pragma: end_exports
