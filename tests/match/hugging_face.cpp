// SPDX-License-Identifier: Apache-2.0
// Imported plans are matched as Hugging Face's own functions match: matching.json holds what those returned.
#include <simdjson.h>

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/plan/export.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;
using simdjson::dom::element;

namespace {

std::string text(element e) { return std::string(e.get_string().value()); }

/// A plan of `[pattern, style]` rows. All its rows are Hugging Face's, a `{` or `**` among them would be a plain name.
struct plan_of_rows {
  std::vector<std::pair<std::string, std::string>> rows;
  std::vector<sw::rule> rules;
  void add(const std::string& pattern, const std::string& style) { rows.emplace_back(pattern, style); }
  sw::plan_view view() {
    rules.clear();
    for (const auto& [pattern, style] : rows) {
      rules.emplace_back(std::string_view(pattern), sw::parse_style(style), sw::dialect::hugging_face);
    }
    return {rules.data(), rules.size()};
  }
};

/// The style of a parameter, styles without a parameter half included, which never own one but are found by name.
std::optional<std::string> named_for_parameter(sw::plan_view plan, std::string_view name) {
  std::optional<std::string> found;
  auto level = sw::match_level::none;
  for (const sw::rule& r : plan) {
    const sw::match_level at = sw::detail::matches_parameter(r, sw::detail::split_name(name));
    if (at <= level) continue;
    level = at;
    found = r.how.name();
  }
  return found;
}
std::optional<std::string> named_for_module(sw::plan_view plan, std::string_view name) {
  const sw::owner who = sw::find_module_rule(plan, name);
  if (who.rule == sw::no_rule) return std::nullopt;
  return std::string(plan[who.rule].how.name());
}

constexpr bool stars(std::string_view pattern, std::string_view name) {
  const sw::rule r(pattern, sw::colwise, sw::dialect::hugging_face);
  return sw::detail::matches_module(r, sw::detail::split_name(name));
}
static_assert(stars("a.*.b", "a.0.b") && !stars("a.*.b", "a.x.b") && !stars("a.0.b", "a.0.b"));
static_assert(stars("a.**", "a.**") && !stars("a.**", "a.b") && !stars("a.{b,c}", "a.b"));
static_assert(stars("", "") && !stars("", "a"));

using rows_of_plan = std::set<std::pair<std::string, std::string>>;

/// The parameters of the small models of matching.json, of two layers.
std::vector<std::string> parameters_of(const std::string& model) {
  std::vector<std::string> in_layer = {"self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                       "self_attn.v_proj.weight", "self_attn.o_proj.weight",
                                       "input_layernorm.weight",  "post_attention_layernorm.weight"};
  const auto add = [&](std::initializer_list<const char*> more) {
    in_layer.insert(in_layer.end(), more.begin(), more.end());
  };
  if (model == "llama") {
    add({"mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"});
  } else if (model == "qwen3_moe") {
    add({"self_attn.q_norm.weight", "self_attn.k_norm.weight", "mlp.gate.weight", "mlp.experts.gate_up_proj",
         "mlp.experts.down_proj"});
  } else {
    REQUIRE(model == "gpt_oss");
    add({"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias", "self_attn.o_proj.bias",
         "self_attn.sinks", "mlp.router.weight", "mlp.router.bias", "mlp.experts.gate_up_proj",
         "mlp.experts.gate_up_proj_bias", "mlp.experts.down_proj", "mlp.experts.down_proj_bias"});
  }
  std::vector<std::string> all = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const std::string& name : in_layer) all.push_back(layer + name);
  }
  return all;
}

/// Every parameter and module that a rule of the plan names, with its style.
rows_of_plan expanded(sw::plan_view plan, const std::vector<std::string>& parameters) {
  rows_of_plan found;
  std::set<std::string> modules;
  for (std::string name : parameters) {
    if (const auto style = named_for_parameter(plan, name)) found.emplace(name, *style);
    while (!name.empty()) {
      const std::size_t dot = name.rfind('.');
      name.resize(dot == std::string::npos ? 0 : dot);
      modules.insert(name);
    }
  }
  for (const std::string& name : modules) {
    if (const auto style = named_for_module(plan, name)) found.emplace(name, *style);
  }
  return found;
}

