// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::deepseek_v3 {

/// The base model's plan: the feed-forward alone. The first layers are dense.
inline constexpr auto base = blocks::experts + blocks::shared_experts + blocks::mlp;
/// What it leaves whole, with reasons: the attention too, unlike in deepseek_v32 (`blocks::latent_attention`).
inline constexpr auto whole =
    blocks::whole_norms + blocks::whole_router +
    plan({
        {"layers.*.self_attn.**",
         replicate("Hugging Face has no rule for this attention: it runs whole on every rank")},
    });

/// DeepseekV3ForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// DeepseekV3ForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

}  // namespace models::deepseek_v3
}  // namespace v0
}  // namespace shardwise
