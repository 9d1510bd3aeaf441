// SPDX-License-Identifier: Apache-2.0
// Weights are loaded by a sharding, which `shard` has checked; a plan is refused in words.
//! error[PLAN]: load_needs_a_sharding<...>: load takes a sharding; make one with shard\(plan, tree, \{\.tp = n\}\)
//! error[VIEW]: load_needs_a_sharding<...>: load takes a sharding
#include "shardwise/checkpoint.hpp"
#include "shardwise/shard.hpp"

namespace sw = shardwise;

inline constexpr auto plan = sw::plan({{"lm_head", sw::colwise_gather_output}});

sw::load_report fill(const sw::memory_source& source, const sw::tree& tree) {
  const auto weights = [](const sw::sharded_parameter&, const sw::tensor_shape&) { return sw::tensor_view(); };
#if defined(PLAN)
  return sw::load(plan, 0, source, weights);
#elif defined(VIEW)
  return sw::load(sw::plan_view(plan), 0, source, weights, {.allow_missing = {"**"}});
#else
  return sw::load(sw::shard(plan, tree), 0, source, weights, {.allow_missing = {"**"}});
#endif
}
