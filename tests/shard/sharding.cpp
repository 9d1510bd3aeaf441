// SPDX-License-Identifier: Apache-2.0
// What `shard` makes of a plan and a tree, and the full text of what it refuses.
#include "shardwise/shard/sharding.hpp"

#include <string>
#include <utility>

#include "catch.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {

/// The sentence with which a plan is refused; "" where it is not.
template <class Error>
std::string refusal(sw::plan_view plan, const sw::tree& model, const sw::shard_options& options) {
  try {
    (void)sw::shard(plan, model, options);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

sw::tree linears() {
  sw::tree t;
  t.add("up.weight", sw::dtype::f32, {12, 4}).add("up.bias", sw::dtype::f32, {12});
  t.add("down.weight", sw::dtype::bf16, {4, 12}).add("down.bias", sw::dtype::bf16, {4});
  return t;
}
constexpr auto up_down = sw::plan({{"up", sw::colwise}, {"down", sw::rowwise}});

/// Llama's attention of 9 heads and 3 key/value heads of 4, in two layers, under a prefix.
sw::tree attention(const std::string& prefix, const std::string& section) {
  sw::tree t;
  for (const char* layer : {"layers.0.", "layers.1."}) {
    t.add(prefix + layer + "q_proj.weight", sw::dtype::f32, {36, 8});
    t.add(prefix + layer + "k_proj.weight", sw::dtype::f32, {12, 8});
    t.add(prefix + layer + "o_proj.weight", sw::dtype::f32, {8, 36});
  }
  t.config(section, "num_attention_heads", 9).config(section, "num_key_value_heads", 3);
  return t;
}
constexpr auto heads = sw::plan({
    {"layers.*.q_proj", sw::colwise.units("num_attention_heads")},
    {"layers.*.k_proj", sw::colwise.units("num_key_value_heads")},
    {"layers.*.o_proj", sw::rowwise.units("num_attention_heads")},
});

}  // namespace

TEST_CASE("a sharding says shapes, slices, bytes and placements of every parameter", "[shard]") {
  const sw::sharding s = sw::shard(up_down, linears(), {.tp = 2});
  REQUIRE(s.size() == 4);
  CHECK(s.tp() == 2);
  CHECK(s.find("nothing") == sw::sharding::npos);
  const std::size_t up = s.find("up.weight"), bias = s.find("up.bias"), down = s.find("down.weight");
  CHECK(s[up].name == "up.weight");
  CHECK(s[up].shape == sw::tensor_shape{12, 4});
  CHECK(s.local_shape(up, 1) == sw::tensor_shape{6, 4});
  CHECK(s.slices_of(up, 1).at[0] == sw::box{{6, 0}, {6, 4}});
  CHECK(s[up].where() == sw::placement{sw::sharded<0>{}});
  CHECK(s[bias].where() == sw::placement{sw::sharded<-1>{}});
  CHECK(s[down].where() == sw::placement{sw::sharded<-1>{}});
  CHECK(s[s.find("down.bias")].where() == sw::placement{sw::replicated{}});
  CHECK(s.bytes(down, 0) == 4 * 6 * 2);
  CHECK(s.bytes(1) == 6 * 4 * 4 + 6 * 4 + 4 * 6 * 2 + 4 * 2);
}

TEST_CASE("a sharding keeps its own copy of plan, tree and options", "[shard]") {
  const auto make = [] {
    sw::imported_plan plan;
    plan.add("up", "colwise").add("down", "replicate(a reason of its own)");
    const std::string only = "up.* down.*";
    return sw::shard(plan, linears(), {.tp = 2, .only = only});
  };
  sw::sharding s = make();
  const sw::sharding moved = std::move(s);
  CHECK(moved.find("up.weight") == 0);
  CHECK(moved[0].name == "up.weight");
  CHECK(moved.rules()[1].how.reason == "a reason of its own");
  CHECK(moved.rules()[1].pattern.at[0].view() == "down");
  CHECK(moved.step("up").module == "up");
  CHECK(moved.outside("elsewhere"));
}

TEST_CASE("tp outside 1 to 65536 is refused", "[shard]") {
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 0}) ==
        "tp is 0; it is the number of ranks, at least 1 and at most 65536");
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = -2}) != "");
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 65537}) != "");
}

