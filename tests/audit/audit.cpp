// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/audit.hpp"

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

/// The line of the first finding of a kind about something; the whole report where there is none.
std::string line(const sw::audit_report& r, finding_kind kind, std::string_view subject = {}) {
  const sw::finding* f = r.find(kind, subject);
  return f == nullptr ? "not found in\n" + text_of(r) : text_of(*f);
}
}  // namespace

TEST_CASE("a right plan has no findings, and the report sums up what it does", "[audit]") {
  for (const int tp : {1, 2, 4}) CHECK_THAT(right_plan().audit(decoder(), tp), sw::testing::IsClean());
  const sw::audit_report r = right_plan().audit(decoder(), 2);
  CHECK(r.findings.empty());
  // By hand: 2 x (64000 + 2 (8 x 1024 + ... )) bytes; norms are whole.
  const std::size_t norms = 2 * (8 + 64) + 64;
  const std::size_t matrices = 2 * 64000 + 2 * (2 * 4096 + 2 * 2048 + 3 * 6144 + 4 * 4096 + 4 * 2048);
  CHECK(r.bytes == 2 * (norms + matrices));
  CHECK(r.rank_bytes == 2 * norms + matrices);
  CHECK(r.whole_bytes == 2 * norms);
  CHECK(r.least_rank_bytes == r.rank_bytes);
  CHECK(r.cut == 20);
  CHECK(r.all_reduces == 1 + 2 * 3);  // of the embedding, and in each layer of attention, mlp and experts
  CHECK(r.gathers == 1);
}

TEST_CASE("an audit of no number of ranks, of no rules and of names with another prefix says so", "[audit]") {
  CHECK(line(right_plan().audit(decoder(), 0), finding_kind::bad_rank_count) ==
        "error: tp is 0; it is the number of ranks, at least 1 and at most 65536");
  CHECK(line(rows{}.audit(decoder(), 2), finding_kind::nothing_cut) ==
        "error: none of the 25 parameters is cut: each of 2 ranks holds the whole model and does the whole work; the "
        "plan has no rules: give one");
  rows other;
  other.with("layers.*.mlp.gate_proj", "colwise");
  const sw::audit_report r = other.audit(decoder(), 2);
  CHECK(r.has(finding_kind::nothing_cut));
  CHECK(line(r, finding_kind::idle_rule) ==
        "warning: layers.*.mlp.gate_proj (colwise) matches no parameter and no module; did you mean "
        "model.layers.*.mlp.gate_proj?");
}

TEST_CASE("a large weight that is whole without a reason is weighed in bytes and in time", "[audit]") {
  // 128256 x 8192 BF16 is 2.10 GB; 7/8 of it at 3.35 TB/s take 0.55 ms.
  shapes m;
  m.with("lm_head.weight", {128256, 8192}).with("model.layers.0.mlp.up_proj.weight", {28672, 8192});
  m.with("model.layers.0.mlp.down_proj.weight", {8192, 28672});
  rows p;
  p.with("model.layers.*.mlp.up_proj", "colwise").with("model.layers.*.mlp.down_proj", "rowwise");
  const sw::audit_report r = p.audit(m, 8);
  CHECK(line(r, finding_kind::whole_on_every_rank) ==
        "error: lm_head 2.10 GB is whole on 8 ranks: +1.84 GB per rank, +0.55 ms per decoded token; add {\"lm_head\", "
        "colwise_gather_output}, or allow it: {\"lm_head\", replicate(\"why\")}");
  CHECK(r.findings[0].bytes == 128256ull * 8192 * 2 / 8 * 7);
  CHECK(r.findings[0].milliseconds == Approx(128256. * 8192 * 2 * 7 / 8 / 3.35e12 * 1e3));
  CHECK(line(p.audit(m, 8, {.memory_bandwidth = 1e12}), finding_kind::whole_on_every_rank).find("+1.84 ms") !=
        std::string::npos);
  CHECK(p.audit(m, 1).clean());
  CHECK(p.audit(m, 8, {.whole_threshold = 0.9}).clean());
  CHECK(p.with("lm_head", "replicate").audit(m, 8).has(finding_kind::whole_on_every_rank));
  CHECK(p.with("lm_head", "replicate(the sampler runs on rank 0)").audit(m, 8).clean());
}

