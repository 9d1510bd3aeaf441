// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/flow.hpp"

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
std::string line(rows p, finding_kind kind, std::string_view subject = {}) {
  return line(p.audit(decoder(), 2), kind, subject);
}
}  // namespace

TEST_CASE("a module that takes its part of an input is fed a whole one", "[audit]") {
  CHECK(line(right_plan().without(layer + "mlp.up_proj"), finding_kind::whole_input) ==
        "error: model.layers.*.mlp.down_proj (rowwise) takes its part of a cut input, and model.layers.*.mlp.up_proj "
        "(whole, without a rule) hands on a whole one; make it colwise, or model.layers.*.mlp.down_proj "
        "rowwise_split_input");
  CHECK(line(right_plan().with(layer + "self_attn.q_proj", "colwise_gather_output"), finding_kind::whole_input)
            .find("model.layers.*.self_attn.q_proj (colwise_gather_output) hands on a whole one") != std::string::npos);
  CHECK(line(right_plan().with(layer + "mlp.gate_proj", "rowwise_split_input"), finding_kind::whole_input,
             layer + "mlp.down_proj")
            .starts_with("error"));
  // Both ways of feeding it are right.
  CHECK(right_plan()
            .with(layer + "mlp.gate_proj", "colwise_gather_output")
            .with(layer + "mlp.up_proj", "colwise_gather_output")
            .with(layer + "mlp.down_proj", "rowwise_split_input")
            .audit(decoder(), 2)
            .clean());
  // Key and value heads that every rank has are right where the plan says why.
  rows shared = right_plan();
  shared.with(layer + "self_attn.k_proj", "replicate(all ranks share them)")
      .with(layer + "self_attn.v_proj", "replicate(the same)");
  CHECK(shared.audit(decoder(), 8).clean());
  CHECK(!shared.with(layer + "self_attn.v_proj", "replicate").audit(decoder(), 8).clean());
}

TEST_CASE("a module that takes a whole input is fed a rank's part of one", "[audit]") {
  CHECK(line(right_plan().without(layer + "self_attn.o_proj"), finding_kind::cut_input) ==
        "error: model.layers.*.self_attn.o_proj (whole, without a rule) takes a whole input, and "
        "model.layers.*.self_attn.{q_proj,k_proj,v_proj} (colwise) hand on a rank's part of one; make "
        "model.layers.*.self_attn.o_proj rowwise, or model.layers.*.self_attn.{q_proj,k_proj,v_proj} "
        "colwise_gather_output");
  CHECK(line(right_plan().with(layer + "mlp.down_proj", "rowwise_split_input"), finding_kind::cut_input)
            .starts_with("error"));
  CHECK(line(right_plan().with(layer + "mlp.down_proj", "colwise"), finding_kind::cut_input).starts_with("error"));
  CHECK(line(right_plan().with(layer + "moe.experts.down_proj", "colwise"), finding_kind::cut_input,
             layer + "moe.experts.down_proj")
            .starts_with("error"));
  // Names that no edge has: something near must take the cut.
  shapes m = decoder();
  m.with(layer + "mixer.widen.weight", {96, 64}).with(layer + "mixer.narrow.weight", {64, 96});
  rows p = right_plan();
  CHECK(
      right_plan().with(layer + "mixer.widen", "colwise").with(layer + "mixer.narrow", "rowwise").audit(m, 2).clean());
  shapes head;
  head.with("a.weight", {64, 64}).with("b.weight", {64, 64});
  rows one;
  CHECK(line(one.with("a", "colwise").audit(head, 2), finding_kind::cut_input) ==
        "warning: a is colwise: each rank has a part of its output, and nothing in the model takes a cut input of "
        "that size; use "
        "colwise_gather_output, or rowwise for what takes it");
  CHECK(line(one.without("a").with("b", "rowwise").audit(head, 2), finding_kind::whole_input)
            .starts_with("warning: b is rowwise"));
  CHECK(one.with("a", "colwise").with("b", "rowwise").audit(head, 2).findings.empty());
}

TEST_CASE("a router's scores are needed whole", "[audit]") {
  shapes m = decoder();
  m.with(layer + "moe.gate.weight", {4, 64});
  CHECK(line(right_plan().with(layer + "moe.gate", "colwise").audit(m, 2), finding_kind::cut_input) ==
        "error: model.layers.*.moe.gate is colwise: a rank has the scores of some only, and every rank needs them all; "
        "use replicate(\"every rank needs all scores\")");
  CHECK(right_plan().with(layer + "moe.gate", "colwise_gather_output").audit(m, 2).clean());
}