TEST_CASE("units are looked up in the config of the submodel that the parameter belongs to", "[shard]") {
  SECTION("the root's") {
    const sw::sharding s = sw::shard(heads, attention("", ""), {.tp = 3});
    CHECK(s[0].how.units == 9);
    CHECK(s[1].how.units == 3);
    CHECK(s.local_shape(1, 2) == sw::tensor_shape{4, 8});
  }
  SECTION("text_config below language_model, though vision_config has the same field") {
    sw::tree t = attention("model.language_model.", "text_config");
    t.config("vision_config", "num_attention_heads", 5).config("", "num_attention_heads", 7);
    CHECK(sw::shard(heads.under("model.language_model"), t, {.tp = 3})[0].how.units == 9);
  }
  SECTION("vision_config below visual") {
    sw::tree t = attention("model.visual.", "vision_config");
    t.config("text_config", "num_attention_heads", 5).config("", "num_attention_heads", 7);
    CHECK(sw::shard(heads.under("model.visual"), t, {.tp = 3})[0].how.units == 9);
  }
  SECTION("the only submodel that has it, elsewhere") {
    CHECK(sw::shard(heads.under("anything"), attention("anything.", "text_config"), {.tp = 3})[0].how.units == 9);
  }
  SECTION("a section that the field names itself") {
    sw::tree t = attention("", "text_config");
    t.config("", "num_attention_heads", 5);
    const auto plan = heads.with({{"layers.*.q_proj", sw::colwise.units("text_config.num_attention_heads")},
                                  {"layers.*.o_proj", sw::rowwise.units("text_config.num_attention_heads")}});
    const sw::sharding s = sw::shard(plan, t, {.tp = 3});
    CHECK(s[s.find("layers.0.q_proj.weight")].how.units == 9);
  }
}

TEST_CASE("a unit that is missing, ambiguous or below 1 is refused", "[shard]") {
  const auto unknown =
      sw::plan({{"**.{q,k}_proj", sw::colwise.units("n_head")}, {"**.o_proj", sw::replicate("not its point")}});
  CHECK(refusal<sw::shard_error>(unknown, attention("model.language_model.", "text_config"), {}) ==
        "units(\"n_head\") of 'model.language_model.layers.0.q_proj.weight': text_config has no number of that name");
  sw::tree model = attention("decoder.", "text_config");
  CHECK(refusal<sw::shard_error>(unknown, model, {}) ==
        "units(\"n_head\") of 'decoder.layers.0.q_proj.weight': the config has no number of that name");
  model.config("", "n_head", 0);
  CHECK(refusal<sw::shard_error>(unknown, model, {}) ==
        "units(\"n_head\") of 'decoder.layers.0.q_proj.weight' is 0 in the config; it must be at least 1");
  model.config("vision_config", "num_attention_heads", 9);
  CHECK(refusal<sw::shard_error>(heads.under("decoder"), model, {}) ==
        "units(\"num_attention_heads\") of 'decoder.layers.0.q_proj.weight' is ambiguous: text_config and "
        "vision_config both have it; write units(\"text_config.num_attention_heads\")");
}

