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

TEST_CASE("names that Hugging Face has renamed mean what they meant, and are reported", "[plan]") {
  // From its releases 4.57 and 5.23.0.
  constexpr const char* names[][2] = {{"colwise_rep", "colwise_gather_output"},
                                      {"rowwise_rep", "rowwise_split_input"},
                                      {"local_colwise", "colwise"},
                                      {"local_rowwise", "rowwise"},
                                      {"local_packed_colwise", "packed_colwise"},
                                      {"local_packed_rowwise", "packed_rowwise"},
                                      {"vocab_parallel_rowwise", "embedding_rowwise"}};
  sw::imported_plan plan;
  plan.add("first", "colwise");
  std::size_t row = 0;
  for (const auto& [before, now] : names) {
    CHECK(sw::parse_style(before) == sw::parse_style(now));
    CHECK(sw::renamed_to(before) == now);
    CHECK(sw::renamed_to(now).empty());
    const std::string pattern = "row" + std::to_string(row++);
    plan.add(pattern, before).add(pattern, before);
    REQUIRE(plan.renamed().size() == row);
    CHECK(plan.renamed()[row - 1].pattern == pattern);
    CHECK(plan.renamed()[row - 1].old_name == before);
    CHECK(plan.renamed()[row - 1].new_name == now);
  }
  plan.replace("row0", "replicate").replace("row1", "local_colwise");
  CHECK(plan.renamed().size() == row - 1);
  CHECK(plan.renamed()[row - 2].pattern == "row1");
  CHECK(plan.renamed()[row - 2].new_name == "colwise");
}

TEST_CASE("names that Hugging Face has removed are refused with the way to say it now", "[plan]") {
  constexpr const char* names[][2] = {{"ep_router", "leave the router's row out"},
                                      {"megamoe_experts", "grouped_gemm"},
                                      {"gather", "all_reduce"},
                                      {"local", "rowwise adds its bias once"},
                                      {"isolated", "rowwise adds its bias once"}};
  for (const auto& [name, advice] : names) {
    CHECK_THROWS_MATCHES(sw::parse_style(name), sw::plan_error,
                         says("'" + std::string(name) + "' was removed by Hugging Face: ") && says(advice));
  }
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

TEST_CASE("a plan has as many rows as an owner can count, each known by its pattern", "[plan]") {
  sw::imported_plan plan;
  for (std::size_t i = 0; i < sw::max_rules; ++i) plan.add("layers." + std::to_string(i), "colwise");
  CHECK_THROWS_MATCHES(plan.add("one", "colwise"), sw::plan_error, says("65535 rows at most"));
  plan.add("layers.65534", "colwise");  // is there already
  CHECK(plan.size() == sw::max_rules);
  // What is left is still known.
  static constexpr auto expert = sw::plan({{"layers.0", sw::grouped_gemm}});
  plan.leave_to(expert).replace("layers.65534", "rowwise");
  REQUIRE(plan.size() == sw::max_rules - 1);
  CHECK(sw::plan_view(plan)[plan.size() - 1].how.kind == sw::style_kind::rowwise);
}

TEST_CASE("an expert-parallel plan says so of its rows and has no experts that are cut", "[plan]") {
  sw::imported_plan plan(sw::parallelism::expert);
  plan.add("mlp.experts", "ep_dispatch_experts").add("mlp.experts.up", "grouped_gemm").add("mlp.gate", "colwise");
  for (const sw::rule& r : sw::plan_view(plan)) CHECK(r.over == sw::parallelism::expert);
  CHECK_THROWS_MATCHES(
      plan.add("experts", "moe_tp_experts"), sw::plan_error,
      says("'experts': moe_tp_experts is a style of the tensor-parallel plan") && says("ep_dispatch_experts"));
  CHECK_THROWS_AS(plan.replace("mlp.experts", "moe_tp_experts"), sw::plan_error);
  static constexpr auto tensor = sw::plan({{"x", sw::moe_tp_experts}});
  CHECK_THROWS_AS(plan.add(tensor), sw::plan_error);
  CHECK(tensor.expert_parallel()[0].over == sw::parallelism::expert);
}

TEST_CASE("rows of another plan are taken along as they are, and replaced as a user's own plan replaces them",
          "[plan]") {
  sw::imported_plan plan;
  {
    const std::string pattern = "layers.*.{q,k}", why = "too small";
    const sw::rule rows[] = {{pattern.c_str(), sw::colwise.units("heads")}, {"norm", sw::replicate(why.c_str())}};
    plan.add(sw::plan_view(rows, 2));
    CHECK_THROWS_MATCHES(plan.add("norm", "colwise"), sw::plan_error, says("two styles"));
    plan.add(sw::plan_view(rows, 2));
  }
  REQUIRE(plan.size() == 2);
  CHECK(sw::find_parameter_rule(plan, "layers.first.k.weight").rule == 0);
  const sw::plan_view rows = plan;
  CHECK(rows[0].how == sw::style(sw::colwise.units("heads")));
  CHECK(rows[1].how.reason == "too small");
  CHECK_FALSE(rows[1].optional);

  plan.add("seldom", "colwise").replace("seldom", "rowwise").replace("new", "rowwise");
  REQUIRE(plan.size() == 4);
  CHECK(sw::plan_view(plan)[2].how.kind == sw::style_kind::rowwise);
  CHECK(sw::plan_view(plan)[2].optional);        // as the row was that it replaces
  CHECK_FALSE(sw::plan_view(plan)[3].optional);  // a user's own row was meant to match
}