TEST_CASE("parts that lie side by side are cut as if they were one", "[audit]") {
  CHECK(line(right_plan().with(layer + "moe.experts.gate_up_proj", "colwise"), finding_kind::packed_cut_plainly) ==
        "error: model.layers.*.moe.experts.gate_up_proj is gate|up side by side, 64 rows, and colwise cuts it as one: "
        "the first ranks get parts of gate only, the last of up; use packed_colwise");
  CHECK(line(right_plan().with(layer + "mlp.up_proj", "packed_colwise"), finding_kind::groups_unlike) ==
        "error: model.layers.*.mlp.up_proj (96 features) is cut as 2 groups, and model.layers.*.mlp.down_proj (96 "
        "features), which takes its output, as 1: a rank's parts do not belong together; cut both as one: colwise for "
        "the first");
  CHECK(line(right_plan().with(layer + "self_attn.o_proj", "packed_rowwise"), finding_kind::never_reduced)
            .starts_with("error"));

  // Fused q|k|v, whose parts are not equally large here; and gate|up of experts that are stored transposed.
  shapes m = decoder();
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) m.without(layer + "self_attn." + name + ".weight");
  m.with(layer + "self_attn.qkv_proj.weight", {128, 64}).without(layer + "self_attn.q_norm.weight");
  m.with(layer + "moe.experts.gate_up_proj", {4, 64, 80}).with(layer + "moe.experts.down_proj", {4, 40, 64});
  rows p = right_plan();
  p.with(layer + "self_attn.qkv_proj", "colwise").with(layer + "moe.experts.gate_up_proj", "packed_rowwise");
  p.with(layer + "moe.experts.down_proj", "colwise");
  const sw::audit_report r = p.audit(m, 2);
  CHECK(line(r, finding_kind::packed_cut_plainly) ==
        "error: model.layers.*.self_attn.qkv_proj is q|k|v side by side, 128 rows, and colwise cuts it as one: the "
        "first ranks get parts of q only, the last of v; its parts are not equally large: use colwise_gather_output, "
        "and rowwise_split_input for model.layers.*.self_attn.o_proj");
  CHECK(r.count(sw::severity::error) == 1);
  p.with(layer + "self_attn.qkv_proj", "colwise_gather_output").with(layer + "self_attn.o_proj", "rowwise_split_input");
  const sw::audit_report gathered = p.audit(m, 2);
  CHECK(gathered.clean());
  CHECK(gathered.has(finding_kind::gathered_to_be_cut));
  CHECK(line(p.with(layer + "moe.experts.gate_up_proj", "rowwise").audit(m, 2), finding_kind::packed_cut_plainly)
            .ends_with("use packed_rowwise"));
}

TEST_CASE("a head that leaves each rank its part of the logits", "[audit]") {
  CHECK(line(right_plan().with("lm_head", "colwise"), finding_kind::logits_width) ==
        "error: lm_head is colwise: each rank has 500 of 1000 logits, and a token chosen from those is wrong; use "
        "{\"lm_head\", colwise_gather_output}");
  CHECK(
      line(right_plan().without("lm_head").with("lm_head.weight", "colwise_gather_output"), finding_kind::logits_width)
          .find("by a row that names the parameter, so that no step gathers") != std::string::npos);
  CHECK(line(right_plan().with("lm_head", "rowwise"), finding_kind::whole_input, "lm_head").starts_with("error"));
  CHECK(line(right_plan().with("lm_head", "embedding_rowwise"), finding_kind::style_unlike_module) ==
        "error: lm_head is a product, and its style is embedding_rowwise; use colwise_gather_output");
  CHECK(line(right_plan().with("model.embed_tokens", "colwise"), finding_kind::style_unlike_module) ==
        "error: model.embed_tokens is a table that is looked up in, and its style is colwise; use embedding_rowwise");
  CHECK(right_plan().with("lm_head", "rowwise_split_input").audit(decoder(), 2).clean());
}

TEST_CASE("a partial sum is never added up", "[audit]") {
  CHECK(line(right_plan().without(layer + "moe.experts"), finding_kind::never_reduced) ==
        "error: model.layers.*.moe.experts.down_proj (rowwise) gives each rank a part of a sum, and no rule adds the "
        "parts up; add {\"model.layers.*.moe.experts\", moe_tp_experts}");
  CHECK(line(right_plan().without(layer + "mlp.down_proj").with(layer + "mlp.down_proj.weight", "rowwise"),
             finding_kind::never_reduced) ==
        "error: model.layers.*.mlp.down_proj (rowwise) gives each rank a part of a sum, and no rule adds the parts up; "
        "let the rule name the module, \"model.layers.*.mlp.down_proj\", so that it has a step");
  CHECK(right_plan().without(layer + "moe.experts").with(layer + "moe", "all_reduce").audit(decoder(), 2).clean());
}

TEST_CASE("a sum is added up twice, or of what is whole", "[audit]") {
  rows whole = right_plan();
  whole.with(layer + "moe.experts.gate_up_proj", "replicate(few)")
      .with(layer + "moe.experts.down_proj", "replicate(few)");
  CHECK(line(whole, finding_kind::reduced_twice) ==
        "error: model.layers.*.moe.experts is moe_tp_experts, which adds up the outputs of 2 ranks, and nothing in it "
        "is cut, so that each has the whole: the result is 2 times too large; cut what is in it, or leave the row out");
  CHECK(line(right_plan().with(layer + "mlp", "all_reduce"), finding_kind::reduced_twice) ==
        "error: model.layers.*.mlp is all_reduce, which adds up the outputs of 2 ranks, and what is in it has added up "
        "its own already: the result is 2 times too large; leave the row out");
}

TEST_CASE("an expert-parallel plan lacks the rule of its module, or cuts one of two", "[audit]") {
  const auto ep = [](bool module, bool both) {
    sw::imported_plan p(sw::parallelism::expert);
    p.add(layer + "moe.experts.gate_up_proj", "grouped_gemm");
    if (both) p.add(layer + "moe.experts.down_proj", "grouped_gemm");
    if (module) p.add(layer + "moe.experts", "ep_dispatch_experts");
    return sw::audit(p, decoder().tree(), 2);
  };
  CHECK(line(ep(false, true), finding_kind::never_reduced) ==
        "error: model.layers.*.moe.experts.gate_up_proj is cut between experts, and no rule of "
        "model.layers.*.moe.experts lets the ranks work together: each has the output of its own experts only; add "
        "{\"model.layers.*.moe.experts\", ep_dispatch_experts}");
  CHECK(line(ep(true, false), finding_kind::cut_input).starts_with("error: model.layers.*.moe.experts.down_proj"));
  CHECK(!ep(true, true).has(finding_kind::never_reduced));
  CHECK(!ep(true, true).has(finding_kind::cut_input));
}
