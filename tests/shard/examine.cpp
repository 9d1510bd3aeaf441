// SPDX-License-Identifier: Apache-2.0
#include "shardwise/shard/examine.hpp"

#include <string>

#include "catch.hpp"

namespace sw = shardwise;

namespace {
sw::tree model() {
  sw::tree t;
  t.config("", "num_key_value_heads", 2).config("", "odd", 0);
  return t;
}
constexpr auto plan = sw::plan({{"k", sw::colwise.units("num_key_value_heads")},
                                {"o", sw::rowwise},
                                {"e", sw::embedding_colwise},
                                {"z", sw::colwise.units("odd")},
                                {"m", sw::colwise.units("missing")},
                                {"{t,u}", sw::colwise},
                                {"{t,v}", sw::colwise}});
std::string refusal(const char* name, const sw::tensor_shape& shape, int tp) {
  const sw::tree t = model();
  sw::error e("");
  append_refusal(e, sw::examine(plan, t, name, shape, tp), plan, t, name, shape, tp);
  return std::string(e.text());
}
}  // namespace

TEST_CASE("one parameter is examined without a throw", "[shard]") {
  const sw::tree t = model();
  const sw::examined k = sw::examine(plan, t, "k.weight", {512, 64}, 2);
  CHECK(!k.refused());
  CHECK(k.who.rule == 0);
  CHECK(k.how == sw::cut{0, 1, sw::division::exact, 2});
  CHECK(sw::examine(plan, t, "o.bias", {64}, 2).how.whole());
  CHECK(!sw::examine(plan, t, "norm.weight", {64}, 2).covered());

  // What is refused keeps the cut that was meant: an audit weighs it.
  const sw::examined refused = sw::examine(plan, t, "k.weight", {512, 64}, 8);
  CHECK(refused.why == sw::refusal::does_not_divide);
  CHECK(refused.how == k.how);
}

TEST_CASE("the sentence of a refusal says what, over how many, and the way out", "[shard]") {
  CHECK(refusal("k.weight", {512, 64}, 2).empty());
  CHECK(refusal("k.weight", {512, 64}, 8) ==
        "'k.weight': 2 key/value heads over 8 ranks (num_key_value_heads); legal sizes: 1, 2");
  CHECK(refusal("o.weight", {64, 6}, 4) == "'o.weight': 6 elements over 4 ranks; legal sizes: 1, 2, 3, 6");
  CHECK(refusal("e.weight", {64}, 2) ==
        "'e.weight' has 1 dim, and embedding_colwise cuts dim 1: use another style, or replicate");
  CHECK(refusal("z.weight", {4, 4}, 2) == "units(\"odd\") of 'z.weight' is 0 in the config; it must be at least 1");
  CHECK(refusal("m.weight", {4, 4}, 2) == "units(\"missing\") of 'm.weight': the config has no number of that name");
  CHECK(refusal("t.weight", {4, 4}, 2) ==
        "two rules are equally specific for 't.weight': '{t,u}' and '{t,v}'; make one of them more literal, or say it "
        "in .with({...})");
}