sw::tree tree_of_names(const std::vector<std::string>& names) {
  sw::tree t;
  for (const std::string& name : names) t.add(name, sw::dtype::f32, {8, 8, 8});
  return t;
}
bool has(const element& object, const char* key) { return !object[key].error(); }

}  // namespace

TEST_CASE("a name is starred as Hugging Face stars it", "[match]") {
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  std::size_t checked = 0;
  for (const element row : json["wildcard"].get_array()) {
    const std::string name = text(row["name"]), expected = text(row["wildcard"]);
    INFO(name);
    const sw::detail::segments path = sw::detail::split_name(name);
    std::string starred;
    for (std::size_t i = 0; i < path.count; ++i) {
      if (i != 0) starred += '.';
      starred += path.at[i].number ? std::string_view("*") : path.at[i].view();
    }
    CHECK(starred == expected);
    CHECK(stars(expected, name));
    CHECK(stars(name, name) == (name == expected));
    ++checked;
  }
  CHECK(checked == 44);
}

TEST_CASE("a parameter finds its own rule, then its module's, one level up; a module only its own", "[match]") {
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  plan_of_rows rows;
  for (const element row : json["lookup_plan"].get_array()) rows.add(text(row.at(0)), text(row.at(1)));
  const sw::plan_view plan = rows.view();
  std::size_t checked = 0;
  for (const element row : json["lookups"].get_array()) {
    const std::string name = text(row["name"]);
    INFO(name);
    std::optional<std::string> expected;
    if (!row["style"].is_null()) expected = text(row["style"]);
    ++checked;
    if (!row["is_weight"].get_bool().value()) {
      CHECK(named_for_module(plan, name) == expected);
      continue;
    }
    CHECK(named_for_parameter(plan, name) == expected);
    // What owns it is the same rule, unless that says nothing of parameters.
    const sw::owner who = sw::find_parameter_rule(plan, name);
    CHECK(who.tied_with == sw::no_rule);
    if (expected && sw::parse_style(*expected).has_parameter_half()) {
      REQUIRE(who.rule != sw::no_rule);
      CHECK(plan[who.rule].how.name() == *expected);
    } else {
      CHECK(who.rule == sw::no_rule);
    }
  }
  CHECK(checked == 50);
}

TEST_CASE("a plan is expanded over a model as Hugging Face expands it", "[match]") {
  const std::vector<std::string> parameters = parameters_of("qwen3_moe");
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  std::size_t checked = 0;
  for (const element row : json["expand"].get_array()) {
    REQUIRE(text(row["model"]) == "qwen3_moe, 2 layers");
    plan_of_rows rows;
    for (const auto field : row["plan"].get_object()) rows.add(std::string(field.key), text(field.value));
    const sw::plan_view plan = rows.view();
    rows_of_plan expected;
    for (const element pair : row["expanded"].get_array()) expected.emplace(text(pair.at(0)), text(pair.at(1)));
    const rows_of_plan found = expanded(plan, parameters);
    INFO(simdjson::minify(row["plan"]));
    CHECK(found == expected);
    ++checked;
  }
  CHECK(checked == 6);
}

TEST_CASE("a row that names a parameter hides its module's, even where its style says nothing of parameters",
          "[match]") {
  // As `_get_parameter_plan` looks up: the name itself first, its module only if that finds nothing.
  sw::imported_plan plan;
  plan.add("a", "colwise").add("a.weight", "all_reduce");
  CHECK(sw::find_parameter_rule(plan, "a.weight").rule == sw::no_rule);
  CHECK(sw::find_parameter_rule(plan, "a.bias").rule == 0);
}

