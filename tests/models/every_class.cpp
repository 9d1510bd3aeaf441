// SPDX-License-Identifier: Apache-2.0
// Every class that Hugging Face has a plan for, against what its own code makes of it (tests/data/models/reduce.py).
#include <simdjson.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/models.hpp"

namespace sw = shardwise;

namespace {

using element = simdjson::dom::element;

element read(simdjson::dom::parser& parser, const char* name) {
  std::string path = SHARDWISE_TEST_DATA "/models/";
  return parser.load(path += name);
}
std::string text_of(element e) { return std::string(e.get_string().value()); }

/// As much of a config.json as a plan is found by.
struct config {
  std::string architecture, type;
  std::map<std::string, std::string, std::less<>> sections;

  explicit config(element e) : architecture(text_of(e["architecture"])), type(text_of(e["model_type"])) {
    for (const auto row : e["sections"].get_object()) sections.emplace(std::string(row.key), text_of(row.value));
  }
  std::vector<std::string_view> architectures() const { return {architecture}; }
  std::string_view model_type() const { return type; }
  std::optional<std::string_view> text(std::string_view section, std::string_view field) const {
    const auto at = sections.find(section);
    if (field != "model_type" || at == sections.end()) return std::nullopt;
    return at->second;
  }
};

using rows = std::map<std::string, std::string>;

/// The leaves of nested objects, by their dotted paths.
void flatten(element e, const std::string& path, rows& out) {
  if (e.is_string()) {
    out.emplace(path, text_of(e));
    return;
  }
  for (const auto field : e.get_object()) {
    const std::string key(field.key);
    flatten(field.value, key.empty() || path.empty() ? path + key : path + "." + key, out);
  }
}
rows flat(element e) {
  rows out;
  flatten(e, "", out);
  return out;
}

std::string pattern_of(const sw::rule& r) {
  std::string s(sw::detail::length_of(r.pattern), ' ');
  sw::detail::write_path(r.pattern, s.data());
  return s;
}
rows rows_of(sw::plan_view plan) {
  rows out;
  for (const sw::rule& r : plan) {
    CHECK(out.emplace(pattern_of(r), r.how.name()).second);
    CHECK(r.matching == sw::dialect::hugging_face);
    CHECK(r.how.divided == sw::division::chunk);
  }
  return out;
}

struct table {
  std::vector<config> classes;
  std::vector<std::string> parameters;
  std::set<std::string> modules;
  std::size_t unruled = 0;
};
std::vector<table> tables() {
  simdjson::dom::parser parser;
  std::vector<table> all;
  for (const element e : read(parser, "names.json")["tables"].get_array()) {
    table t;
    for (const element c : e["classes"].get_array()) t.classes.emplace_back(c);
    t.unruled = e["unruled"].get_uint64().value();
    for (const auto& [module, names] : flat(e["parameters"])) {
      for (std::size_t begin = 0; begin < names.size();) {
        const std::size_t end = std::min(names.find(' ', begin), names.size());
        t.parameters.push_back((module.empty() ? "" : module + ".") + names.substr(begin, end - begin));
        begin = end + 1;
      }
      for (std::size_t dot = 0; dot != std::string::npos; dot = module.find('.', dot + 1)) {
        if (dot != 0) t.modules.insert(module.substr(0, dot));
      }
      t.modules.insert(module);
    }
    all.push_back(std::move(t));
  }
  return all;
}
// With that of GraniteMoeForCausalLM, of which there is none: it is GraniteMoeSharedForCausalLM without what is shared.
std::vector<table> tables_and_granitemoe() {
  std::vector<table> all = tables();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].classes.front().type != "granitemoeshared") continue;
    table t = all[i];
    t.classes.resize(1, t.classes.front());
    t.classes.front().architecture = "GraniteMoeForCausalLM";
    t.classes.front().type = "granitemoe";
    const auto shared = [](const std::string& name) { return name.find("shared_mlp") != std::string::npos; };
    std::erase_if(t.parameters, shared);
    std::erase_if(t.modules, shared);
    all.push_back(std::move(t));
    break;
  }
  return all;
}

}  // namespace

TEST_CASE("hf_plan and hf_ep_plan are Hugging Face's merged plans of every class, row by row and in its words",
          "[models]") {
  simdjson::dom::parser parser;
  const element data = read(parser, "plans.json");
  CHECK(text_of(data["transformers"]) == sw::models::transformers_version);
  std::size_t classes = 0;
  for (const element e : data["plans"].get_array()) {
    for (const element c : e["classes"].get_array()) {
      const config from(c);
      INFO(from.architecture << " " << from.type);
      CHECK(rows_of(sw::models::hf_plan(from)) == flat(e["tp"]));
      CHECK(rows_of(sw::models::hf_ep_plan(from)) == flat(e["ep"]));
      // The default config of a class is what the class usually is made of.
      CHECK(sw::models::hf_plan(from).begin() == sw::models::hf_plan(from.architecture, from.type).begin());
      ++classes;
    }
  }
  CHECK(classes == 212);
}

