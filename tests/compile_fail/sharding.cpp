// SPDX-License-Identifier: Apache-2.0
// `shard`, which checks the plan, is the only maker of a sharding.
//! error[BY_HAND] gcc: is private within this context
//! error[BY_HAND] clang: calling a private constructor of class 'shardwise::sharding'
#include "shardwise/shard.hpp"

namespace sw = shardwise;

sw::sharding make(sw::plan_view plan, const sw::tree& tree) {
#if defined(BY_HAND)
  return sw::sharding();
#else
  return sw::shard(plan, tree);
#endif
}
