// SPDX-License-Identifier: Apache-2.0
// Plans that deal by meaning: heads with those that they read, unequal groups, one reduce for several sums.
#include <string>

#include "audit/small_model.hpp"
#include "catch.hpp"
#include "shardwise/audit.hpp"

namespace sw = shardwise;
using sw::finding_kind;

namespace {

constexpr sw::style query = sw::colwise.units("num_attention_heads").reading("num_key_value_heads").uneven();
constexpr sw::style key_value = sw::colwise.units("num_key_value_heads").read_by("num_attention_heads").uneven();
constexpr sw::style output = sw::rowwise.units("num_attention_heads").reading("num_key_value_heads").uneven();
/// Attention of `small_model` by head; the rest as it was.
constexpr auto by_head = small_plan.with({{"layers.*.self_attn.q_proj", query},
                                          {"layers.*.self_attn.{k,v}_proj", key_value},
                                          {"layers.*.self_attn.o_proj", output}});

bool has(const sw::audit_report& r, finding_kind kind, const std::string& subject, sw::severity s) {
  const sw::finding* f = r.find(kind, subject);
  return f != nullptr && f->severity == s;
}
std::string text(const sw::audit_report& r) { return text_of(r); }

/// A layer with a GatedDeltaNet of 2 key heads of 3 and 4 value heads of 2 features, hidden size 8.
sw::tree delta_model() {
  sw::tree t;
  const auto add = [&](const char* name, const sw::tensor_shape& shape) {
    t.add("layers.0.linear_attn." + std::string(name), sw::dtype::f32, shape);
  };
  add("in_proj_qkv.weight", {20, 8});
  add("in_proj_z.weight", {8, 8});
  add("in_proj_b.weight", {4, 8});
  add("in_proj_a.weight", {4, 8});
  add("conv1d.weight", {20, 1, 4});
  add("A_log", {4});
  add("dt_bias", {4});
  add("out_proj.weight", {8, 8});
  t.config("", "keys", 2).config("", "values", 4).config("", "key_dim", 3).config("", "value_dim", 2);
  return t;
}
constexpr sw::feature_group keys = sw::heads("keys").read_by("values").of("key_dim");
constexpr sw::feature_group values = sw::heads("values").reading("keys").of("value_dim");
constexpr sw::style value = sw::colwise.units("values").reading("keys");
constexpr auto delta_plan = sw::plan({
    {"layers.*.linear_attn.in_proj_qkv", sw::colwise.groups(keys, keys, values)},
    {"layers.*.linear_attn.conv1d", sw::colwise.groups(keys, keys, values).convolution()},
    {"layers.*.linear_attn.in_proj_z", value},
    {"layers.*.linear_attn.in_proj_b", value},
    {"layers.*.linear_attn.in_proj_a", value},
    {"layers.*.linear_attn.A_log", value},
    {"layers.*.linear_attn.dt_bias", value},
    {"layers.*.linear_attn.out_proj", sw::rowwise.units("values").reading("keys")},
});

}  // namespace

TEST_CASE("heads dealt with those that they read are clean, and the table of sizes knows copies", "[audit]") {
  const sw::tree model = small_model();
  for (const int tp : {1, 2, 4}) {
    INFO("tp " << tp);
    const sw::audit_report r = sw::audit(by_head, model, tp);
    INFO(text(r));
    CHECK(r.clean());
  }
  const sw::audit_report four = sw::audit(by_head, model, 4);
  // By hand: everything in quarters, but for the norms (24 elements) and k and v, of which each rank has one head of 2.
  const std::size_t quarters = 2 * 16 * 8 + 2 * (8 * 8 + 8 * 8 + 24 * 8 + 8 * 12);
  CHECK(four.rank_bytes == 2 * (quarters / 4 + 24 + 2 * 2 * (2 * 8)));
  CHECK(four.all_reduces == 5);
  CHECK(four.gathers == 1);

  const sw::size_table sizes = sw::sizes(by_head, model, {.context = 10, .up_to = 6});
  const bool legal[] = {true, true, false, true, false, false};  // 12 features, and 16 words, do not divide by 3
  for (std::size_t i = 0; i < 6; ++i) CHECK(sizes.rows[i].legal == legal[i]);
  CHECK(sizes.rows[3].weights == four.rank_bytes);
  CHECK(sizes.rows[3].cache == 10 * 2 * 2 * 2 * 2);   // tokens, layers, keys and values, features of a head, bytes
  CHECK(sizes.rows[1].cache == sizes.rows[3].cache);  // one head a rank as well
}

