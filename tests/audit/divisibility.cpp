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

TEST_CASE("heads that do not divide are found in a plan that knows nothing of heads", "[audit]") {
  const sw::audit_report r = right_plan().audit(decoder(), 8);
  CHECK(line(r, finding_kind::cut_inside_head) ==
        "error: model.layers.*.self_attn.{k_proj,v_proj} have 4 key/value heads, 8 ranks: a head is cut in pieces, and "
        "legal sizes are 1, 2, 4; use tp 4, or a plan by head, which has each key/value head on 2 ranks");
  CHECK(r.find(finding_kind::cut_inside_head)->count == 4);
  CHECK(r.count(sw::severity::error) == 1);

  const sw::audit_report three = right_plan().audit(decoder(), 3);
  CHECK(line(three, finding_kind::cut_inside_head, layer + "self_attn.{q_proj,o_proj}") ==
        "error: model.layers.*.self_attn.{q_proj,o_proj} have 8 heads, 3 ranks: some heads are cut in two, and legal "
        "sizes are 1, 2, 4, 8; use tp 2, or pad to 9 heads (1 more)");

  // What is gathered before it is split into heads may be cut anywhere.
  rows p = right_plan();
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) p.with(layer + "self_attn." + name, "colwise_gather_output");
  p.with(layer + "self_attn.o_proj", "rowwise_split_input");
  CHECK(!p.audit(decoder(), 8).has(finding_kind::cut_inside_head));
}

TEST_CASE("the size of a head is known from its norm where layers have heads of several sizes", "[audit]") {
  // Two kinds of layers under one name; the config knows of one of them.
  shapes m = decoder();
  m.with(layer + "self_attn.k_proj.weight", {16, 64}).with(layer + "self_attn.v_proj.weight", {16, 64});
  m.with(layer + "self_attn.q_norm.weight", {16}).with(layer + "self_attn.k_norm.weight", {16});
  CHECK(line(right_plan().audit(m, 2), finding_kind::cut_inside_head).find("have 1 key/value head, 2 ranks") !=
        std::string::npos);
}

TEST_CASE("what a plan of ours says of units, groups and elements has one form where it does not divide", "[audit]") {
  static constexpr auto plan = sw::plan({{"k", sw::colwise.units("num_key_value_heads")},
                                         {"lm_head", sw::colwise_gather_output},
                                         {"up", sw::colwise},
                                         {"down", sw::rowwise},
                                         {"packed", sw::packed_colwise<2>},
                                         {"odd", sw::packed_colwise<2>},
                                         {"heads", sw::colwise.units("num_attention_heads")},
                                         {"experts.w", sw::grouped_gemm}});
  shapes m;
  m.with("k.weight", {16, 8})
      .with("lm_head.weight", {32001, 8})
      .with("up.weight", {30, 8})
      .with("down.weight", {8, 30});
  m.with("packed.weight", {36, 8})
      .with("odd.weight", {15, 8})
      .with("heads.weight", {15, 8})
      .with("experts.w", {6, 8, 8});
  m.number("num_key_value_heads", 2).number("vocab_size", 32001).number("num_attention_heads", 8);
  const sw::audit_report r = sw::audit(plan, m.tree(), 4);
  const auto of = [&](const char* subject) { return line(r, finding_kind::does_not_divide, subject); };
  CHECK(of("k") ==
        "error: k has 2 key/value heads, 4 ranks: legal sizes are 1, 2; use tp 2, or a plan by head, which has each "
        "key/value "
        "head on 2 ranks");
  CHECK(of("lm_head") ==
        "error: lm_head has 32001 rows of the vocabulary, 4 ranks: legal sizes are 1, 3; use tp 3, or pad to 32004 "
        "rows of the vocabulary (3 more)");
  CHECK(
      of("up") ==
      "error: {up,down} have 30 output features, 4 ranks: legal sizes are 1, 2, 3, 5, 6, 10, 15, 30; use tp 3, or pad "
      "to 32 output features (2 more)");
  CHECK(
      of("packed").starts_with("error: packed has 18 elements in each of 2 groups, 4 ranks: legal sizes are 1, 2, 3,"));
  CHECK(
      of("odd") ==
      "error: odd has 15 elements, which are no 2 equal groups; give the number of groups that are laid side by side, "
      "as colwise.groups(n)");
  CHECK(of("heads") ==
        "error: heads has 15 elements, which are no 8 equal heads (num_attention_heads); name the field of the config "
        "that counts what this dim is made of");
  CHECK(of("experts.w").starts_with("error: experts.w has 6 experts, 4 ranks: legal sizes are 1, 2, 3, 6; use tp 3"));
  CHECK(!sw::audit(plan, m.tree(), 1).has(finding_kind::does_not_divide, "k"));
}

TEST_CASE("uneven pieces are a note, and ranks that get nothing a warning", "[audit]") {
  shapes m = decoder();
  m.with("lm_head.weight", {1001, 64});
  CHECK(right_plan().audit(m, 2).clean());
  CHECK(line(right_plan().audit(m, 2), finding_kind::uneven_pieces) ==
        "note: lm_head is cut unevenly, as torch.chunk does: the last rank holds less; nothing, if the engine takes "
        "uneven pieces");
  rows p;
  p.with("fc1", "colwise").with("fc2", "rowwise");
  shapes small;
  small.with("fc1.weight", {10, 8}).with("fc2.weight", {8, 10});
  CHECK(line(p.audit(small, 8), finding_kind::uneven_pieces, "fc1") ==
        "warning: fc1 has 10 elements to cut over 8 ranks: 3 of them get none and wait for the others; use tp 5, or "
        "make it whole: replicate(\"too small to cut\")");
}

TEST_CASE("a quantised weight is cut between blocks that share a scale", "[audit]") {
  shapes m;
  m.with("mlp.up_proj.weight", {2560, 1024}).with("mlp.down_proj.weight", {1024, 2560});
  rows p;
  p.with("mlp.up_proj", "colwise").with("mlp.down_proj", "rowwise");
  CHECK(p.audit(m, 8).clean());
  shapes scaled = m;
  scaled.with("mlp.up_proj.weight_scale_inv", {20, 8}).with("mlp.down_proj.weight_scale_inv", {8, 20});
  CHECK(p.audit(scaled, 4).clean());
  CHECK(line(p.audit(scaled, 8), finding_kind::cut_inside_block, "mlp.down_proj") ==
        "error: mlp.down_proj has 2560 input features in quantisation blocks of 128, 8 ranks: pieces of 320 end inside "
        "a block, whose scale two ranks would need; legal sizes are 1, 2, 4, 5, 10, 20; use tp 5, or pad to 3072 "
        "features");
  CHECK(p.audit(scaled, 8).has(finding_kind::cut_inside_block, "mlp.up_proj"));
  // Where the files have no scales beside the weights, the config names the blocks.
  m.number("quantization_config.group_size", 128);
  CHECK(p.audit(m, 8).has(finding_kind::cut_inside_block, "mlp.down_proj"));
  CHECK(!p.audit(m, 8).has(finding_kind::cut_inside_block, "mlp.up_proj"));
  CHECK(p.audit(m, 4).clean());
}