TEST_CASE("a subtree of which nothing is cut is one finding, and what is small is one note", "[audit]") {
  shapes m = decoder();
  for (const char* name : {"in_proj", "out_proj", "conv"}) m.with(layer + "linear." + name + ".weight", {64, 64});
  m.with(layer + "gate.weight", {2, 64}).with("model.router.weight", {3, 64});
  const sw::audit_report r = right_plan().audit(m, 2);
  CHECK(line(r, finding_kind::whole_on_every_rank, layer + "linear") ==
        "error: model.layers.*.linear 49.2 kB is whole on 2 ranks: +24.6 kB per rank; add "
        "rows that cut it, or allow it: {\"model.layers.*.linear.**\", replicate(\"why\")}");
  CHECK(r.find(finding_kind::whole_on_every_rank, layer + "linear")->count == 6);
  CHECK(r.count(sw::severity::error) == 1);
  CHECK(r.count(sw::severity::note) == 1);
  CHECK(r.findings.back().text ==
        "2 smaller parts of the model, 896 B in all, are whole on every rank without a reason: "
        "model.layers.*.gate, model.router");
}

TEST_CASE("a model most of which is whole with a reason is clean, and a note says how much it is", "[audit]") {
  sw::tree t;
  t.add("lm_head.weight", sw::dtype::bf16, {64, 32}).add("body.experts", sw::dtype::bf16, {8, 64, 32});
  t.add("body.router.weight", sw::dtype::bf16, {8, 32});
  static constexpr auto whole = sw::plan({
      {"lm_head", sw::colwise_gather_output},
      {"body.experts", sw::replicate("no plan yet")},
      {"body.router", sw::replicate("every rank needs all scores")},
  });
  const sw::audit_report r = sw::audit(whole, t, 4);
  CHECK(r.clean());
  REQUIRE(r.findings.size() == 1);
  // 33,280 of 37,376 bytes; three quarters of them are more than a share.
  CHECK(text_of(r.findings[0]) ==
        "note: 33.3 kB of 37.4 kB is whole on every rank, as the plan says: most of it \"no plan yet\"; rows that cut "
        "it would save a rank up to 25.0 kB");
  CHECK(r.findings[0].bytes == 24960);

  static constexpr auto cut = whole.with({{"body.experts", sw::colwise}});
  CHECK_FALSE(sw::audit(cut, t, 4).has(sw::finding_kind::whole_on_every_rank));
  CHECK(sw::audit(whole, t, 1).findings.empty());
}

TEST_CASE("a table that is looked up in costs memory and no time, and experts what a token reads of them", "[audit]") {
  rows p = right_plan();
  const sw::audit_report table = p.without("model.embed_tokens").audit(decoder(), 2);
  CHECK(table.find(finding_kind::whole_on_every_rank)->milliseconds == 0);
  CHECK(line(table, finding_kind::whole_on_every_rank) ==
        "error: model.embed_tokens 128 kB is whole on 2 ranks: +64.0 kB per rank; add {\"model.embed_tokens\", "
        "embedding_rowwise}, or allow it: {\"model.embed_tokens\", replicate(\"why\")}");
  // So does a table of each layer's rows, as Gemma has it.
  const sw::audit_report rows_of_layers =
      right_plan().audit(decoder().with("model.embed_tokens_per_layer.weight", {1000, 64}), 2);
  CHECK(rows_of_layers.find(finding_kind::whole_on_every_rank, "model.embed_tokens_per_layer")->milliseconds == 0);
  const sw::audit_report list = right_plan().audit(decoder().with("model.codec_embedding.*.weight", {1000, 64}), 2);
  CHECK(list.find(finding_kind::whole_on_every_rank, "model.codec_embedding")->milliseconds == 0);
  p = right_plan();
  p.without(layer + "moe.experts").without(layer + "moe.experts.down_proj").without(layer + "moe.experts.gate_up_proj");
  const sw::finding* f = nullptr;
  const sw::audit_report experts = p.audit(decoder(), 2);
  REQUIRE((f = experts.find(finding_kind::whole_on_every_rank)) != nullptr);
  CHECK(f->subject == "model.layers.*.moe");
  CHECK(f->bytes == 2 * 4 * (4096 + 2048));
  CHECK(f->milliseconds == Approx(2. * (4096 + 2048) / 3.35e12 * 1e3));  // one of four experts
}

