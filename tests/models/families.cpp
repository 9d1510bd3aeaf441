// SPDX-License-Identifier: Apache-2.0
#include "shardwise/models/families.hpp"

#include <simdjson.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {

const std::string goldens = std::string(SHARDWISE_TEST_DATA) + "/goldens/";

simdjson::dom::element read(simdjson::dom::parser& parser, const std::string& path) { return parser.load(path); }

std::string text_of(const sw::rule& r) {
  std::string s(sw::detail::length_of(r.pattern), ' ');
  sw::detail::write_path(r.pattern, s.data());
  return s;
}

/// What Hugging Face's own code made of one golden model.
struct golden {
  std::string architecture, model_type;
  std::map<std::string, std::string> plan;      // pattern, style
  std::map<std::string, std::string> expanded;  // concrete name, style
  std::vector<std::pair<std::string, sw::tensor_shape>> parameters;
  bool tied = false;
};

golden golden_of(const std::string& name) {
  golden g;
  simdjson::dom::parser parser;
  const auto config = read(parser, goldens + name + "/config.json");
  g.architecture = std::string(config["architectures"].at(0).get_string().value());
  g.model_type = std::string(config["model_type"].get_string().value());
  g.tied = config["tie_word_embeddings"].get_bool().value();
  const auto plan = read(parser, goldens + name + "/plan.json");
  for (const auto row : plan["tp_plan"].get_object()) {
    g.plan.emplace(std::string(row.key), std::string(row.value.get_string().value()));
  }
  for (const auto row : plan["tp_plan_expanded"].get_object()) {
    g.expanded.emplace(std::string(row.key), std::string(row.value.get_string().value()));
  }
  const auto params = read(parser, goldens + name + "/params.json");
  for (const auto row : params["parameters"].get_object()) {
    sw::tensor_shape shape;
    for (const auto n : row.value.get_array()) shape.push(n.get_uint64().value());
    g.parameters.emplace_back(row.key, shape);
  }
  return g;
}

sw::tree tree_of(const golden& g) {
  sw::tree t;
  for (const auto& [name, shape] : g.parameters) t.add(name, sw::dtype::f32, shape);
  if (g.tied) t.tie("model.embed_tokens.weight", "lm_head.weight");
  return t;
}

const std::vector<std::string> names = {"llama",   "llama_tied", "llama_bias",  "llama_kv2",
                                        "qwen2",   "qwen3",      "qwen3_5_moe", "qwen3_5_moe_vl",
                                        "gpt_oss", "phi3",       "gemma3_text", "olmo2"};

}  // namespace

TEST_CASE("hf_plan is Hugging Face's merged plan, row by row and in its words", "[models]") {
  for (const std::string& name : names) {
    INFO(name);
    const golden g = golden_of(name);
    // In Hugging Face a plan is a dictionary: its order says nothing.
    std::map<std::string, std::string> ours;
    for (const sw::rule& r : sw::models::hf_plan(g.architecture, g.model_type)) {
      CHECK(ours.emplace(text_of(r), r.how.name()).second);
      CHECK(r.matching == sw::dialect::hugging_face);
      CHECK(r.how.divided == sw::division::chunk);
    }
    CHECK(ours == g.plan);
  }
}

TEST_CASE("hf_plan gives each parameter and each module the style that Hugging Face expands it to", "[models]") {
  for (const std::string& name : names) {
    INFO(name);
    const golden g = golden_of(name);
    const sw::plan_view plan = sw::models::hf_plan(g.architecture, g.model_type);
    for (const auto& [path, style] : g.expanded) {
      INFO(path);
      // The expansion lists parameters and modules under one roof; a name that the model has as a parameter is one.
      bool is_parameter = path == "lm_head.weight";
      for (const auto& p : g.parameters) is_parameter |= p.first == path;
      const sw::owner who = is_parameter ? sw::find_parameter_rule(plan, path) : sw::find_module_rule(plan, path);
      REQUIRE(who.rule != sw::no_rule);
      CHECK(plan[who.rule].how.name() == style);
    }
    for (const auto& [path, shape] : g.parameters) {
      INFO(path);
      CHECK((sw::find_parameter_rule(plan, path).rule != sw::no_rule) == (g.expanded.count(path) == 1));
    }
  }
}

TEST_CASE("the complete plan is the same and speaks of every parameter", "[models]") {
  for (const std::string& name : names) {
    INFO(name);
    const golden g = golden_of(name);
    const sw::plan_view hf = sw::models::hf_plan(g.architecture, g.model_type);
    const sw::plan_view complete = sw::models::family_of(g.architecture, g.model_type).complete;
    REQUIRE(complete.size() > hf.size());
    for (std::size_t i = 0; i < complete.size(); ++i) {
      if (i < hf.size()) {
        CHECK(complete[i].same_pattern(hf[i]));
        CHECK(complete[i].how == hf[i].how);
      } else {
        CHECK(complete[i].how.kind == sw::style_kind::replicate);
        CHECK_FALSE(complete[i].how.reason.empty());
      }
    }
    const sw::tree tree = tree_of(g);
    for (int tp : {1, 2, 4}) {
      sw::shard_options options;
      options.tp = tp;
      options.holes = sw::uncovered::refused;
      CHECK_NOTHROW(sw::shard(complete, tree, options));
      if (tp == 1) CHECK_THROWS_AS(sw::shard(hf, tree, options), sw::shard_error);
    }
  }
}