TEST_CASE("what does not divide is refused once a kind, with what, how many, over how many and the legal sizes",
          "[shard]") {
  CHECK(refusal<sw::shard_error>(heads, attention("", ""), {.tp = 2}) ==
        "the plan does not fit 2 ranks: 9 heads over 2 ranks (num_attention_heads, layers.0.q_proj.weight), and 3 "
        "key/value heads over 2 ranks (num_key_value_heads, layers.0.k_proj.weight); legal sizes: 1, 3");
  CHECK(refusal<sw::shard_error>(heads, attention("", ""), {.tp = 9}) ==
        "the plan does not fit 9 ranks: 3 key/value heads over 9 ranks (num_key_value_heads, layers.0.k_proj.weight); "
        "legal sizes: 1, 3");
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 5}) ==
        "the plan does not fit 5 ranks: 12 elements over 5 ranks (up.weight); legal sizes: 1, 2, 3, 4, 6, 12");
  const auto packed = sw::plan({{"up", sw::packed_colwise<2>}, {"down", sw::replicate}});
  CHECK(refusal<sw::shard_error>(packed, linears(), {.tp = 4}) ==
        "the plan does not fit 4 ranks: 6 elements a group over 4 ranks (up.weight); legal sizes: 1, 2, 3, 6");
  const auto five = sw::plan({{"up", sw::packed_colwise<5>}, {"down", sw::replicate}});
  CHECK(refusal<sw::shard_error>(five, linears(), {}) ==
        "the plan does not fit 1 rank: 12 elements in 5 equal groups (up.weight); legal sizes: none up to 64");
  sw::tree model = linears();
  model.config("", "num_key_value_heads", 5);
  const auto units = sw::plan({{"up", sw::colwise.units("num_key_value_heads")}, {"down", sw::replicate}});
  CHECK(refusal<sw::shard_error>(units, model, {}) ==
        "the plan does not fit 1 rank: 12 elements in 5 equal key/value heads (num_key_value_heads, up.weight); "
        "legal sizes: none up to 64");
  sw::imported_plan imported;
  imported.add("up.weight", "packed_colwise");
  CHECK(refusal<sw::shard_error>(imported, linears(), {.tp = 4}) ==
        "the plan does not fit 4 ranks: 6 elements a group over 4 ranks (some would get none) (up.weight); legal "
        "sizes: 1, 2, 3, 6");
}

TEST_CASE("a plan of ours divides exactly, and one of Hugging Face's as torch.chunk does", "[shard]") {
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 5}) != "");
  const sw::sharding s = sw::shard(up_down.as_hugging_face(), linears(), {.tp = 5});
  CHECK(s.local_shape(0, 3) == sw::tensor_shape{3, 4});
  CHECK(s.local_shape(0, 4) == sw::tensor_shape{0, 4});
  CHECK(s.slices_of(0, 4).count == 0);
}

TEST_CASE("a style that cuts a dim which a parameter does not have is refused", "[shard]") {
  sw::tree t;
  t.add("embed.bias", sw::dtype::f32, {4});
  CHECK(refusal<sw::shard_error>(sw::plan({{"embed", sw::embedding_colwise}}), t, {.tp = 2}) ==
        "'embed.bias' has 1 dim, and embedding_colwise cuts dim 1: use another style, or replicate");
}

TEST_CASE("parameters that no rule covers are refused in a plan of ours, by name", "[shard]") {
  const auto up = sw::plan({{"up", sw::colwise}});
  const std::string text = refusal<sw::shard_error>(up, linears(), {});
  CHECK(text ==
        "no rule of this plan matches 'down.weight', 'down.bias'; add a row for each, replicate(\"why\") for what is "
        "meant to be whole");
  const sw::sharding s = sw::shard(up, linears(), {.tp = 2, .holes = sw::uncovered::whole});
  CHECK_FALSE(s[2].covered());
  CHECK(s[2].how.whole());
  CHECK(s.step("down").output() == sw::placement{sw::replicated{}});
}

TEST_CASE("parameters that no rule covers are whole in a plan of Hugging Face's, unless they shall be refused",
          "[shard]") {
  sw::imported_plan up;
  up.add("up", "colwise");
  CHECK_FALSE(sw::shard(up, linears(), {.tp = 2})[2].covered());
  CHECK(refusal<sw::shard_error>(up, linears(), {.holes = sw::uncovered::refused}) != "");
}

