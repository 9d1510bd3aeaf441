// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::gemma3_text {

/// The base model's plan.
inline constexpr auto base = blocks::attention + blocks::query_key_norm + blocks::mlp;
/// What it leaves whole, with reasons.
inline constexpr auto whole = blocks::whole_norms + blocks::whole_feed_forward_norms;

/// Gemma3ForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// Gemma3ForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

}  // namespace models::gemma3_text
}  // namespace v0
}  // namespace shardwise
