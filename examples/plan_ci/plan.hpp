// SPDX-License-Identifier: Apache-2.0
// The plan that we serve Qwen3.5-35B-A3B by: the one that comes with shardwise, with a word of our own.
#pragma once
#include <shardwise/models/qwen3_5_moe.hpp>

inline constexpr auto our_plan = shardwise::models::qwen3_5_moe::for_conditional_generation.with({
    {"model.visual.**", shardwise::replicate("an image a second: the vision tower is not worth a collective")},
});