TEST_CASE("eight of many holes are named", "[shard]") {
  sw::tree t;
  for (int i = 0; i < 11; ++i) t.add("layers." + std::to_string(i) + ".norm", sw::dtype::f32, {4});
  t.add("head", sw::dtype::f32, {4});
  const std::string text = refusal<sw::shard_error>(sw::plan({{"head", sw::replicate}}), t, {});
  CHECK(text.find("'layers.6.norm', 'layers.7.norm' and 3 more; add") != std::string::npos);
  CHECK(text.find("layers.8.norm") == std::string::npos);
}

TEST_CASE("a style without a parameter half covers no parameter", "[shard]") {
  sw::tree t;
  t.add("experts.up", sw::dtype::f32, {2, 8, 4}).add("experts.down", sw::dtype::f32, {2, 4, 8});
  const auto plan = sw::plan({{"experts.up", sw::colwise}, {"experts", sw::moe_tp_experts}});
  CHECK(refusal<sw::shard_error>(plan, t, {.tp = 2}).find("'experts.down'") != std::string::npos);
  const sw::sharding s = sw::shard(plan + sw::plan({{"experts.down", sw::rowwise}}), t, {.tp = 2});
  CHECK(s.local_shape(0, 0) == sw::tensor_shape{2, 4, 4});
  CHECK(s.local_shape(1, 0) == sw::tensor_shape{2, 4, 4});
  CHECK(s.step("experts").then() == sw::collective::all_reduce);
}

TEST_CASE("two rules that are equally specific are refused", "[shard]") {
  const auto tie = sw::plan(
      {{"layers.*.{q,k}_proj", sw::colwise}, {"layers.*.k_proj", sw::replicate}, {"layers.*.o_proj", sw::rowwise}});
  CHECK(refusal<sw::plan_error>(tie, attention("", ""), {}) ==
        "two rules are equally specific for 'layers.0.k_proj.weight': 'layers.*.{q,k}_proj' and 'layers.*.k_proj'; "
        "make one of them more literal, or say it in .with({...})");
  // Of a module without parameters too: its step would be a guess.
  const auto modules = heads + sw::plan({{"layers.*", sw::all_reduce}, {"{layers,blocks}.*", sw::local_params}});
  CHECK(refusal<sw::plan_error>(modules, attention("", ""), {}).find("for 'layers.0'") != std::string::npos);
}

TEST_CASE("rules that match nothing are refused, those of a family's plan and of other stages are not", "[shard]") {
  const auto misspelt = up_down + sw::plan({{"ups", sw::colwise}, {"down.wieght", sw::rowwise}});
  CHECK(refusal<sw::plan_error>(misspelt, linears(), {}) ==
        "these rules match nothing in this model: 'ups', 'down.wieght'; correct the pattern, or leave the row out");
  CHECK(refusal<sw::plan_error>(misspelt.optional(), linears(), {}) == "");
  CHECK(refusal<sw::plan_error>(up_down, linears(), {.only = "up.*"}) == "");
  // A module may have no parameters of its own.
  CHECK(refusal<sw::plan_error>(heads + sw::plan({{"layers", sw::local_params}}), attention("", ""), {}) == "");
}

TEST_CASE("a tied pair is cut once, and each name has its step", "[shard]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {10, 4}).tie("embed.weight", "head.weight");
  const sw::sharding s =
      sw::shard(sw::plan({{"embed", sw::embedding_rowwise}, {"head", sw::colwise_gather_output}}), t, {.tp = 2});
  CHECK(s.size() == 1);
  CHECK(s.find("head.weight") == s.find("embed.weight"));
  CHECK(s.bytes(0) == 5 * 4 * 4);
  CHECK(s.step("embed").then() == sw::collective::all_reduce);
  CHECK(s.step("head").then() == sw::collective::gather_last_dim);
  CHECK(s.step("head").extent == 10);
  REQUIRE(s.ties().size() == 1);
  CHECK(s.ties()[0].alias == "head.weight");
}

