// SPDX-License-Identifier: Apache-2.0
#include "audit/decoder.hpp"
#include "catch.hpp"
#include "shardwise/testing/matchers.hpp"

namespace sw = shardwise;
using sw::finding_kind;
using test::decoder;
using test::right_plan;
using test::rows;
using test::shapes;

namespace {
const std::string layer = "model.layers.*.";
std::string line(const sw::audit_report& r, finding_kind kind, std::string_view subject = {}) {
  const sw::finding* f = r.find(kind, subject);
  return f == nullptr ? "not found in\n" + text_of(r) : text_of(*f);
}
}  // namespace

TEST_CASE("a bias is cut unlike its weight", "[audit]") {
  shapes m = decoder();
  m.with(layer + "mlp.up_proj.bias", {96}).with(layer + "mlp.down_proj.bias", {64});
  CHECK(right_plan().audit(m, 2).clean());
  rows p = right_plan();
  CHECK(line(p.with(layer + "mlp.up_proj.bias", "replicate").audit(m, 2), finding_kind::bias_unlike_weight) ==
        "error: model.layers.*.mlp.up_proj.bias is whole (replicate), and the outputs of "
        "model.layers.*.mlp.up_proj.weight (colwise) are cut; let the rule name the module, so that it cuts both");
  p = right_plan();
  CHECK(line(p.with(layer + "mlp.down_proj.bias", "colwise").audit(m, 2), finding_kind::bias_unlike_weight) ==
        "error: model.layers.*.mlp.down_proj.bias is cut (colwise), and model.layers.*.mlp.down_proj.weight gives each "
        "rank all outputs (rowwise); leave its row out, or let the rule name the module");
}

TEST_CASE("a packed bias is cut plainly by Hugging Face's rules, and as its weight by ours", "[audit]") {
  sw::tree t;
  t.add("mlp.gate_up_proj.weight", sw::dtype::bf16, {64, 8}).add("mlp.gate_up_proj.bias", sw::dtype::bf16, {64});
  t.add("mlp.down_proj.weight", sw::dtype::bf16, {8, 32});
  sw::imported_plan hf;
  hf.add("mlp.gate_up_proj", "packed_colwise").add("mlp.down_proj", "rowwise");
  CHECK(line(sw::audit(hf, t, 2), finding_kind::bias_unlike_weight) ==
        "error: mlp.gate_up_proj.bias is cut in 1 group, and mlp.gate_up_proj.weight in 2 groups: a rank would add "
        "another part's bias; a plan of ours cuts a packed bias as its weight; Hugging Face's does not: use "
        "colwise_gather_output, or a plan of ours");
  static constexpr auto ours = sw::plan({{"mlp.gate_up_proj", sw::packed_colwise<2>}, {"mlp.down_proj", sw::rowwise}});
  CHECK(sw::audit(ours, t, 2).findings.empty());
}

TEST_CASE("a bias of each expert is cut between experts, while the experts are cut", "[audit]") {
  shapes m = decoder();
  m.without(layer + "mlp.gate_proj.weight").with(layer + "moe.experts.gate_up_proj_bias", {4, 64});
  m.with(layer + "moe.experts.down_proj_bias", {4, 64}).with(layer + "mlp.gate_proj.weight", {96, 64});
  m.with(layer + "moe.experts.gate_up_proj", {4, 48, 64})
      .with(layer + "moe.experts.down_proj", {4, 32, 48});  // transposed
  rows p = right_plan();
  p.with(layer + "moe.experts.gate_up_proj", "rowwise").with(layer + "moe.experts.down_proj", "colwise");
  p.with(layer + "moe.experts.gate_up_proj_bias", "rowwise");
  m.with(layer + "moe.experts.down_proj_bias", {4, 48});
  CHECK(p.audit(m, 2).clean());
  CHECK(
      line(p.with(layer + "moe.experts.gate_up_proj_bias", "packed_colwise").audit(m, 2),
           finding_kind::cut_on_experts) ==
      "error: model.layers.*.moe.experts.gate_up_proj_bias has a row for each of 4 experts, and packed_colwise cuts it "
      "between experts, while every rank has a part of each expert; use rowwise, which cuts the last dim");
  CHECK(line(p.with(layer + "moe.experts.down_proj_bias", "colwise").audit(m, 2), finding_kind::cut_on_experts,
             layer + "moe.experts.down_proj_bias")
            .ends_with("leave its row out, or replicate it: it is added once, after the sum"));
}

