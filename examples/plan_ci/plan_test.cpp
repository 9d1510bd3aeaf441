// SPDX-License-Identifier: Apache-2.0
// Runs without weights and without a GPU, in milliseconds.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
#include <shardwise/checkpoint/headers.hpp>
#include <shardwise/testing.hpp>

#include "plan.hpp"

TEST_CASE("the plan is right for every size that we serve") {
  const auto model = shardwise::checkpoint::read_headers(MODEL);  // names and shapes; or a checkpoint's folder
  for (int tp : {1, 2}) CHECK_THAT(shardwise::audit(our_plan, model.tree(), tp), shardwise::testing::IsClean());
}

TEST_CASE("what would go wrong is seen here, not after minutes of loading") {
  const auto model = shardwise::checkpoint::read_headers(MODEL);
  const auto no_head = our_plan.with({{"lm_head", shardwise::colwise}});
  CHECK(shardwise::audit(no_head, model.tree(), 2).has(shardwise::finding_kind::logits_width));
  CHECK(
      shardwise::audit(our_plan, model.tree(), 8).has(shardwise::finding_kind::cut_inside_head));  // 2 key/value heads
}