TEST_CASE("a tied pair that is cut in two ways is refused", "[shard]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {10, 4}).tie("embed.weight", "head.weight");
  CHECK(refusal<sw::shard_error>(sw::plan({{"embed", sw::embedding_colwise}, {"head", sw::colwise_gather_output}}), t,
                                 {.tp = 2}) ==
        "'head.weight' and 'embed.weight' are tied, one storage, and the plan cuts them in two ways: "
        "colwise_gather_output and embedding_colwise; cut both on the same dim, or neither");
  CHECK(refusal<sw::shard_error>(sw::plan({{"embed", sw::replicate}, {"head", sw::colwise}}), t, {.tp = 2})
            .find("in two ways: colwise and replicate") != std::string::npos);
  sw::imported_plan head_only;
  head_only.add("head", "colwise_gather_output");
  CHECK(refusal<sw::shard_error>(head_only, t, {.tp = 2}).find("colwise_gather_output and no rule (whole)") !=
        std::string::npos);
}

TEST_CASE("a tied name without a rule of its own is refused where the parameter is cut", "[shard]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {10, 4}).tie("embed.weight", "head.weight");
  sw::imported_plan embed_only;
  embed_only.add("embed", "embedding_rowwise");
  CHECK(refusal<sw::shard_error>(embed_only, t, {.tp = 2}) ==
        "'head.weight' has no rule, and is tied to 'embed.weight', which is cut by embedding_rowwise: each name needs "
        "a row of its own, as the step of 'head.weight' cannot be guessed; for a head add colwise_gather_output");
  // Whole, it is as open as any other parameter without a rule.
  CHECK(refusal<sw::shard_error>(sw::plan({{"embed", sw::replicate}}), t, {.tp = 2})
            .find("no rule of this plan matches 'head.weight'") != std::string::npos);
}

TEST_CASE("a weight that is cut unlike its module is refused", "[shard]") {
  const auto unlike = up_down + sw::plan({{"up.weight", sw::rowwise}});
  CHECK(refusal<sw::shard_error>(unlike, linears(), {.tp = 2}) ==
        "'up.weight' is cut by rowwise, unlike its module, whose rule is colwise (pattern 'up'): the module's step "
        "would not fit; give both the same style");
  CHECK(refusal<sw::shard_error>(up_down + sw::plan({{"up.weight", sw::replicate}}), linears(), {.tp = 2}) != "");
  // A bias may be whole: the engine adds it where it belongs.
  CHECK(refusal<sw::shard_error>(up_down + sw::plan({{"up.bias", sw::replicate}}), linears(), {.tp = 2}) == "");
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {12, 4}).tie("embed.weight", "head.weight");
  const auto tied = sw::plan({{"embed", sw::embedding_rowwise}, {"head", sw::rowwise}, {"head.weight", sw::colwise}});
  CHECK(refusal<sw::shard_error>(tied, t, {.tp = 2}).find("'head.weight' is cut by") != std::string::npos);
}

TEST_CASE("a layout's units are dealt whole, beside the plan's", "[shard]") {
  constexpr auto engine = sw::layout({{"**.q_proj", sw::out_features.units("num_attention_heads")},
                                      {"**.o_proj", sw::in_features.units("num_attention_heads")},
                                      {"**.k_proj", sw::out_features.units("num_key_value_heads")}});
  sw::imported_plan plan;
  plan.add("layers.*.q_proj", "colwise").add("layers.*.k_proj", "colwise").add("layers.*.o_proj", "rowwise");
  CHECK(refusal<sw::shard_error>(plan, attention("", ""), {.tp = 2}) == "");
  CHECK(refusal<sw::shard_error>(plan, attention("", ""), {.tp = 2, .layout = engine})
            .find("9 heads over 2 ranks (num_attention_heads, layers.0.q_proj.weight), and 3 key/value heads over 2 "
                  "ranks (num_key_value_heads, layers.0.k_proj.weight); legal sizes: 1, 3") != std::string::npos);
  CHECK(sw::shard(plan, attention("", ""), {.tp = 3, .layout = engine})[2].how.units == 9);

  // A plan's own unit does not take the engine's away.
  sw::tree model = attention("", "");
  model.config("", "tiles", 4);
  const auto tiled = heads.with({{"layers.*.q_proj", sw::colwise.units("tiles")}});
  CHECK(refusal<sw::shard_error>(tiled, model, {.tp = 2}).find("key/value heads") != std::string::npos);
  const auto only_q = sw::plan({{"layers.*.q_proj", sw::colwise.units("tiles")}, {"**", sw::replicate}});
  CHECK(refusal<sw::shard_error>(only_q, model, {.tp = 2}) == "");
  CHECK(refusal<sw::shard_error>(only_q, model, {.tp = 2, .layout = engine}).find("9 heads") != std::string::npos);
}