TEST_CASE("what nothing applies to and what no rule covers is what Hugging Face says, but for its false alarms",
          "[match]") {
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  std::size_t alike = 0, false_alarms = 0, no_plan = 0;
  for (const element row : json["verify_tp_plan"].get_array()) {
    INFO(simdjson::minify(row));
    std::string warnings;
    for (const element w : row["warnings"].get_array()) warnings += text(w) + '\n';
    if (row["plan"].is_null()) {
      CHECK(warnings.empty());
      ++no_plan;
      continue;
    }
    std::vector<std::string> keys;
    for (const element key : row["keys"].get_array()) keys.push_back(text(key));
    plan_of_rows rows;
    for (const auto field : row["plan"].get_object()) rows.add(std::string(field.key), text(field.value));
    const sw::plan_view plan = rows.view();
    // Its own rules are optional; here each is asked whether it matches.
    for (sw::rule& r : rows.rules) r.optional = false;
    const sw::coverage_verdict ours = sw::coverage_of(plan, tree_of_names(keys));
    bool idle_alike = true;
    std::size_t idle = 0;
    for (std::size_t r = 0; r < rows.rows.size(); ++r) {
      const std::string quoted = "'" + rows.rows[r].first + "': '";
      const bool theirs = warnings.find(quoted) != std::string::npos;
      const bool matches = idle < ours.idle && ours.idle_rule[idle] == r;
      idle += matches;
      CHECK((theirs || !matches));  // it misses none
      idle_alike = idle_alike && theirs == matches;
    }
    CHECK(idle == ours.idle);
    const bool theirs_uncovered = warnings.find("not sharded") != std::string::npos;
    CHECK((theirs_uncovered || ours.holes == 0));
    const bool all_alike = idle_alike && theirs_uncovered == (ours.holes != 0);
    // It looks up modules only, and stars every digit: a rule of a parameter, or of `fc1`, it takes to be idle.
    bool parameter_or_digit = false;
    for (const auto& [pattern, style] : rows.rows) {
      parameter_or_digit = parameter_or_digit || pattern.find_first_of("0123456789") != std::string::npos;
      for (const std::string& key : keys)
        parameter_or_digit = parameter_or_digit || (stars(pattern, key) && key != "bias");
    }
    CHECK(all_alike == !parameter_or_digit);
    ++(all_alike ? alike : false_alarms);
  }
  CHECK(alike == 4);
  CHECK(false_alarms == 4);
  CHECK(no_plan == 1);
}

TEST_CASE("a plan is set as Hugging Face sets it", "[match]") {
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  const sw::tree llama = tree_of_names(parameters_of("llama"));
  std::size_t set = 0, refused = 0, no_dictionary = 0;
  for (const element row : json["tp_plan_setter"].get_array()) {
    INFO(simdjson::minify(row));
    const element given = row["plan"];
    if (!given.is_object() && !given.is_null()) {  // which C++ has types for
      CHECK(text(row["error"]) == "ValueError: Can only set a dictionary as `tp_plan`");
      ++no_dictionary;
      continue;
    }
    sw::imported_plan plan;
    const auto add_all = [&] {
      if (given.is_null()) return;
      for (const auto field : given.get_object()) plan.add(field.key, field.value.get_string().value());
    };
    if (has(row, "error")) {
      CHECK_THROWS_MATCHES(add_all(), sw::plan_error, says("unknown style 'no_such_style'"));
      ++refused;
      continue;
    }
    add_all();
    rows_of_plan expected, found;
    for (const auto field : row["after"].get_object()) expected.emplace(field.key, field.value.get_string().value());
    for (const sw::exported_row& r : sw::exported(plan)) found.emplace(r.pattern, r.style);
    CHECK(found == expected);
    const bool warned = row["warnings"].get_array().size() != 0;
    CHECK(warned == (sw::shard(plan, llama, {.tp = 2, .holes = sw::uncovered::whole}).unmatched_rules().size() != 0));
    ++set;
  }
  CHECK(set == 4);
  CHECK(refused == 1);
  CHECK(no_dictionary == 2);
}

