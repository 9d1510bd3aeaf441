// SPDX-License-Identifier: Apache-2.0
// The plan of a checkpoint, by the `architectures` and the `model_type` of its config.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/models/llama.hpp"
#include "shardwise/models/qwen2.hpp"
#include "shardwise/models/qwen3.hpp"
#include "shardwise/models/qwen3_5_moe.hpp"
#include "shardwise/plan/import.hpp"

namespace shardwise {
inline namespace v0 {
namespace models {

/// One model class that has a plan.
struct family {
  std::string_view architecture;  ///< as config.json says: "LlamaForCausalLM"
  std::string_view model_type;    ///< as config.json says: "llama"
  plan_view hf;                   ///< Hugging Face's merged plan, as it is
  plan_view complete;             ///< the same, and every parameter spoken of
};

inline constexpr family families[] = {
    {"LlamaForCausalLM", "llama", llama::hf_for_causal_lm, llama::for_causal_lm},
    {"Qwen2ForCausalLM", "qwen2", qwen2::hf_for_causal_lm, qwen2::for_causal_lm},
    {"Qwen3ForCausalLM", "qwen3", qwen3::hf_for_causal_lm, qwen3::for_causal_lm},
    {"Qwen3_5MoeForCausalLM", "qwen3_5_moe_text", qwen3_5_moe::hf_for_causal_lm, qwen3_5_moe::for_causal_lm},
    {"Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe", qwen3_5_moe::hf_for_conditional_generation,
     qwen3_5_moe::for_conditional_generation},
};

/// The family of a checkpoint. `architecture` may be empty (an old config): then the model type decides.
/// Throws `plan_error`, with the nearest and all known ones, for a model that has no plan here.
inline const family& family_of(std::string_view architecture, std::string_view model_type) {
  for (const family& f : families) {
    if (f.model_type == model_type && (architecture.empty() || f.architecture == architecture)) return f;
  }
  const family* nearest = nullptr;
  std::size_t best = ~std::size_t{};
  for (const family& f : families) {
    const std::size_t d = detail::distance(model_type, f.model_type) + detail::distance(architecture, f.architecture);
    if (d < best) {
      best = d;
      nearest = &f;
    }
  }
  plan_error e("no plan is known for architecture '", architecture, "' with model_type '", model_type,
               "'; the nearest is '", nearest->architecture, "', and all are:");
  for (const family& f : families) {
    e.append(std::string_view(&f == families ? " " : ", "));
    e.append(f.architecture);
  }
  e.append(std::string_view("; give a plan file, or compose one"));
  detail::raise(e);
}

/// The family of a config: whatever has `architectures()`, a range of names, and `model_type()`.
template <class Config>
const family& family_of(const Config& config) {
  std::string_view architecture;
  for (const auto& name : config.architectures()) {
    if (architecture.empty()) architecture = name;
  }
  return family_of(architecture, config.model_type());
}

/// Hugging Face's merged plan, as it is: what it leaves whole, it leaves whole silently.
inline plan_view hf_plan(std::string_view architecture, std::string_view model_type) {
  return family_of(architecture, model_type).hf;
}
template <class Config>
plan_view hf_plan(const Config& config) {
  return family_of(config).hf;
}
/// The best plan that there is for this model; every parameter is spoken of.
inline plan_view auto_plan(std::string_view architecture, std::string_view model_type) {
  return family_of(architecture, model_type).complete;
}
template <class Config>
plan_view auto_plan(const Config& config) {
  return family_of(config).complete;
}

}  // namespace models
}  // namespace v0
}  // namespace shardwise
