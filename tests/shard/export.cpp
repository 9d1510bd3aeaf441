// SPDX-License-Identifier: Apache-2.0
// A plan that is exported for a model and imported again cuts it alike, or the notes name where it does not.
#include "shardwise/shard/export.hpp"

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {

using rows = std::map<std::string, std::string>;

rows rows_of(const sw::exported_plan& e) {
  rows out;
  for (const sw::exported_row& r : e) out[std::string(r.pattern)] = r.style;
  return out;
}
std::set<std::string> noted_in(const sw::exported_plan& e) {
  std::set<std::string> out;
  for (const sw::export_note& n : e.notes()) out.emplace(n.what);
  return out;
}
std::string starred(std::string_view name) {
  sw::error text;
  sw::detail::append_path(text, sw::detail::starred(sw::detail::split_name(name)));
  return std::string(text.text());
}

sw::tree small_model() {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {16, 8});
  for (const char* layer : {"layers.0.", "layers.1."}) {
    const auto add = [&](const char* name, sw::tensor_shape shape) {
      t.add(layer + std::string(name), sw::dtype::f32, shape);
    };
    add("attn.qkv.weight", {24, 8});
    add("attn.qkv.bias", {24});
    add("attn.o.weight", {8, 8});
    add("attn.o.bias", {8});
    add("attn.sinks", {8});
    add("experts.gate_up", {4, 16, 8});
    add("experts.down", {4, 8, 8});
    add("norm.weight", {8});
  }
  t.add("head.weight", sw::dtype::f32, {16, 8});
  return t;
}

}  // namespace

TEST_CASE("a plan for a model is exported as one row for each module, and for parameters unlike their module",
          "[shard]") {
  static constexpr auto plan = sw::plan({{"embed", sw::embedding_rowwise},
                                         {"layers.*.attn.{qkv,o}", sw::colwise},
                                         {"**.attn.o.weight", sw::colwise},
                                         {"layers.*.attn.sinks", sw::colwise},
                                         {"layers.*.attn", sw::local_params},
                                         {"layers.*.experts.gate_up", sw::packed_colwise<2>},
                                         {"layers.*.experts.down", sw::rowwise},
                                         {"layers.*.experts", sw::moe_tp_experts},
                                         {"**", sw::replicate("the rest")}})
                                   .with({{"**.o", sw::rowwise}, {"**.o.weight", sw::rowwise}});
  const sw::exported_plan e = sw::exported(plan, small_model());
  CHECK(noted_in(e).empty());
  CHECK(rows_of(e) == rows{{"embed", "embedding_rowwise"},
                           {"layers.*.attn.qkv", "colwise"},
                           {"layers.*.attn.o", "rowwise"},
                           {"layers.*.attn.sinks", "colwise"},
                           {"layers.*.attn", "local_params"},
                           {"layers.*.experts.gate_up", "packed_colwise"},
                           {"layers.*.experts.down", "rowwise"},
                           {"layers.*.experts", "moe_tp_experts"},
                           {"layers.*.norm", "replicate"},
                           {"head", "replicate"}});
}

TEST_CASE("where Hugging Face would do otherwise than the plan, the notes name the place", "[shard]") {
  static constexpr auto plan = sw::plan({{"layers.0.attn.o", sw::rowwise},              // one layer
                                         {"layers.1.attn.o", sw::replicate},            // unlike another
                                         {"layers.*.attn.qkv", sw::colwise.groups(3)},  // no such style
                                         {"layers.*.experts.down", sw::packed_rowwise<2>},
                                         {"layers.*.norm", sw::packed_colwise<2>},  // cut plainly there
                                         {"head", sw::colwise.units("heads")},
                                         {"embed", sw::packed_rowwise<2>}});  // no sum there
  const sw::exported_plan e = sw::exported(plan, small_model());
  CHECK(noted_in(e) == std::set<std::string>{"layers.*.attn.o", "layers.*.attn.o.weight", "layers.*.attn.qkv",
                                             "layers.*.attn.qkv.weight", "layers.*.attn.qkv.bias",
                                             "layers.*.norm.weight", "head", "embed"});
  for (const sw::export_note& n : e.notes()) {
    if (n.what == "layers.*.attn.o.weight") {
      CHECK(n.why ==
            "cut by replicate in the plan, and by rowwise in the exported rows, which have one row for all numbers");
    }
    if (n.what == "layers.*.attn.qkv.weight") {
      CHECK(n.why ==
            "cut by packed_colwise of 3 groups in the plan, and by no rule in the exported rows, which cannot say it");
    }
    if (n.what == "embed") {
      CHECK(n.why ==
            "run by packed_rowwise of 2 groups in the plan, and by packed_rowwise of 2 groups in the exported "
            "rows, which cannot say it");
    }
  }
}

