// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/by_head_blocks.hpp"
#include "shardwise/models/rare_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::qwen3_next {

/// The base model's plan. The first layers may have a feed-forward without experts.
inline constexpr auto base =
    composed(blocks::attention, blocks::query_key_norm, blocks::gathered_fused_linear_attention, blocks::experts,
             blocks::shared_expert, blocks::mlp);
/// What it leaves whole, with reasons.
inline constexpr auto whole = blocks::whole_norms + blocks::whole_router + blocks::whole_recurrence;

/// Qwen3NextForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// Qwen3NextForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base = composed(
    by_head::attention, by_head::query_key_norm, by_head::fused_linear_attention, by_head::recurrence,
    by_head::experts_here.under("layers.*.mlp"), by_head::partial_mlp_here.under("layers.*.mlp.shared_expert"),
    by_head::partial_mlp_here.under("layers.*.mlp"), by_head::reduced_mlp, blocks::whole_norms, blocks::whole_router);
/// Qwen3NextForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::qwen3_next
}  // namespace v0
}  // namespace shardwise
