// SPDX-License-Identifier: Apache-2.0
// Imported plans are matched as Hugging Face's own functions match: matching.json holds what those returned.
#include <simdjson.h>

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/plan/import.hpp"

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
  // The names of its two-layer qwen3_moe.
  std::vector<std::string> parameters = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* name :
         {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
          "self_attn.q_norm.weight", "self_attn.k_norm.weight", "mlp.gate.weight", "mlp.experts.gate_up_proj",
          "mlp.experts.down_proj", "input_layernorm.weight", "post_attention_layernorm.weight"}) {
      parameters.push_back(layer + std::string(name));
    }
  }
  std::set<std::string> modules;
  for (std::string name : parameters) {
    while (!name.empty()) {
      const std::size_t dot = name.rfind('.');
      name.resize(dot == std::string::npos ? 0 : dot);
      modules.insert(name);
    }
  }
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/matching.json");
  std::size_t checked = 0;
  for (const element row : json["expand"].get_array()) {
    REQUIRE(text(row["model"]) == "qwen3_moe, 2 layers");
    plan_of_rows rows;
    for (const auto field : row["plan"].get_object()) rows.add(std::string(field.key), text(field.value));
    const sw::plan_view plan = rows.view();
    std::set<std::pair<std::string, std::string>> expected, found;
    for (const element pair : row["expanded"].get_array()) expected.emplace(text(pair.at(0)), text(pair.at(1)));
    for (const std::string& name : parameters) {
      if (const auto style = named_for_parameter(plan, name)) found.emplace(name, *style);
    }
    for (const std::string& name : modules) {
      if (const auto style = named_for_module(plan, name)) found.emplace(name, *style);
    }
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