TEST_CASE("an axis that the plan gathers, or does not cut, need not be dealt in units", "[shard]") {
  constexpr auto engine = sw::layout({{"up", sw::out_features.units("odd")}, {"down", sw::in_features.units("odd")}});
  sw::tree model = linears();
  model.config("", "odd", 3);
  const auto gathered = sw::plan({{"up", sw::colwise_gather_output}, {"down", sw::rowwise_split_input}});
  CHECK(refusal<sw::shard_error>(gathered, model, {.tp = 2, .layout = engine}) == "");
  CHECK(refusal<sw::shard_error>(up_down, model, {.tp = 2, .layout = engine}) != "");
  constexpr auto other_axis =
      sw::layout({{"up", sw::in_features.units("odd")}, {"down", sw::out_features.units("odd")}});
  CHECK(refusal<sw::shard_error>(up_down, model, {.tp = 2, .layout = other_axis}) == "");
}

TEST_CASE("the most literal row of a layout wins", "[shard]") {
  constexpr auto engine = sw::layout({{"**", sw::out_features.units("odd")}, {"up", sw::out_features.units("even")}});
  sw::tree model = linears();
  model.config("", "odd", 3).config("", "even", 2);
  const auto up = sw::plan({{"up", sw::colwise}, {"down", sw::replicate}});
  CHECK(sw::shard(up, model, {.tp = 2, .layout = engine})[0].how.units == 2);
}

TEST_CASE("groups that differ from the engine's are refused, with the style to use", "[shard]") {
  constexpr auto two = sw::layout({{"up", sw::out_features.groups(2)}});
  constexpr auto three = sw::layout({{"up", sw::out_features.groups(3)}});
  const auto packed = sw::plan({{"up", sw::packed_colwise<2>}, {"down", sw::rowwise}});
  CHECK(refusal<sw::shard_error>(packed, linears(), {.tp = 2, .layout = two}) == "");
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 2, .layout = two}) ==
        "'up.weight' is 2 groups laid side by side, and colwise cuts it as 1, so that each rank would get parts of the "
        "wrong ones: use packed_colwise");
  CHECK(refusal<sw::shard_error>(packed, linears(), {.tp = 2, .layout = three}) ==
        "'up.weight' is 3 groups laid side by side, and packed_colwise cuts it as 2, so that each rank would get parts "
        "of the wrong ones: use colwise.groups(n)");
  const auto both = sw::plan({{"up", sw::packed_colwise<2>}, {"down", sw::packed_rowwise<2>}});
  CHECK(refusal<sw::shard_error>(both, linears(), {.tp = 2, .layout = two}) ==
        "'down.weight' is 1 group, and packed_rowwise cuts it as 2, so that each rank would get parts of the wrong "
        "ones: use rowwise");
}