TEST_CASE("the rank that holds most need not be the first where heads are copied", "[audit]") {
  // 9 heads over 4 ranks are 3, 2, 2 and 2, and the third rank's read two of the three key/value heads.
  sw::tree t;
  t.add("q_proj.weight", sw::dtype::u8, {9, 1}).add("k_proj.weight", sw::dtype::u8, {3 * 50, 1});
  t.add("v_proj.weight", sw::dtype::u8, {3 * 50, 1}).add("o_proj.weight", sw::dtype::u8, {1, 9});
  t.config("", "num_attention_heads", 9).config("", "num_key_value_heads", 3);
  const auto plan = sw::plan({{"q_proj", query}, {"{k,v}_proj", key_value}, {"o_proj", output}});
  CHECK(sw::audit(plan, t, 4).rank_bytes == 2 + 2 * 100 + 2);
  CHECK(sw::audit(plan, t, 4).least_rank_bytes == 2 + 2 * 50 + 2);
  CHECK(sw::sizes(plan, t).rows[3].weights == 2 + 2 * 100 + 2);
  CHECK(sw::sizes(plan, t).rows[3].uneven);
}

TEST_CASE("heads that are dealt unlike those that they belong to are named", "[audit]") {
  sw::tree model = small_model();
  model.config("", "more_heads", 6);  // over 4 ranks the second one's read both key/value heads, and of 4 heads not
  struct row {
    const char* pattern;
    sw::style how;
    int tp;
    finding_kind kind;
    const char* subject;
  };
  const row rows[] = {
      {"layers.*.self_attn.q_proj", sw::colwise.units("num_attention_heads").uneven(), 2, finding_kind::dealt_unlike,
       "layers.*.self_attn.q_proj"},
      {"layers.*.self_attn.q_proj", sw::colwise.units("num_attention_heads").reading("num_key_value_heads"), 2,
       finding_kind::dealt_unlike, "layers.*.self_attn.q_proj"},
      {"layers.*.self_attn.o_proj", sw::rowwise.uneven(), 2, finding_kind::dealt_unlike, "layers.*.self_attn.k_proj"},
      {"layers.*.self_attn.{k,v}_proj", sw::colwise.uneven(), 4, finding_kind::dealt_unlike,
       "layers.*.self_attn.k_proj"},
      {"layers.*.self_attn.{k,v}_proj", sw::colwise.units("num_key_value_heads").read_by("more_heads").uneven(), 4,
       finding_kind::dealt_unlike, "layers.*.self_attn.k_proj"},
  };
  for (const row& r : rows) {
    INFO(r.pattern << " at tp " << r.tp);
    const sw::audit_report report = sw::audit(by_head.with({{r.pattern, r.how}}), model, r.tp);
    INFO(text(report));
    CHECK(has(report, r.kind, r.subject, sw::severity::error));
  }
}

TEST_CASE("a recurrence by head is clean, and each part that is dealt otherwise is named", "[audit]") {
  const sw::tree model = delta_model();
  for (const int tp : {1, 2, 4}) {
    const sw::audit_report r = sw::audit(delta_plan, model, tp);
    INFO("tp " << tp << '\n' << text(r));
    CHECK(r.clean());
    CHECK(r.all_reduces == (tp == 1 ? 0 : 1));
    CHECK(r.gathers == 0);
  }
  CHECK(sw::sizes(delta_plan, model, {.up_to = 4}).rows[2].reason.find("4 values over 3 ranks") != std::string::npos);
  const char* why = "whole";
  const sw::rule wrong[] = {
      {"layers.*.linear_attn.conv1d", sw::replicate(why)},
      {"layers.*.linear_attn.conv1d", sw::colwise.convolution()},
      {"layers.*.linear_attn.in_proj_z", sw::colwise.units("values").uneven()},
      {"layers.*.linear_attn.in_proj_b", sw::colwise.uneven()},
      {"layers.*.linear_attn.A_log", sw::replicate(why)},
      {"layers.*.linear_attn.dt_bias", sw::colwise.uneven()},
      {"layers.*.linear_attn.in_proj_qkv", sw::colwise.groups(keys, values, keys)},
  };
  for (const sw::rule& r : wrong) {
    const auto plan = delta_plan.with({r});
    const sw::audit_report report = sw::audit(plan, model, 4);
    INFO(r.text << " as " << r.how.name() << '\n' << text(report));
    CHECK(!report.clean());
  }
}

