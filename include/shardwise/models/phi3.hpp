// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/by_head_blocks.hpp"
#include "shardwise/models/rare_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::phi3 {

/// The base model's plan: q|k|v and gate|up are one product each, and gathered.
inline constexpr auto base = composed(blocks::gathered_fused_attention, blocks::gathered_fused_mlp);
/// What it leaves whole, with reasons.
inline constexpr auto whole = blocks::whole_norms;

/// Phi3ForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// Phi3ForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base = composed(by_head::fused_attention, by_head::fused_mlp, whole);
/// Phi3ForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::phi3
}  // namespace v0
}  // namespace shardwise