TEST_CASE(
    "the complete plan adds rows that say why something is whole, cuts as hf_plan does, and speaks of every parameter",
    "[models]") {
  std::size_t classes = 0;
  for (const table& t : tables()) {
    for (const config& c : t.classes) {
      INFO(c.architecture << " " << c.type);
      const sw::plan_view hf = sw::models::hf_plan(c), complete = sw::models::family_of(c).complete;
      REQUIRE(complete.size() > hf.size());
      ++classes;
      for (std::size_t i = 0; i < complete.size(); ++i) {
        if (i < hf.size()) {
          CHECK((complete[i].same_pattern(hf[i]) && complete[i].how == hf[i].how));
        } else {
          CHECK((complete[i].how.kind == sw::style_kind::replicate && !complete[i].how.reason.empty()));
        }
      }
      std::size_t unruled = 0;
      for (const std::string& name : t.parameters) {
        INFO(name);
        const sw::owner cut = sw::find_parameter_rule(hf, name), said = sw::find_parameter_rule(complete, name);
        unruled += cut.rule == sw::no_rule;
        CHECK(said.rule != sw::no_rule);
        CHECK(said.tied_with == sw::no_rule);
        CHECK((cut.rule == said.rule || cut.rule == sw::no_rule));
      }
      CHECK(unruled == t.unruled);
      for (const std::string& name : t.modules) {
        INFO(name);
        const sw::owner does = sw::find_module_rule(hf, name), said = sw::find_module_rule(complete, name);
        CHECK((does.rule == said.rule || does.rule == sw::no_rule));
        if (does.rule != sw::no_rule) CHECK(said.tied_with == sw::no_rule);
      }
    }
  }
  CHECK(classes == 150);  // a variant with parameters of its own counts anew
}

TEST_CASE("a plan by head speaks of every parameter and every module once, and is uneven wherever it cuts",
          "[models]") {
  std::set<std::string> classes;
  for (const table& t : tables_and_granitemoe()) {
    for (const config& c : t.classes) {
      const sw::plan_view plan = sw::models::family_of(c).by_head;
      if (plan.size() == 0) continue;
      INFO(c.architecture << " " << c.type);
      classes.insert(c.architecture + " " + c.type);
      for (const std::string& name : t.parameters) {
        INFO(name);
        const sw::owner said = sw::find_parameter_rule(plan, name);
        CHECK((said.rule != sw::no_rule && said.tied_with == sw::no_rule));
      }
      for (const std::string& name : t.modules) {
        INFO(name);
        CHECK(sw::find_module_rule(plan, name).tied_with == sw::no_rule);
      }
      for (const sw::rule& r : plan) {
        INFO(pattern_of(r));
        const bool cuts = r.how.has_parameter_half() && r.how.facts().cut != sw::cut_of::whole;
        CHECK((cuts ? r.how.divided == sw::division::uneven : !r.how.has_parameter_half() || !r.how.reason.empty()));
      }
    }
  }
  for (const sw::models::by_head_class& c : sw::models::by_head::table) {
    INFO(c.architecture);
    CHECK(classes.count(std::string(c.architecture) + " " + std::string(c.model_type)) == 1);
  }
}

