// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"
#include "shardwise/models/by_head_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::qwen3_moe {

/// The base model's plan. Layers may be dense: those have an `mlp` of their own.
inline constexpr auto base = blocks::attention + blocks::query_key_norm + blocks::experts + blocks::mlp;
/// What it leaves whole, with reasons.
inline constexpr auto whole = blocks::whole_norms + blocks::whole_router;

/// Qwen3MoeForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// Qwen3MoeForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base =
    composed(by_head::attention, by_head::query_key_norm, by_head::experts_here.under("layers.*.mlp"),
             by_head::partial_mlp_here.under("layers.*.mlp"), by_head::reduced_mlp, whole);
/// Qwen3MoeForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::qwen3_moe
}  // namespace v0
}  // namespace shardwise