TEST_CASE("partial sums that a row above adds up are clean, once and not twice", "[audit]") {
  sw::tree t;
  t.add("layers.0.mlp.experts.gate_up_proj", sw::dtype::f32, {4, 16, 8})
      .add("layers.0.mlp.experts.down_proj", sw::dtype::f32, {4, 8, 8});
  for (const char* name : {"gate_proj", "up_proj"}) {
    t.add("layers.0.mlp.shared_expert." + std::string(name) + ".weight", sw::dtype::f32, {8, 8});
  }
  t.add("layers.0.mlp.shared_expert.down_proj.weight", sw::dtype::f32, {8, 8});
  constexpr auto plan = sw::plan({
      {"layers.*.mlp.experts.gate_up_proj", sw::packed_colwise<2>},
      {"layers.*.mlp.experts.down_proj", sw::rowwise},
      {"layers.*.mlp.experts", sw::partial_output},
      {"layers.*.mlp.shared_expert.{gate,up}_proj", sw::colwise},
      {"layers.*.mlp.shared_expert.down_proj", sw::rowwise_partial_output},
      {"layers.*.mlp", sw::all_reduce},
  });
  const sw::audit_report right = sw::audit(plan, t, 2);
  INFO(text(right));
  CHECK(right.clean());
  CHECK(right.all_reduces == 1);
  // Without the row above, the sums are never made; with a reduce below, one is made twice.
  CHECK(has(sw::audit(plan.with({{"layers.*.mlp", sw::local_params}}), t, 2), finding_kind::never_reduced,
            "layers.*.mlp.experts.down_proj", sw::severity::error));
  for (const sw::rule& r : {sw::rule("layers.*.mlp.shared_expert.down_proj", sw::rowwise),
                            sw::rule("layers.*.mlp.experts", sw::moe_tp_experts)}) {
    const sw::audit_report twice = sw::audit(plan.with({r}), t, 2);
    INFO(r.text << '\n' << text(twice));
    CHECK(!twice.clean());
  }
}

TEST_CASE("what the plan lets be whole is a note, with no collective", "[audit]") {
  sw::tree t;
  t.add("visual.blocks.0.attn.qkv.weight", sw::dtype::f32, {18, 6})
      .add("visual.blocks.0.attn.proj.weight", sw::dtype::f32, {6, 6});
  t.config("", "num_heads", 3);
  const char* why = "heads that do not divide";
  const auto plan = sw::plan({{"visual.blocks.*.attn.qkv", sw::colwise.groups(3).units("num_heads").or_whole(why)},
                              {"visual.blocks.*.attn.proj", sw::rowwise.units("num_heads").or_whole(why)}});
  const sw::audit_report two = sw::audit(plan, t, 2), three = sw::audit(plan, t, 3);
  INFO(text(two));
  CHECK(has(two, finding_kind::whole_as_planned, "visual.blocks.*.attn.qkv", sw::severity::note));
  CHECK(two.all_reduces == 0);
  CHECK(two.rank_bytes == two.bytes);
  CHECK(three.all_reduces == 1);
  CHECK(three.rank_bytes == three.bytes / 3);
  CHECK(!three.has(finding_kind::whole_as_planned));
  const sw::size_table sizes = sw::sizes(plan, t, {.up_to = 3});
  CHECK((sizes.rows[1].legal && sizes.rows[1].weights == two.bytes && sizes.rows[1].collectives == 0));
  CHECK((sizes.rows[2].weights == three.bytes / 3 && sizes.rows[2].collectives == 1));
}