TEST_CASE("the plans that are constants are those of the table, and speak of every parameter", "[models]") {
  using namespace sw::models;
  struct constant {
    const char *architecture, *type;
    sw::plan_view hf, complete, by_head{};
  };
  const std::vector<constant> constants = {
      {"LlamaForCausalLM", "llama", llama::hf_for_causal_lm, llama::for_causal_lm, llama::by_head_for_causal_lm},
      {"Qwen2ForCausalLM", "qwen2", qwen2::hf_for_causal_lm, qwen2::for_causal_lm, qwen2::by_head_for_causal_lm},
      {"Qwen3ForCausalLM", "qwen3", qwen3::hf_for_causal_lm, qwen3::for_causal_lm, qwen3::by_head_for_causal_lm},
      {"Qwen3MoeForCausalLM", "qwen3_moe", qwen3_moe::hf_for_causal_lm, qwen3_moe::for_causal_lm,
       qwen3_moe::by_head_for_causal_lm},
      {"Qwen3_5MoeForCausalLM", "qwen3_5_moe_text", qwen3_5_moe::hf_for_causal_lm, qwen3_5_moe::for_causal_lm,
       qwen3_5_moe::by_head_for_causal_lm},
      {"Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe", qwen3_5_moe::hf_for_conditional_generation,
       qwen3_5_moe::for_conditional_generation, qwen3_5_moe::by_head_for_conditional_generation},
      {"MixtralForCausalLM", "mixtral", mixtral::hf_for_causal_lm, mixtral::for_causal_lm,
       mixtral::by_head_for_causal_lm},
      {"GptOssForCausalLM", "gpt_oss", gpt_oss::hf_for_causal_lm, gpt_oss::for_causal_lm,
       gpt_oss::by_head_for_causal_lm},
      {"Phi3ForCausalLM", "phi3", phi3::hf_for_causal_lm, phi3::for_causal_lm, phi3::by_head_for_causal_lm},
      {"Gemma3ForCausalLM", "gemma3_text", gemma3_text::hf_for_causal_lm, gemma3_text::for_causal_lm,
       gemma3_text::by_head_for_causal_lm},
      {"Olmo2ForCausalLM", "olmo2", olmo2::hf_for_causal_lm, olmo2::for_causal_lm, olmo2::by_head_for_causal_lm},
      {"DeepseekV3ForCausalLM", "deepseek_v3", deepseek_v3::hf_for_causal_lm, deepseek_v3::for_causal_lm},
      {"Qwen3_5ForCausalLM", "qwen3_5_text", qwen3_5::hf_for_causal_lm, qwen3_5::for_causal_lm,
       qwen3_5::by_head_for_causal_lm},
      {"Qwen3_5ForConditionalGeneration", "qwen3_5", qwen3_5::hf_for_conditional_generation,
       qwen3_5::for_conditional_generation, qwen3_5::by_head_for_conditional_generation},
      {"Qwen3NextForCausalLM", "qwen3_next", qwen3_next::hf_for_causal_lm, qwen3_next::for_causal_lm,
       qwen3_next::by_head_for_causal_lm},
      {"GraniteMoeForCausalLM", "granitemoe", granitemoe::hf_for_causal_lm, granitemoe::for_causal_lm,
       granitemoe::by_head_for_causal_lm},
      {"Gemma3ForConditionalGeneration", "gemma3", gemma3::hf_for_conditional_generation,
       gemma3::for_conditional_generation, gemma3::by_head_for_conditional_generation},
      {"Llama4ForCausalLM", "llama4_text", llama4::hf_for_causal_lm, llama4::for_causal_lm,
       llama4::by_head_for_causal_lm},
      {"Llama4ForConditionalGeneration", "llama4", llama4::hf_for_conditional_generation,
       llama4::for_conditional_generation, llama4::by_head_for_conditional_generation},
  };
  const std::vector<table> all = tables_and_granitemoe();
  for (const constant& k : constants) {
    INFO(k.architecture);
    std::size_t seen = 0;
    CHECK(rows_of(k.hf) == rows_of(hf_plan(k.architecture, k.type)));
    for (const table& t : all) {
      for (const config& c : t.classes) {
        if (c.architecture != k.architecture || c.type != k.type) continue;
        ++seen;
        for (const std::string& name : t.parameters) {
          INFO(name);
          const sw::owner cut = sw::find_parameter_rule(k.hf, name), said = sw::find_parameter_rule(k.complete, name);
          CHECK((said.rule != sw::no_rule && said.tied_with == sw::no_rule));
          CHECK((cut.rule == said.rule || cut.rule == sw::no_rule));
          if (k.by_head.size() == 0) continue;
          const sw::plan_view listed = by_head_plan(c);
          const sw::owner owned = sw::find_parameter_rule(k.by_head, name);
          REQUIRE(owned.rule != sw::no_rule);
          const sw::style ours = k.by_head[owned.rule].how;
          const sw::style theirs = listed[sw::find_parameter_rule(listed, name).rule].how;
          CHECK((ours.kind == sw::style_kind::replicate ? theirs.kind == ours.kind : ours == theirs));
        }
        for (const std::string& name : t.modules) {
          INFO(name);
          if (k.by_head.size() == 0) continue;
          const sw::plan_view listed = by_head_plan(c);
          const sw::owner ours = sw::find_module_rule(k.by_head, name), theirs = sw::find_module_rule(listed, name);
          const bool acts = theirs.rule != sw::no_rule && listed[theirs.rule].how.has_module_half();
          REQUIRE((ours.rule != sw::no_rule && k.by_head[ours.rule].how.has_module_half()) == acts);
          if (acts) CHECK(k.by_head[ours.rule].how == listed[theirs.rule].how);
        }
      }
    }
    CHECK(seen > 0);
  }
}