TEST_CASE("a rule of a parameter alone has no step that gathers, so the engine's groups and units hold", "[shard]") {
  constexpr auto engine =
      sw::layout({{"**.gate_up", sw::out_features.groups(2)}, {"up", sw::out_features.units("odd")}});
  sw::tree experts;
  experts.add("mlp.experts.gate_up", sw::dtype::f32, {3, 8, 4});
  for (const sw::style& how : {sw::style(sw::colwise_gather_output), sw::style(sw::embedding_colwise)}) {
    const auto plan = sw::plan({{"mlp.experts.gate_up", how}, {"mlp.experts", sw::moe_tp_experts}});
    CHECK(refusal<sw::shard_error>(plan, experts, {.tp = 2, .layout = engine})
              .find("'mlp.experts.gate_up' is 2 groups laid side by side") != std::string::npos);
  }
  sw::tree model = linears();
  model.config("", "odd", 3);
  const auto weight_only = sw::plan({{"up.weight", sw::colwise_gather_output}, {"**", sw::replicate}});
  CHECK(refusal<sw::shard_error>(weight_only, model, {.tp = 2, .layout = engine}).find("3 odd over 2") !=
        std::string::npos);
}

TEST_CASE("only leaves out what other pipeline stages hold, and their faults", "[shard]") {
  sw::tree t = attention("", "");
  t.add("head.weight", sw::dtype::f32, {8, 4});
  const auto plan = heads + sw::plan({{"head", sw::colwise_gather_output}});
  const sw::sharding s = sw::shard(plan, t, {.tp = 3, .only = "layers.1.**"});
  CHECK(s.size() == 3);
  CHECK(s[0].name == "layers.1.q_proj.weight");
  CHECK(s.find("layers.0.q_proj.weight") == sw::sharding::npos);
  CHECK(s.outside("layers.0.q_proj.weight"));
  CHECK_FALSE(s.outside("layers.1.o_proj.weight"));
  CHECK(s.step("layers.1.o_proj").then() == sw::collective::all_reduce);
  CHECK_THROWS_AS(s.step("layers.0.o_proj"), sw::plan_error);
  // 8 rows do not divide over 3 ranks, but that is another stage's.
  CHECK(refusal<sw::shard_error>(plan, t, {.tp = 3}) != "");
  CHECK_THROWS_AS(sw::shard(plan, t, {.tp = 3, .only = "layers..x"}), sw::plan_error);
}

TEST_CASE("the step of a module is that of the rule which owns it", "[shard]") {
  sw::tree t = linears();
  t.add("embed.weight", sw::dtype::f32, {10, 4}).add("norm.weight", sw::dtype::f32, {4});
  t.add("mlp.experts.gate_up", sw::dtype::f32, {3, 8, 4});
  const auto plan = up_down + sw::plan({{"embed", sw::embedding_rowwise},
                                        {"norm", sw::replicate},
                                        {"mlp.experts.gate_up", sw::packed_colwise<2>},
                                        {"mlp.experts", sw::moe_tp_experts},
                                        {"mlp", sw::all_reduce}});
  const sw::sharding s = sw::shard(plan, t, {.tp = 2});

  const sw::step up = s.step("up");
  CHECK(up.module == "up");
  CHECK(up.tp == 2);
  CHECK(up.extent == 12);
  CHECK(up.input() == sw::placement{sw::replicated{}});
  CHECK(up.local() == sw::placement{sw::sharded<-1>{}});
  CHECK(up.output() == sw::placement{sw::sharded<-1>{}});
  CHECK(up.then() == sw::collective::none);

  const sw::step down = s.step("down");
  CHECK(down.input() == sw::placement{sw::sharded<-1>{}});
  CHECK(down.local() == sw::placement{sw::partial<>{}});
  CHECK(down.output() == sw::placement{sw::replicated{}});
  CHECK(down.pieces(1).at[0] == sw::interval{6, 12});

  CHECK(s.step("embed").rows(0) == sw::interval{0, 5});
  CHECK(s.step("embed").rows(1) == sw::interval{5, 10});
  CHECK(s.step("norm").output() == sw::placement{sw::replicated{}});
  CHECK(s.step("mlp.experts").local() == sw::placement{sw::partial<>{}});
  CHECK(s.step("mlp").then() == sw::collective::all_reduce);
  CHECK(s.step("").then() == sw::collective::none);
  CHECK_THROWS_MATCHES(s.step("ups"), sw::plan_error, says("the model has no module 'ups' to take a step of"));
  CHECK_THROWS_AS(s.step("up.weight"), sw::plan_error);
}