TEST_CASE("a linear layer's style on a module that only has modules is found, as Hugging Face refuses it", "[audit]") {
  rows p;
  p.list = {{"model.layers.*", "colwise"}};
  const sw::audit_report r = p.audit(decoder(), 2);
  CHECK(line(r, finding_kind::style_unlike_module) ==
        "error: model.layers.* only has modules below it, and colwise is for a linear layer: Hugging Face refuses to "
        "apply it; name the layers below it, or leave the row out");
  CHECK(r.find(finding_kind::nothing_cut)->fix ==
        "its rules that cut match nothing that they can cut: name the layers that have weights");
  CHECK(!right_plan().audit(decoder(), 2).has(finding_kind::style_unlike_module));
}

TEST_CASE("rules that own nothing, tie, or are written in an old way are found", "[audit]") {
  static constexpr auto plan = sw::plan({{"a.{x,y}", sw::colwise},
                                         {"a.{x,z}", sw::colwise},
                                         {"b.*", sw::rowwise},
                                         {"b.down_proj", sw::rowwise},
                                         {"c", sw::colwise},
                                         {"e", sw::colwise.units("heads")}});
  sw::tree t;
  t.add("a.x.weight", sw::dtype::bf16, {8, 8}).add("b.down_proj.weight", sw::dtype::bf16, {8, 8});
  t.add("d.weight", sw::dtype::bf16, {8, 8}).add("e.weight", sw::dtype::bf16, {8, 8});
  const sw::audit_report r = sw::audit(plan, t, 2);
  CHECK(line(r, finding_kind::rules_tie) ==
        "error: two rules are equally specific for 'a.x.weight': 'a.{x,y}' and 'a.{x,z}'; make one of them more "
        "literal, or say it in .with({...})");
  CHECK(line(r, finding_kind::shadowed_rule) ==
        "warning: b.* (rowwise) matches, and more literal rules own all that it matches: b.down_proj; leave one of "
        "them out");
  CHECK(line(r, finding_kind::idle_rule) == "error: c (colwise) matches no parameter and no module; did you mean d?");
  CHECK(line(r, finding_kind::not_covered) ==
        "error: no rule matches d.weight; add a row for each, replicate(\"why\") for what is meant to be whole");
  CHECK(line(r, finding_kind::config_number) ==
        "error: units(\"heads\") of 'e.weight': the config has no number of that name; name a number of config.json "
        "that counts what the dim is made of");

  // A plan with an override shadows what it overrides on purpose; one of a family has rows that match nothing.
  static constexpr auto over = sw::plan({{"b.down_proj", sw::rowwise}}).with({{"b.**", sw::replicate("small")}});
  sw::tree b;
  b.add("b.down_proj.weight", sw::dtype::bf16, {8, 8});
  CHECK(sw::audit(over, b, 1).clean());
  static constexpr auto rest = sw::plan({{"b.down_proj", sw::rowwise}}) +
                               sw::plan({{"b.{norm,router}", sw::replicate("if there is one")}}).optional();
  CHECK(sw::audit(rest, b, 1).findings.empty());

  rows p = right_plan();
  p.with(layer + "mlp.fc1", "colwise");
  CHECK(p.audit(decoder(), 2).clean());
  CHECK(line(p.audit(decoder(), 2), finding_kind::idle_rule).starts_with("note: 1 row matches nothing in this model"));
  p = right_plan();
  p.without(layer + "mlp.up_proj").with(layer + "mlp.up_porj", "colwise");
  CHECK(line(p.audit(decoder(), 2), finding_kind::idle_rule) ==
        "warning: model.layers.*.mlp.up_porj (colwise) matches no parameter and no module; did you mean "
        "model.layers.*.mlp.up_proj?");
  p = right_plan();
  p.with("model.layers.1.self_attn.q_proj", "rowwise");
  CHECK(line(p.audit(decoder(), 2), finding_kind::rule_of_one_layer) ==
        "error: model.layers.1.self_attn.q_proj has a layer's number, for which Hugging Face writes a star before it "
        "looks, so that it matches nothing; write model.layers.*.self_attn.q_proj, which is of all layers; a plan of "
        "ours can name one");
  p = right_plan();
  const sw::audit_report old = p.with("lm_head", "colwise_rep").audit(decoder(), 2);
  CHECK(old.clean());
  CHECK(line(old, finding_kind::renamed_style) ==
        "note: lm_head has the style 'colwise_rep', which Hugging Face has renamed; write 'colwise_gather_output'");
}