TEST_CASE("auto_plan is by head where there is such a plan, and else Hugging Face's with what it leaves whole",
          "[models]") {
  const sw::plan_view llama = sw::models::by_head_plan("LlamaForCausalLM", "llama");
  CHECK(sw::models::auto_plan("LlamaForCausalLM", "llama").begin() == llama.begin());
  const sw::models::family& mistral = sw::models::family_of("MistralForCausalLM", "mistral");
  CHECK(sw::models::auto_plan("MistralForCausalLM", "mistral").begin() == mistral.complete.begin());
  CHECK_THROWS_MATCHES(sw::models::by_head_plan("MistralForCausalLM", "mistral"), sw::plan_error,
                       says("there is no plan by head for architecture 'MistralForCausalLM' with model_type 'mistral'; "
                            "there is one for llama, qwen2, "));
}

TEST_CASE("a model without a plan is refused by name, with the nearest ones", "[models]") {
  CHECK_THROWS_MATCHES(
      sw::models::hf_plan("LlamaForCausalLN", "lama"), sw::plan_error,
      says("no plan is known for architecture 'LlamaForCausalLN' with model_type 'lama'; the nearest are "
           "'LlamaForCausalLM' with 'llama', "));
  CHECK_THROWS_MATCHES(sw::models::auto_plan("Qwen3_5MoeForCausalLM", "qwen3_5_moe"), sw::plan_error,
                       says("the nearest are 'Qwen3_5MoeForConditionalGeneration' with 'qwen3_5_moe', 'Qwen3"));
}

namespace {
/// As much of a config.json as a plan depends on; one section.
struct short_config {
  std::string_view architecture, type, section, type_there;
  std::vector<std::string_view> architectures() const { return {architecture}; }
  std::string_view model_type() const { return type; }
  std::optional<std::string_view> text(std::string_view of, std::string_view field) const {
    if (of != section || field != "model_type" || type_there.empty()) return std::nullopt;
    return type_there;
  }
};
short_config llava(std::string_view text_model) {
  return {"LlavaForConditionalGeneration", "llava", "text_config", text_model};
}
bool has_row(sw::plan_view plan, const std::string& pattern) {
  for (const sw::rule& r : plan) {
    if (text_of(r) == pattern) return true;
  }
  return false;
}
}  // namespace

TEST_CASE("the plan of a wrapper is that of the text model which its config names", "[models]") {
  const std::string norm = "model.language_model.layers.*.self_attn.q_norm";
  const sw::plan_view usual = sw::models::hf_plan(llava("")), qwen3 = sw::models::hf_plan(llava("qwen3"));
  CHECK_FALSE(has_row(usual, norm));
  CHECK(has_row(qwen3, norm));
  CHECK(has_row(qwen3, "lm_head"));
  CHECK(sw::models::hf_ep_plan(llava("qwen3")).size() == 0);
  CHECK(has_row(sw::models::hf_ep_plan(llava("mixtral")), "model.language_model.layers.*.mlp.experts"));
  // Plans are composed once, and stay.
  CHECK(sw::models::hf_plan(llava("qwen3")).begin() == qwen3.begin());
  CHECK(sw::models::hf_plan(llava("llama")).begin() == usual.begin());
  CHECK_THROWS_MATCHES(sw::models::hf_plan(llava("qwen9")), sw::plan_error,
                       says("no plan is known for the model.language_model of LlavaForConditionalGeneration: "
                            "text_config.model_type is 'qwen9'; the nearest are 'qwen2', 'qwen3' and"));
}

TEST_CASE("a wrapper that has but one text model does not care what its config calls that", "[models]") {
  const short_config renamed{"Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe", "text_config",
                             "qwen3_5_moe_language"};
  CHECK(has_row(sw::models::hf_plan(renamed), "model.language_model.layers.*.mlp.experts"));
  // Hugging Face reads these as another type.
  const short_config kimi{"Kimi_K25ForConditionalGeneration", "kimi_k25", "text_config", "kimi_k2"};
  CHECK(has_row(sw::models::hf_plan(kimi), "model.language_model.layers.*.mlp.shared_experts.up_proj"));
}

TEST_CASE("a tower that is there only if the config has it brings its plan", "[models]") {
  short_config c{"Gemma4ForConditionalGeneration", "gemma4", "vision_config", "gemma4_vision"};
  const std::string row = "model.vision_tower.encoder.layers.*.mlp.up_proj.linear";
  CHECK(has_row(sw::models::hf_plan(c), row));
  c.section = "audio_config";
  CHECK_FALSE(has_row(sw::models::hf_plan(c), row));
}

TEST_CASE("an old config without architectures is known by its model type", "[models]") {
  CHECK(sw::models::family_of("", "llama").architecture == "LlamaForCausalLM");
}