TEST_CASE("the rows of a vocabulary are a rank's own where the table is cut by rows, and all elsewhere", "[shard]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {8, 4});
  const auto rows = [&](const char* style, int tp, int rank) {
    sw::imported_plan plan;
    plan.add("embed", style);
    return sw::shard(plan, t, {.tp = tp}).step("embed").rows(rank);
  };
  CHECK(rows("embedding_rowwise", 5, 3) == sw::interval{6, 8});
  CHECK(rows("embedding_rowwise", 5, 4) == sw::interval{8, 8});
  for (const char* style : {"embedding_colwise", "replicate"}) {
    CHECK(rows(style, 2, 1).begin == 0);
    CHECK(rows(style, 2, 1).end >= 8);
  }
}

TEST_CASE("the rules of an imported plan that match nothing are listed with their patterns", "[shard]") {
  sw::tree t;
  t.add("a.0.up.weight", sw::dtype::f32, {4, 4});
  sw::imported_plan plan;
  plan.add("a.*.up", "colwise").add("a.*.upp", "rowwise").add("a", "all_reduce");
  const sw::sharding s = sw::shard(plan, t, {.tp = 2});
  REQUIRE(s.unmatched_rules().size() == 1);
  CHECK(s.pattern(s.unmatched_rules()[0]) == "a.*.upp");
}

TEST_CASE("a pattern of only that matches no parameter is refused, since the stage would hold nothing", "[shard]") {
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 1, .only = "up.** dwon.**"}) ==
        "only = 'dwon.**' matches no parameter of this model: a pattern names parameters, so that a module's are "
        "'<module>.**'");
  CHECK(refusal<sw::shard_error>(up_down, linears(), {.tp = 1, .only = "up"}).find("only = 'up'") == 0);
}

TEST_CASE("a stage that has only the tied name holds the parameter under it", "[shard]") {
  sw::tree t;
  t.add("model.embed.weight", sw::dtype::f32, {8, 4}).add("model.norm.weight", sw::dtype::f32, {4});
  t.tie("model.embed.weight", "lm_head.weight");
  const auto plan = sw::plan(
      {{"model.embed", sw::embedding_rowwise}, {"model.norm", sw::replicate}, {"lm_head", sw::colwise_gather_output}});
  const sw::sharding last = sw::shard(plan, t, {.tp = 2, .only = "lm_head.**"});
  REQUIRE(last.size() == 1);
  CHECK(last[0].name == "lm_head.weight");
  CHECK(last[0].stored_as == "model.embed.weight");
  CHECK(last.local_shape(0, 1) == sw::tensor_shape{4, 4});
  CHECK(last.step("lm_head").then() == sw::collective::gather_last_dim);
  const sw::sharding first = sw::shard(plan, t, {.tp = 2, .only = "model.**"});
  CHECK(first.size() == 2);
  CHECK(first.find("lm_head.weight") == sw::sharding::npos);
}

TEST_CASE("a plan with one row of its own is strict again: a hole in it is refused", "[shard]") {
  sw::imported_plan imported;
  imported.add("up", "colwise");
  CHECK_NOTHROW(sw::shard(imported, linears(), {.tp = 2}));
  constexpr auto mixed = sw::plan({{"up", sw::colwise}}).as_hugging_face() + sw::plan({{"*.bias", sw::replicate}});
  CHECK(refusal<sw::shard_error>(mixed, linears(), {.tp = 2}).find("no rule of this plan matches 'down.weight'") == 0);
}

TEST_CASE("an empty dim is cut into empty pieces", "[shard]") {
  sw::tree t;
  t.add("w.weight", sw::dtype::f32, {0, 8});
  sw::imported_plan imported;
  imported.add("w", "packed_colwise");
  for (int tp : {1, 3}) CHECK(sw::shard(imported, t, {.tp = tp}).local_shape(0, tp - 1) == sw::tensor_shape{0, 8});
}
