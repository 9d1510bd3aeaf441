// SPDX-License-Identifier: Apache-2.0
#include "shardwise/plan/import.hpp"

#include <string>

#include "catch.hpp"
#include "shardwise/match/match.hpp"

namespace sw = shardwise;

static_assert(sw::detail::distance("colwise", "colwise") == 0);
static_assert(sw::detail::distance("colwize", "colwise") == 1);
static_assert(sw::detail::distance("", "abc") == 3);
static_assert(sw::detail::distance("rowwise", "colwise") == 2);

TEST_CASE("every style of the table is read by its own name, and packed ones have two groups", "[plan]") {
  for (const sw::style_facts& f : sw::style_table) CHECK(sw::parse_style(f.name).kind == f.kind);
  CHECK(sw::parse_style("packed_colwise") == sw::style(sw::packed_colwise<2>));
  CHECK(sw::parse_style("packed_rowwise") == sw::style(sw::packed_rowwise<2>));
}

TEST_CASE("names that Hugging Face has renamed mean what they meant", "[plan]") {
  CHECK(sw::parse_style("colwise_rep") == sw::style(sw::colwise_gather_output));
  CHECK(sw::parse_style("rowwise_rep") == sw::style(sw::rowwise_split_input));
  CHECK(sw::parse_style("local_packed_rowwise") == sw::style(sw::packed_rowwise<2>));
}

TEST_CASE("replicate takes a reason in parentheses", "[plan]") {
  const sw::style s = sw::parse_style("replicate(no plan yet)");
  CHECK(s.kind == sw::style_kind::replicate);
  CHECK(s.reason == "no plan yet");
  CHECK_THROWS_AS(sw::parse_style("replicate()"), sw::plan_error);
  CHECK_THROWS_AS(sw::parse_style("replicate(open"), sw::plan_error);
}

TEST_CASE("an unknown style is refused with the nearest name and all known ones", "[plan]") {
  CHECK_THROWS_MATCHES(sw::parse_style("colwize"), sw::plan_error,
                       says("unknown style 'colwize'; did you mean 'colwise'?"));
  CHECK_THROWS_MATCHES(sw::parse_style("something else entirely"), sw::plan_error, says("embedding_rowwise"));
  CHECK_THROWS_MATCHES(sw::parse_style(std::string(5000, 'x')), sw::plan_error, says("..."));
}

TEST_CASE("a row with ** or braces is matched by our rules and every other by Hugging Face's", "[plan]") {
  sw::imported_plan plan;
  plan.add("layers.*.up", "colwise").add("visual.**", "replicate(why)").add("layers.*.{q,k}", "rowwise");
  REQUIRE(plan.size() == 3);
  CHECK(sw::find_parameter_rule(plan, "layers.3.up.weight").rule == 0);
  CHECK(sw::find_parameter_rule(plan, "layers.first.up.weight").rule == sw::no_rule);  // a star is a number there
  CHECK(sw::find_parameter_rule(plan, "visual.a.b.c").rule == 1);
  CHECK(sw::find_parameter_rule(plan, "layers.first.k.weight").rule == 2);
  for (const sw::rule& r : sw::plan_view(plan)) CHECK(r.how.divided == sw::division::chunk);
}

TEST_CASE("an imported plan owns its texts", "[plan]") {
  sw::imported_plan plan;
  {
    std::string pattern = "layers.*.up", how = "replicate(for a while)";
    plan.add(pattern, how);
    pattern.assign(pattern.size(), '?');
    how.assign(how.size(), '?');
  }
  CHECK(sw::find_module_rule(plan, "layers.7.up").rule == 0);
  CHECK(sw::plan_view(plan)[0].how.reason == "for a while");
}

TEST_CASE("the same pattern twice is one row, and with another style refused", "[plan]") {
  sw::imported_plan plan;
  plan.add("a", "colwise").add("a", "colwise");
  CHECK(plan.size() == 1);
  CHECK_THROWS_MATCHES(plan.add("a", "rowwise"), sw::plan_error,
                       says("the same pattern has two styles, colwise and rowwise: a"));
}
