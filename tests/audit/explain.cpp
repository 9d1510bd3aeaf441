// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/explain.hpp"

#include <simdjson.h>

#include <string>

#include "audit/small_model.hpp"
#include "catch.hpp"
#include "shardwise/plan/import.hpp"

namespace sw = shardwise;

TEST_CASE("a parameter is explained by its rule, its slices, its module's step and what limits it", "[audit]") {
  const sw::tree t = small_model();
  const sw::explanation e = sw::explain(small_plan, t, "layers.1.mlp.gate_up_proj.weight", 2);
  REQUIRE(e.parameters.size() == 1);
  const sw::explained_parameter& p = e.parameters[0];
  CHECK(p.name == "layers.1.mlp.gate_up_proj.weight");
  CHECK(p.count == 1);
  CHECK(p.rule == "layers.*.mlp.gate_up_proj");
  CHECK(p.style == "packed_colwise of 2 groups");
  CHECK(p.where == sw::placement(sw::sharded<0>{}));
  REQUIRE(p.ranks.size() == 2);
  REQUIRE(p.ranks[1].count == 2);  // of each of two groups of 12 rows the second half
  CHECK(p.ranks[1].at[0] == sw::box{{6, 0}, {6, 8}});
  CHECK(p.ranks[1].at[1] == sw::box{{18, 0}, {6, 8}});
  CHECK(p.rank_bytes == std::vector<std::size_t>{192, 192});
  CHECK(p.even == std::vector<int>{1, 2, 3, 4, 6, 12});
  CHECK(p.limit ==
        "it consists of 12 elements in each of 2 groups; the next number of ranks that can share it evenly is 3");
  REQUIRE(e.modules.size() == 1);
  CHECK(e.modules[0].then == sw::collective::none);
  CHECK(e.modules[0].output == sw::placement(sw::sharded<-1>{}));

  const sw::explanation down = sw::explain(small_plan, t, "layers.*.mlp.down_proj.weight", 4);
  REQUIRE(down.parameters.size() == 1);
  CHECK(down.parameters[0].count == 2);
  CHECK(down.parameters[0].where == sw::placement(sw::sharded<-1>{}));
  REQUIRE(down.modules.size() == 1);
  CHECK(down.modules[0].then == sw::collective::all_reduce);
  CHECK(down.modules[0].payload == 8 * 2);
  CHECK(down.modules[0].sent == 16 * 2 * 3 / 4);
}

TEST_CASE("what cannot be cut finer is explained by what limits it", "[audit]") {
  const sw::tree t = small_model();
  const sw::explained_parameter k = sw::explain(small_plan, t, "layers.0.self_attn.k_proj.weight", 4).parameters.at(0);
  CHECK(k.refusal == "2 key/value heads over 4 ranks (num_key_value_heads, layers.*.self_attn.k_proj.weight)");
  CHECK(k.ranks.empty());
  CHECK(k.even == std::vector<int>{1, 2});
  CHECK_THAT(k.limit, Catch::StartsWith("it consists of 2 key/value heads (num_key_value_heads), which are not cut"));

  sw::imported_plan plan;
  plan.add("lm_head", "colwise").add("layers.*.mlp.down_proj", "rowwise");
  const auto why = [&](const char* name) { return sw::explain(plan, t, name, 3).parameters.at(0).limit; };
  CHECK_THAT(why("norm.weight"), Catch::StartsWith("no rule of the plan speaks of it"));
  CHECK_THAT(why("lm_head.weight"), Catch::Contains("dealt as torch.chunk does"));
  CHECK(sw::explain(small_plan, t, "norm.weight", 2).parameters.at(0).limit == "the plan says why: a norm");
  const sw::explained_parameter head = sw::explain(plan, t, "lm_head.weight", 3).parameters.at(0);
  CHECK(head.rank_bytes == std::vector<std::size_t>{96, 96, 64});  // 6, 6 and 4 rows of 8 elements
  CHECK(head.even == std::vector<int>{1, 2, 4, 8, 16});
  CHECK(head.uneven.size() == 64 - 5);
  sw::tree biased;
  biased.add("o.weight", sw::dtype::f32, {4, 4}).add("o.bias", sw::dtype::f32, {4});
  const auto rows = sw::plan({{"o", sw::rowwise}});
  CHECK_THAT(sw::explain(rows, biased, "o.bias", 2).parameters.at(0).limit, Catch::Contains("added once"));
}

