// SPDX-License-Identifier: Apache-2.0
// Which plan the model is cut by, and what this engine says of its own parameters beside it.
#pragma once
#include <fmt/core.h>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit.hpp"
#include "shardwise/checkpoint/config.hpp"
#include "shardwise/models.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard.hpp"
#include "simdjson.h"

namespace generate {
namespace sw = shardwise;

inline constexpr auto heads_of_queries = sw::heads("num_attention_heads");
inline constexpr auto heads_of_keys = sw::heads("num_key_value_heads");
inline constexpr auto linear_heads_of_keys = sw::heads("linear_num_key_heads").of("linear_key_head_dim");
inline constexpr auto linear_heads_of_values = sw::heads("linear_num_value_heads").of("linear_value_head_dim");
/// What the dims of the engine's weights are made of: whole heads stay whole, and packed weights are cut in their
/// groups, whatever the plan.
inline constexpr auto engine_layout = sw::layout({
    {"**.self_attn.q_proj", sw::out_features.units("num_attention_heads")},
    {"**.self_attn.{k,v}_proj", sw::out_features.units("num_key_value_heads")},
    {"**.self_attn.o_proj", sw::in_features.units("num_attention_heads")},
    {"**.self_attn.qkv_proj", sw::out_features.groups(heads_of_queries, heads_of_keys, heads_of_keys)},
    {"**.linear_attn.{in_proj_qkv,conv1d}",
     sw::out_features.groups(linear_heads_of_keys, linear_heads_of_keys, linear_heads_of_values)},
    {"**.mlp.experts.gate_up_proj", sw::out_features.groups(2)},
    {"**.mlp.gate_up_proj", sw::out_features.groups(2)},
    {"**.visual.blocks.*.attn.qkv", sw::out_features.groups(3).units("num_heads")},
    {"**.visual.blocks.*.attn.proj", sw::in_features.units("num_heads")},
});

/// A plan by name, or out of a file, which is kept with it as a plan put together of two is.
struct chosen_plan {
  enum kind_t { automatic, hugging_face, from_file } kind = automatic;
  std::string name;
  std::optional<sw::imported_plan> own;
  sw::plan_view rules;
};

namespace detail {
inline sw::imported_plan read_plan(const std::string& path) {
  simdjson::dom::parser parser;
  simdjson::padded_string text;
  simdjson::dom::element root;
  simdjson::dom::object rows;
  auto e = simdjson::padded_string::load(path).get(text);
  if (e != simdjson::SUCCESS) {
    throw sw::plan_error("the plan '", path, "' cannot be read: ", simdjson::error_message(e),
                         "; a plan is auto, hf, by_head or a JSON file");
  }
  e = parser.parse(text).get(root);
  if (e != simdjson::SUCCESS) throw sw::plan_error(path, " is no JSON: ", simdjson::error_message(e));
  if (root.get(rows) != simdjson::SUCCESS) {
    throw sw::plan_error(path, " is no plan: it must be an object {\"pattern\": \"style\", ...}");
  }
  sw::imported_plan plan;
  for (const auto& row : rows) {
    std::string_view style;
    if (row.value.get(style) != simdjson::SUCCESS) {
      throw sw::plan_error(path, ": the style of '", row.key, "' is no text");
    }
    try {
      plan.add(row.key, style);
    } catch (const sw::plan_error& why) {
      throw sw::plan_error(path, ": ", why.text());
    }
  }
  return plan;
}

// The plan with the model's expert-parallel one over the same ranks, as Hugging Face has it: that one has its modules
// and all below them. Hugging Face deals as many experts to each rank; in a plan of ours the first ranks may have one
// more.
inline void share_experts(chosen_plan& plan, const sw::checkpoint::config& config) {
  const sw::plan_view experts = sw::models::hf_ep_plan(config);
  if (experts.size() == 0) {
    throw sw::plan_error("--ep: there is no expert-parallel plan for a ", config.model_type(), "; leave --ep out");
  }
  std::vector<sw::rule> rows(experts.begin(), experts.end());
  for (sw::rule& r : rows) {
    if (plan.kind == chosen_plan::automatic && r.how.kind == sw::style_kind::grouped_gemm) r.how = r.how.uneven();
  }
  if (!plan.own) plan.own.emplace().add(plan.rules);
  plan.own->leave_to(experts).add({rows.data(), rows.size()});
  plan.rules = *plan.own;
  plan.name += " with whole experts";
}
}  // namespace detail

/// A plan by its name on the command line; `expert_parallel`: with whole experts on each rank. Throws `sw::error` for a
/// model that has none, and for a file that is none.
inline chosen_plan choose_plan(const std::string& name, const sw::checkpoint::config& config,
                               bool expert_parallel = false) {
  chosen_plan p;
  p.name = name;
  if (name == "auto") {
    // An expert-parallel plan goes with Hugging Face's.
    p.rules = expert_parallel ? sw::models::family_of(config).complete : sw::models::auto_plan(config);
  } else if (name == "hf") {
    p.kind = chosen_plan::hugging_face;
    p.rules = sw::models::hf_plan(config);
  } else if (name == "by_head") {
    if (expert_parallel) throw sw::plan_error("--ep goes with Hugging Face's plan: leave --plan by_head out");
    p.rules = sw::models::by_head_plan(config);
  } else {
    p.kind = chosen_plan::from_file;
    p.own = detail::read_plan(name);
    p.rules = *p.own;
  }
  if (expert_parallel) detail::share_experts(p, config);
  return p;
}

/// Says on stderr which styles of a plan file have another name in Hugging Face now. They mean what they meant.
inline void warn_of_renamed_styles(const chosen_plan& plan) {
  if (plan.kind != chosen_plan::from_file) return;
  for (const sw::renamed_style& n : plan.own->renamed()) {
    std::cerr << "warning: the style '" << n.old_name << "' of '" << n.pattern << "' in " << plan.name << " is called '"
              << n.new_name << "' now\n";
  }
}

/// Which parameters of the checkpoint the engine holds: all, but for what it makes no use of.
inline std::string_view parts_of(std::string_view model_type) {
  return model_type.starts_with("qwen3_5_moe") ? "model.** lm_head.**" : "";  // without the draft head, mtp.**
}

/// Applies the plan. Hugging Face's plans leave things whole without a word: what is large and whole in that way is
/// named on stderr, and refused where the plan is the user's own.
inline sw::sharding shard_for(const chosen_plan& plan, const sw::tree& tree, std::string_view model_type, int tp) {
  sw::sharding sharding =
      sw::shard(plan.rules, tree,
                {.tp = tp,
                 .only = parts_of(model_type),
                 .layout = engine_layout,
                 .holes = plan.kind == chosen_plan::automatic ? sw::uncovered::refused : sw::uncovered::whole});
  if (plan.kind == chosen_plan::from_file) {
    for (const std::uint16_t r : sharding.unmatched_rules()) {
      std::cerr << "warning: the row '" << sharding.pattern(r) << "' of " << plan.name
                << " matches nothing in this model\n";
    }
  }
  const auto whole = sw::unruled_matrices(sharding);
  if (whole.empty() || plan.kind == chosen_plan::automatic) return sharding;
  std::string text = "no row of the plan covers ";
  for (std::size_t i = 0; i < whole.size() && i < 4; ++i) {
    text +=
        fmt::format("{}'{}' ({:.1f} % of the model's bytes)", i == 0 ? "" : ", ", whole[i].name, 100 * whole[i].share);
  }
  if (whole.size() > 4) text += fmt::format(" and {} more", whole.size() - 4);
  text += ", so that every rank would hold all of it: cut it, or say \"replicate(why)\"";
  if (plan.kind == chosen_plan::from_file) throw sw::shard_error(text);
  std::cerr << "warning: " << text << '\n';
  return sharding;
}

}  // namespace generate