TEST_CASE("a plan that is exported and imported again cuts alike, at random", "[shard]") {
  std::mt19937 random(5);
  const auto one_of = [&](const auto& all) { return all[random() % std::size(all)]; };
  constexpr const char* patterns[] = {"embed",
                                      "**.o",
                                      "layers.*.attn.{qkv,o}",
                                      "layers.*.attn",
                                      "**.attn.**",
                                      "layers.0.**",
                                      "layers.*.experts.{down,gate_up}",
                                      "**.experts",
                                      "**.norm",
                                      "head",
                                      "{head,embed}",
                                      "**.weight",
                                      "**.bias",
                                      "layers.*.attn.o.bias",
                                      "**",
                                      "layers.*.attn.*.weight"};
  const sw::style styles[] = {sw::colwise,
                              sw::rowwise,
                              sw::replicate,
                              sw::packed_colwise<2>,
                              sw::packed_rowwise<2>,
                              sw::colwise_gather_output,
                              sw::rowwise_split_input,
                              sw::embedding_rowwise,
                              sw::grouped_gemm,
                              sw::moe_tp_experts,
                              sw::local_params,
                              sw::all_reduce};
  const sw::tree model = small_model();
  std::size_t compared = 0, unlike = 0, plans = 0;
  while (plans < 300) {
    std::vector<sw::rule> rules;
    std::set<std::string_view> taken;
    for (std::size_t n = 1 + random() % 8; n-- > 0;) {
      sw::rule r(one_of(patterns), one_of(styles));
      if (!taken.insert(r.text).second) continue;
      r.overrides = static_cast<std::uint8_t>(random() % 3);
      r.optional = true;
      rules.push_back(r);
    }
    const sw::plan_view plan(rules.data(), rules.size());
    if (sw::coverage_of(plan, model).ties != 0) continue;
    const sw::exported_plan e = sw::exported(plan, model);
    sw::imported_plan again;
    for (const sw::exported_row& r : e) again.add(r.pattern, r.style);
    const std::set<std::string> noted = noted_in(e);
    for (const sw::tree_entry& p : model) {
      const auto cut_in = [&](sw::plan_view rules_of) {
        const sw::owner who = sw::find_parameter_rule(rules_of, p.name);
        return who.rule == sw::no_rule
                   ? sw::cut{}
                   : sw::cut_by(rules_of[who.rule].how, p.shape.dims(), p.name.ends_with(".bias")).how;
      };
      const sw::cut a = cut_in(plan), b = cut_in(again);
      bool alike = a.dim == b.dim;
      for (int r = 0; r < 2 && alike && !a.whole(); ++r) {
        const std::size_t extent = p.shape[static_cast<std::size_t>(a.dim)];
        alike = sw::pieces_of(a, extent, 2, r) == sw::pieces_of(b, extent, 2, r);
      }
      INFO(p.name);
      if (!alike) CHECK(noted.count(starred(p.name)) == 1);
      ++compared;
      unlike += !alike;
    }
    ++plans;
  }
  CHECK(compared == 300 * model.size());
  CHECK(unlike > compared / 100);  // layers.0.**
  CHECK(unlike < compared / 4);
}