TEST_CASE("a module, a pattern and a tied name are explained, each with what is below or above it", "[audit]") {
  sw::tree t = small_model();
  const sw::explanation mlp = sw::explain(small_plan, t, "layers.1.mlp", 2);
  CHECK(mlp.parameters.size() == 2);
  REQUIRE(mlp.modules.size() == 3);  // itself, and the two that have steps
  CHECK(mlp.modules[0].name == "layers.*.mlp");
  CHECK(sw::explain(small_plan, t, "layers.*.self_attn.{k,v}_proj.weight", 2).parameters.size() == 2);
  CHECK(sw::explain(small_plan, t, "layers.0.**", 2).parameters.size() == 7);
  CHECK(sw::explain(small_plan, t, "**.self_attn", 2).modules.size() == 5);
  CHECK_THROWS_AS(sw::explain(small_plan, t, "layers.*{.k", 2), sw::plan_error);
  CHECK_THROWS_AS(sw::explain(small_plan, t, "norm", 0), sw::plan_error);

  sw::tree tied;
  tied.add("embed.weight", sw::dtype::f32, {4, 2}).tie("embed.weight", "lm_head.weight");
  const auto plan = sw::plan({{"embed", sw::embedding_rowwise}, {"lm_head", sw::colwise_gather_output}});
  const sw::explanation head = sw::explain(plan, tied, "lm_head.weight", 2);
  CHECK(head.parameters.at(0).alias_of == "embed.weight");
  CHECK(head.modules.at(0).then == sw::collective::gather_last_dim);
}

TEST_CASE("an unknown name is answered with the nearest ones", "[audit]") {
  const sw::tree t = small_model();
  struct row {
    const char *asked, *nearest;
    std::size_t count;
  };
  const row rows[] = {{"lm_haed.weight", "lm_head.weight", 1},
                      {"k_proj.weight", "layers.*.self_attn.k_proj.weight", 1},
                      {"layers.7.mlp.down_proj.weight", "layers.*.mlp.down_proj.weight", 1},
                      {"model.layers.0.mlp.down_proj.weight", "layers.*.mlp.down_proj.weight", 2}};
  for (const row& r : rows) {
    CAPTURE(r.asked);
    const sw::explanation e = sw::explain(small_plan, t, r.asked, 2);
    CHECK(!e.found());
    REQUIRE(!e.nearest.empty());
    CHECK(e.nearest[0] == r.nearest);
    if (r.count == 1) CHECK_THAT(text_of(e), Catch::Contains("is called '" + std::string(r.asked) + "'; did you mean"));
  }
  CHECK(text_of(sw::explain(small_plan, t, "z", 2)) == "no parameter and no module is called 'z'\n");
  CHECK(sw::explain(small_plan, t, "no.*.such", 2).parameters.empty());
}

TEST_CASE("an explanation is printed for a reader and for a program", "[audit]") {
  const sw::explanation e = sw::explain(small_plan, small_model(), "layers.*.self_attn.o_proj.weight", 2);
  CHECK(text_of(e) ==
        "layers.*.self_attn.o_proj.weight (2 alike)\n"
        "  shape      [8, 8] BF16, 128 B each\n"
        "  rule       'layers.*.self_attn.o_proj': rowwise in units of num_attention_heads\n"
        "  placement  sharded on its last dim, 1\n"
        "  rank 0     [:, 0:4], 64 B\n"
        "  rank 1     [:, 4:8], 64 B\n"
        "  limit      it consists of 4 heads (num_attention_heads), which are not cut; the next number of ranks that "
        "can share it evenly is 4\n"
        "  ranks      shared evenly by 1, 2, 4\n"
        "\n"
        "module layers.*.self_attn.o_proj (2 alike)\n"
        "  rule       'layers.*.self_attn.o_proj': rowwise in units of num_attention_heads\n"
        "  input      sharded on its last dim\n"
        "  output     a partial sum, which all_reduce makes replicated\n"
        "  sends      8 elements a token, 16 B; a rank sends 16 B\n");
  simdjson::dom::parser parser;
  const simdjson::dom::element json = parser.parse(to_json(e));
  const simdjson::dom::element p = json["parameters"].at(0);
  CHECK(std::string_view(p["placement"]) == "sharded");
  CHECK(std::int64_t(p["dim"]) == 1);
  CHECK(std::uint64_t(p["ranks"].at(1)["slices"].at(0).at(1).at(0)) == 4);
  CHECK(p["reason"].is_null());
  CHECK(std::string_view(json["modules"].at(0)["collective"]) == "all_reduce");
  const std::string many = text_of(sw::explain(sw::plan({{"**", sw::colwise}}), small_model(), "lm_head.weight", 16));
  CHECK_THAT(many, Catch::Contains(
                       "  rank 3     [3:4, :], 16 B\n  ...        11 more ranks\n  rank 15    [15:16, :], 16 B\n"));
}