TEST_CASE("a vector that is not named bias is cut by rowwise", "[audit]") {
  shapes m = decoder();
  m.with(layer + "mlp.down_proj.scale", {64});
  CHECK(
      line(right_plan().audit(m, 2), finding_kind::vector_cut) ==
      "error: model.layers.*.mlp.down_proj.scale is a vector of 64 elements, and rowwise cuts it: only a vector named "
      "bias is left whole; add {\"model.layers.*.mlp.down_proj.scale\", replicate(\"added once, after the sum\")}, or "
      "colwise where it goes with cut outputs");
  rows p = right_plan();
  CHECK(p.with(layer + "mlp.down_proj.scale", "replicate(it is added once)").audit(m, 2).clean());
}

TEST_CASE("a norm over elements of which each rank has a part", "[audit]") {
  // As OLMo 2 has it: over all heads at once.
  shapes m = decoder();
  m.with(layer + "self_attn.q_norm.weight", {64}).with(layer + "self_attn.k_norm.weight", {32});
  CHECK(line(right_plan().audit(m, 2), finding_kind::norm_over_cut_axis) ==
        "error: model.layers.*.self_attn.q_norm is a norm over all 64 features that model.layers.*.self_attn.q_proj "
        "(colwise) leaves cut: each rank would take the mean of its part; use colwise_gather_output for q_proj, k_proj "
        "and v_proj, and rowwise_split_input for o_proj");
  CHECK(right_plan().audit(m, 2).has(finding_kind::norm_over_cut_axis, layer + "self_attn.k_norm"));
  rows p = right_plan();
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) p.with(layer + "self_attn." + name, "colwise_gather_output");
  CHECK(p.with(layer + "self_attn.o_proj", "rowwise_split_input").audit(m, 2).clean());
  p = right_plan();
  CHECK(line(p.with(layer + "input_layernorm", "colwise").audit(m, 2), finding_kind::norm_over_cut_axis,
             layer + "input_layernorm")
            .ends_with("its mean would be another on each; replicate the norm"));
  m = decoder();
  m.with(layer + "mlp.ffn_sub_norm.weight", {96});
  CHECK(right_plan().audit(m, 2).has(finding_kind::norm_over_cut_axis, layer + "mlp.ffn_sub_norm"));
}

TEST_CASE("two names of one storage are cut in two ways, or one of them has no rule", "[audit]") {
  shapes m = decoder();
  m.without("lm_head.weight").tie("model.embed_tokens.weight", "lm_head.weight");
  CHECK(right_plan().audit(m, 2).clean());
  CHECK(
      line(right_plan().without("model.embed_tokens").audit(m, 2), finding_kind::tied_unlike) ==
      "error: lm_head (colwise_gather_output) and model.embed_tokens (no rule) are tied, one storage, and "
      "model.embed_tokens has no row, so that it stays whole; add {\"model.embed_tokens\", embedding_rowwise}, and cut "
      "both on the vocabulary");
  CHECK(line(right_plan().without("lm_head").audit(m, 2), finding_kind::tied_unlike) ==
        "error: lm_head (no rule) and model.embed_tokens (embedding_rowwise) are tied, one storage, and lm_head has no "
        "row, so that it works with a rank's part unawares; add {\"lm_head\", colwise_gather_output}");
  CHECK(line(right_plan().with("model.embed_tokens", "embedding_colwise").audit(m, 2), finding_kind::tied_unlike)
            .ends_with("are cut in two ways; cut both on the vocabulary: embedding_rowwise and colwise_gather_output"));
}

TEST_CASE("a weight is cut otherwise than the rule of its module takes it to be", "[audit]") {
  CHECK(line(right_plan().with(layer + "mlp.up_proj.weight", "rowwise").audit(decoder(), 2),
             finding_kind::module_unlike_weight) ==
        "error: model.layers.*.mlp.up_proj.weight is cut by rowwise, unlike its module, whose rule is colwise: the "
        "module's step would not fit; give both the same style");
}

TEST_CASE("a number for each head goes with the heads", "[audit]") {
  shapes m = decoder();
  m.with(layer + "self_attn.sinks", {8});
  CHECK(line(right_plan().audit(m, 2), finding_kind::bias_unlike_weight)
            .ends_with("add {\"model.layers.*.self_attn.sinks\", colwise} and {\"model.layers.*.self_attn\", "
                       "local_params}"));
  rows p = right_plan();
  CHECK(p.with(layer + "self_attn.sinks", "colwise").with(layer + "self_attn", "local_params").audit(m, 2).clean());
}
