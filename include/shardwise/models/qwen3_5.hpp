// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"
#include "shardwise/models/by_head_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::qwen3_5 {

/// The text model's plan.
inline constexpr auto base =
    blocks::attention + blocks::query_key_norm + blocks::gathered_linear_attention + blocks::mlp;
/// What it leaves whole, with reasons.
inline constexpr auto whole = blocks::whole_norms + blocks::whole_recurrence;

/// Qwen3_5ForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// Qwen3_5ForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// Qwen3_5ForConditionalGeneration, as Hugging Face has it.
inline constexpr auto hf_for_conditional_generation = merged(base, "model.language_model");
/// Qwen3_5ForConditionalGeneration, every parameter spoken of.
inline constexpr auto for_conditional_generation = hf_for_conditional_generation +
                                                   whole.under("model.language_model").optional() +
                                                   blocks::whole_vision.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base = composed(by_head::attention, by_head::query_key_norm, by_head::linear_attention,
                                              by_head::recurrence, by_head::mlp, blocks::whole_norms);
/// Qwen3_5ForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");
/// Qwen3_5ForConditionalGeneration, by head, its vision tower too.
inline constexpr auto by_head_for_conditional_generation =
    composed(by_head_merged(by_head_base, "model.language_model"), by_head::qwen_tower.under("model.visual"))
        .optional();

}  // namespace models::qwen3_5
}  // namespace v0
}  // namespace shardwise
