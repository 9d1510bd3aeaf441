// SPDX-License-Identifier: Apache-2.0
#include "shardwise/match/tree_coverage.hpp"

#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/model/members.hpp"

namespace sw = shardwise;

namespace {

struct tensor {};
struct linear {
  tensor weight;
  std::optional<tensor> bias;
  SHARDWISE_MEMBERS(linear, weight, bias)
};
struct layer {
  linear q, k;
  tensor norm;
  SHARDWISE_MEMBERS(layer, q, k, norm)
};
struct model {
  std::vector<layer> layers;
  linear head;
  SHARDWISE_MEMBERS(model, layers, head)
};

/// The same model as a tree, of one layer, so that its parameters have the same indices as in the schema.
sw::tree as_tree() {
  sw::tree t;
  for (const char* name : {"layers.0.q.weight", "layers.0.q.bias", "layers.0.k.weight", "layers.0.k.bias",
                           "layers.0.norm", "head.weight", "head.bias"}) {
    t.add(name, sw::dtype::f32, {4});
  }
  return t;
}

constexpr auto layers = sw::plan({{"layers.*.{q,k}", sw::colwise}, {"layers.*.norm", sw::replicate}});
constexpr auto head = sw::plan({{"head", sw::colwise_gather_output}});
constexpr auto complete = layers + head;
constexpr auto tie = complete + sw::plan({{"layers.*.k", sw::rowwise}});
constexpr auto idle = complete + sw::plan({{"layers.*.v", sw::colwise}, {"layers.*", sw::all_reduce}});
constexpr auto family = idle.optional();
constexpr auto no_half = layers + sw::plan({{"head", sw::all_reduce}});

}  // namespace
template <>
inline constexpr bool sw::is_parameter<tensor> = true;

namespace {
template <const auto& Plan>
void check_same() {
  constexpr const sw::coverage_verdict& type = sw::coverage<model, Plan>;
  const sw::coverage_verdict tree = sw::coverage_of(Plan, as_tree());
  CHECK(tree.holes == type.holes);
  CHECK(tree.ties == type.ties);
  CHECK(tree.idle == type.idle);
  for (std::size_t i = 0; i < sw::named_findings; ++i) {
    CHECK(tree.hole[i] == type.hole[i]);
    CHECK(tree.tie[i] == type.tie[i]);
    CHECK(tree.idle_rule[i] == type.idle_rule[i]);
  }
}
}  // namespace

TEST_CASE("a tree's coverage is that of the described type with the same parameters", "[match]") {
  check_same<complete>();
  check_same<layers>();
  check_same<tie>();
  check_same<idle>();
  check_same<family>();
  check_same<no_half>();
}

TEST_CASE("coverage of a tree counts holes, ties and idle rules, by index", "[match]") {
  CHECK(sw::coverage_of(complete, as_tree()));
  const sw::coverage_verdict hole = sw::coverage_of(layers, as_tree());
  CHECK(hole.holes == 2);
  CHECK(hole.hole[0] == 5);
  CHECK(hole.hole[1] == 6);
  const sw::coverage_verdict tied = sw::coverage_of(tie, as_tree());
  CHECK(tied.ties == 2);
  CHECK(tied.tie[0] == 2);
  CHECK(tied.tie[1] == 3);
  const sw::coverage_verdict unused = sw::coverage_of(idle, as_tree());
  CHECK(unused.idle == 1);
  CHECK(unused.idle_rule[0] == 3);
  CHECK(sw::coverage_of(family, as_tree()));
}

TEST_CASE("a tied name needs a rule of its own, and counts as its parameter", "[match]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {8, 4}).tie("embed.weight", "head.weight");
  const auto embed = sw::plan({{"embed", sw::embedding_rowwise}});
  const sw::coverage_verdict v = sw::coverage_of(embed, t);
  CHECK(v.holes == 1);
  CHECK(v.hole[0] == 0);
  CHECK(sw::coverage_of(embed + head, t));
}
