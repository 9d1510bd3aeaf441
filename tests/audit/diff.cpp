// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/diff.hpp"

#include <simdjson.h>

#include <string>

#include "audit/small_model.hpp"
#include "catch.hpp"
#include "shardwise/plan/import.hpp"

namespace sw = shardwise;

TEST_CASE("two plans differ in what one of them says otherwise, per parameter, per module and in sums", "[audit]") {
  const sw::tree t = small_model();
  const auto other =
      small_plan.with({{"lm_head", sw::replicate}, {"layers.*.self_attn.{k,v}_proj", sw::colwise_gather_output}});
  const sw::plan_diff d = sw::diff(small_plan, other, t, 2);
  CHECK(d.a.rank_bytes == 2 * (1216 / 2 + 24));
  CHECK(d.b.rank_bytes == 2 * (1216 / 2 + 24 + 64));
  CHECK(d.a.whole_bytes == 2 * 24);
  CHECK(d.b.whole_bytes == 2 * (24 + 128));
  CHECK(d.a.collectives == 6);
  CHECK(d.b.collectives == 6 - 1 + 4);
  CHECK(d.a.sent == 80 + 16);
  CHECK(d.b.sent == 80 + 4 * 4);  // four gathers of 4 features, half of each sent

  REQUIRE(d.parameters.size() == 3);
  CHECK(d.parameters[0].name == "lm_head.weight");
  CHECK(d.parameters[0].a.rank_bytes == 128);
  CHECK(d.parameters[0].b.rank_bytes == 256);
  CHECK(d.parameters[0].b.how.whole());
  CHECK(d.parameters[1].name == "layers.*.self_attn.k_proj.weight");
  CHECK(d.parameters[1].count == 2);
  CHECK(d.parameters[1].b.style == "colwise_gather_output");
  CHECK(d.alike == 17 - 5);

  REQUIRE(d.modules.size() == 3);
  CHECK(d.modules[0].name == "lm_head");
  CHECK(d.modules[0].b.style == "no step");
  CHECK(d.modules[0].a.sent == 16);
  CHECK(d.modules[2].b.then == sw::collective::gather_last_dim);

  const sw::plan_diff same = sw::diff(small_plan, small_plan, t, 4);
  CHECK(same.empty());
  CHECK(same.alike == 17);
  CHECK_THAT(text_of(same), Catch::Contains("the plans treat all 17 parameters alike"));
  CHECK_THROWS_AS(sw::diff(small_plan, small_plan, t, 0), sw::plan_error);
}

TEST_CASE("a rule for one layer is a difference in that layer only", "[audit]") {
  const sw::plan_diff d = sw::diff(small_plan, small_plan.with({{"layers.1.mlp.**", sw::replicate}}), small_model(), 2);
  REQUIRE(d.parameters.size() == 2);
  CHECK(d.parameters[0].name == "layers.1.mlp.gate_up_proj.weight");
  CHECK(d.parameters[0].count == 1);
  const sw::plan_diff both =
      sw::diff(small_plan, small_plan.with({{"layers.{0,1}.mlp.**", sw::replicate}}), small_model(), 2);
  REQUIRE(both.parameters.size() == 2);
  CHECK(both.parameters[0].name == "layers.*.mlp.gate_up_proj.weight");
  CHECK(both.parameters[0].count == 2);
}

TEST_CASE("a difference is printed for a reader and for a program", "[audit]") {
  sw::imported_plan hole;
  for (const sw::rule& r : small_plan) {
    std::string pattern(sw::detail::length_of(r.pattern), ' ');
    sw::detail::write_path(r.pattern, pattern.data());
    if (pattern != "lm_head") hole.add(pattern, r.how.name());
  }
  sw::imported_plan full;
  for (const sw::rule& r : sw::plan_view(hole)) full.add(sw::detail::pattern_text(r), r.how.name());
  full.add("lm_head", "colwise_gather_output");
  const sw::plan_diff d = sw::diff(hole, full, small_model(), 2);
  CHECK(text_of(d) ==
        "tp 2                         A        B  change\n"
        "bytes per rank         1.39 kB  1.26 kB  -128 B\n"
        "whole on every rank      304 B     48 B  -256 B\n"
        "collectives per token        5        6      +1\n"
        "sent per token            80 B     96 B   +16 B\n"
        "\n"
        "parameter       A               B                             times  A per rank  B per rank  change\n"
        "lm_head.weight  no rule, whole  colwise_gather_output, dim 0      1       256 B       128 B  -128 B\n"
        "\n"
        "module   A        B                                       times  A sends  B sends  change\n"
        "lm_head  no step  colwise_gather_output, gather_last_dim      1      0 B     16 B   +16 B\n"
        "\n"
        "16 parameters are treated alike\n");
  simdjson::dom::parser parser;
  const simdjson::dom::element json = parser.parse(to_json(d));
  CHECK(std::uint64_t(json["b"]["bytes_per_rank"]) == 1264);
  CHECK(json["parameters"].at(0)["a"]["dim"].is_null());
  CHECK(std::int64_t(json["parameters"].at(0)["b"]["dim"]) == 0);
  CHECK(std::string_view(json["modules"].at(0)["b"]["collective"]) == "gather_last_dim");
}
