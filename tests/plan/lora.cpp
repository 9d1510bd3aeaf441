// SPDX-License-Identifier: Apache-2.0
#include "shardwise/plan/lora.hpp"

#include <cstddef>
#include <string_view>

#include "catch.hpp"
#include "shardwise/match/match.hpp"

namespace sw = shardwise;

namespace {

constexpr auto base = sw::plan({
    {"embed", sw::embedding_rowwise},
    {"columns", sw::embedding_colwise},
    {"layers.*.{q,k}_proj", sw::colwise.units("heads").uneven()},
    {"layers.*.gate_up_proj", sw::packed_colwise<2>},
    {"layers.*.o_proj", sw::rowwise},
    {"layers.*.split", sw::rowwise_split_input},
    {"layers.*.shared", sw::rowwise_partial_output},
    {"layers.*.router", sw::replicate("all scores")},
    {"layers.*.mlp", sw::all_reduce},
    {"layers.*.experts.gate_up_proj", sw::grouped_gemm},
    {"vision.**", sw::replicate("no plan yet")},
    {"lm_head", sw::colwise_gather_output},
});
constexpr auto lora = sw::lora_of(base);

constexpr sw::style style_of(sw::plan_view plan, std::string_view parameter) {
  const sw::owner who = sw::find_parameter_rule(plan, parameter);
  return who.rule == sw::no_rule || who.tied_with != sw::no_rule ? sw::style{.reason = "none"} : plan[who.rule].how;
}
constexpr bool whole(std::string_view parameter) {
  const sw::style s = style_of(lora, parameter);
  return s.kind == sw::style_kind::replicate && s.reason != "none";
}
constexpr bool none(std::string_view parameter) { return style_of(lora, parameter).reason == "none"; }
constexpr bool cut(std::string_view parameter, const sw::style& how) { return style_of(lora, parameter) == how; }
constexpr sw::style partial = sw::rowwise_partial_output;

// Beside what is cut on `out`: A whole, B by the same units and groups, and never gathered by itself.
static_assert(whole("layers.0.q_proj.lora_A.weight"));
static_assert(cut("layers.0.q_proj.lora_B.weight", sw::colwise.units("heads").uneven()));
static_assert(cut("layers.0.gate_up_proj.lora_B.weight", sw::packed_colwise<2>));
static_assert(whole("lm_head.lora_A.weight") && cut("lm_head.lora_B.weight", sw::colwise));
// Beside what is cut on `in`: A so, as a partial sum that its module reduces, and B whole.
static_assert(cut("layers.0.o_proj.lora_A.weight", partial) && whole("layers.0.o_proj.lora_B.weight"));
static_assert(cut("layers.0.split.lora_A.weight", partial) && whole("layers.0.split.lora_B.weight"));
static_assert(cut("layers.0.shared.lora_A.weight", partial) && whole("layers.0.shared.lora_B.weight"));
// Embeddings have weights of their own names, [rank, vocabulary] and [hidden, rank].
static_assert(cut("embed.lora_embedding_A", partial) && whole("embed.lora_embedding_B"));
static_assert(whole("columns.lora_embedding_A.default") && cut("columns.lora_embedding_B.default", sw::colwise));
// What the plan leaves whole has a whole LoRA; what it says nothing of that can be followed has none.
static_assert(whole("layers.0.router.lora_A.weight") && whole("layers.0.router.lora_B.weight"));
static_assert(none("layers.0.mlp.lora_A.weight") && none("layers.0.experts.gate_up_proj.lora_A.weight"));
static_assert(none("vision.proj.lora_A.weight") && none("layers.0.other.lora_A.weight"));
// An adapter's name, and the prefix of a file.
static_assert(cut("layers.0.o_proj.lora_A.default.weight", partial) && whole("layers.0.o_proj.lora_B.other.weight"));
static_assert(style_of(lora.under("base_model.model"), "base_model.model.layers.0.o_proj.lora_A.weight") == partial);
// The base's rows are left as they are, and those of a LoRA may match nothing.
static_assert(style_of(sw::with_lora(base), "layers.0.o_proj.weight") == sw::style(sw::rowwise));
static_assert(sw::with_lora(base).size() == base.size() + lora.size() && lora[0].optional && !base[0].optional);

}  // namespace

TEST_CASE("a plan made at run time, and one of Hugging Face, has the same rows for a LoRA", "[plan]") {
  const sw::lora_rules made(base);
  const sw::plan_view rows = made;
  REQUIRE(rows.size() == lora.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].same_pattern(lora[i]));
    CHECK(rows[i].how == lora[i].how);
  }
  static constexpr auto theirs = sw::plan({{"layers.*.down_proj", sw::rowwise}}).as_hugging_face();
  sw::style chunked = sw::rowwise_partial_output;
  chunked.divided = sw::division::chunk;
  CHECK(style_of(sw::lora_rules(theirs), "layers.7.down_proj.lora_A.default.weight") == chunked);
  CHECK(style_of(sw::lora_rules(theirs), "layers.7.down_proj.lora_A.weight") == chunked);
}
