// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/whole.hpp"

#include "catch.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {
sw::tree model() {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {50, 10});  // 2000 bytes
  t.add("small.weight", sw::dtype::f32, {1, 9});    // 36 bytes
  t.add("vector.weight", sw::dtype::f32, {491});    // 1964 bytes, no matrix
  return t;
}
}  // namespace

TEST_CASE("a large matrix that no rule covers is found with its bytes and its share", "[audit]") {
  sw::imported_plan plan;
  plan.add("small", "colwise");
  const sw::sharding s = sw::shard(plan, model(), {.tp = 1});
  const auto found = sw::unruled_matrices(s);
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "embed.weight");
  CHECK(found[0].bytes == 2000);
  CHECK(found[0].share == Approx(0.5));
}

TEST_CASE("what a row covers, what is small and what is no matrix is not found", "[audit]") {
  sw::imported_plan plan;
  plan.add("embed.**", "replicate(said)");
  CHECK(sw::unruled_matrices(sw::shard(plan, model(), {.tp = 2})).empty());
  sw::imported_plan other;
  other.add("vector", "replicate");
  CHECK(sw::unruled_matrices(sw::shard(other, model(), {.tp = 2})).size() == 1);
  CHECK(sw::unruled_matrices(sw::shard(other, model(), {.tp = 2}), 0.5).empty());
  CHECK(sw::unruled_matrices(sw::shard(other, model(), {.tp = 2}), 0.001).size() == 2);
}
