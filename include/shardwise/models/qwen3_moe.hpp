// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"

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

}  // namespace models::qwen3_moe
}  // namespace v0
}  // namespace shardwise