TEST_CASE("plans of model and user are resolved as Hugging Face resolves them, or refused where it refuses",
          "[match]") {
  simdjson::dom::parser parser, other;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  std::size_t resolved = 0, refused = 0, refused_here_only = 0, unlike_module = 0, sizes_of_meshes = 0;
  for (const element row : json["resolve"].get_array()) {
    INFO(simdjson::minify(row));
    const std::string model = text(row["model"]);
    const element config = row["config"];
    const auto size = [&](const char* key) {
      return has(config, key) ? static_cast<int>(config[key].get_int64().value()) : 1;
    };
    const int tp = size("tp_size"), ep = size("ep_size");
    const std::string error = has(row, "error") ? text(row["error"]) : "";
    // How the groups of several parallelisms lie in each other is not a plan's: a communicator is made by the engine.
    if (error.find("`ep_size` must") != std::string::npos || error.find("pipeline parallelism") != std::string::npos) {
      ++sizes_of_meshes;
      continue;
    }

    sw::imported_plan tensor, expert(sw::parallelism::expert);
    const auto take = [](sw::imported_plan& plan, element from) {
      for (const auto field : from.get_object()) plan.add(field.key, field.value.get_string().value());
    };
    if (model == "gpt_oss") {
      tensor.add("lm_head", "colwise_gather_output");
      for (const char* p : {"gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias"}) {
        expert.add("model.layers.*.mlp.experts." + std::string(p), "grouped_gemm");
      }
      expert.add("model.layers.*.mlp.experts", "ep_dispatch_experts");
    } else {
      const element plans = other.load(SHARDWISE_TEST_DATA "/goldens/" + model + "/plan.json");
      take(tensor, plans["tp_plan"]);
      if (has(plans, "ep_plan") && plans["ep_plan"].is_object()) take(expert, plans["ep_plan"]);
    }
    const std::vector<std::string> parameters = parameters_of(model);
    const sw::tree tree = tree_of_names(parameters);
    std::vector<std::string> unmatched;
    const auto resolve = [&] {
      const auto replace = [&](sw::imported_plan& plan, const char* key) {
        if (!has(config, key)) return;
        if (config[key].get_object().size() == 0) plan = sw::imported_plan(plan.over());  // {} is no plan
        for (const auto field : config[key].get_object()) plan.replace(field.key, field.value.get_string().value());
      };
      replace(tensor, "tp_plan");
      replace(expert, "ep_plan");
      if (ep > 1) tensor.leave_to(expert);
      const auto hole = [](const sw::imported_plan& p) {
        return p.size() == 0 ? sw::uncovered::by_plan : sw::uncovered::whole;
      };
      if (tp != 1) {
        const sw::sharding s = sw::shard(tensor, tree, {.tp = tp, .holes = hole(tensor)});
        for (const std::uint16_t r : s.unmatched_rules()) unmatched.emplace_back(s.pattern(r));
      }
      if (ep != 1 || has(config, "ep_plan")) (void)sw::shard(expert, tree, {.tp = ep, .holes = hole(expert)});
    };
    if (!error.empty()) {
      CHECK_THROWS_AS(resolve(), sw::error);
      ++refused;
      continue;
    }
    if (tp == 1 && has(config, "tp_plan")) {  // of a single rank it does not read the plan; here a typing error is one
      CHECK_THROWS_AS(resolve(), sw::plan_error);
      ++refused_here_only;
      continue;
    }
    const element user = has(config, "tp_plan") ? element(config["tp_plan"]) : element();
    if (has(config, "tp_plan") && has(user, "model.layers.*.self_attn.q_proj.weight")) {
      // It takes a weight that is cut unlike its module, and fails in forward.
      CHECK_THROWS_MATCHES(resolve(), sw::shard_error, says("unlike its module"));
      ++unlike_module;
    } else {
      resolve();
    }
    for (const auto& [key, rules, used] : {std::tuple("tp", &tensor, tp != 1), std::tuple("ep", &expert, ep != 1)}) {
      const rows_of_plan all = used ? expanded(*rules, parameters) : rows_of_plan{};
      CHECK(all.size() == row[key + std::string("_rules")].get_uint64().value());
      rows_of_plan expected, found;
      for (const element pair : row[key].get_array()) expected.emplace(text(pair.at(0)), text(pair.at(1)));
      for (const auto& rule : all) {
        if (rule.first.find("layers.1") == std::string::npos) found.insert(rule);  // of which it lists none
      }
      CHECK(found == expected);
    }
    std::string warnings;
    if (has(row, "warnings")) {
      for (const element w : row["warnings"].get_array()) warnings += text(w);
    }
    CHECK(warnings.empty() == unmatched.empty());
    for (const std::string& pattern : unmatched) CHECK(warnings.find("'" + pattern + "'") != std::string::npos);
    ++resolved;
  }
  CHECK(resolved == 10);
  CHECK(refused == 12);
  CHECK(refused_here_only == 1);
  CHECK(unlike_module == 1);
  CHECK(sizes_of_meshes == 4);
}
