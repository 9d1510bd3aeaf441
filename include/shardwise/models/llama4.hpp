// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/by_head_blocks.hpp"
#include "shardwise/models/rare_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::llama4 {

/// The text model's plan. Some layers have a feed-forward without experts.
inline constexpr auto base = composed(blocks::attention, blocks::transposed_experts_here.under("layers.*.feed_forward"),
                                      blocks::gated_mlp_here.under("layers.*.feed_forward.shared_expert"),
                                      blocks::gated_mlp_here.under("layers.*.feed_forward"));
/// What it leaves whole, with reasons.
inline constexpr auto whole =
    blocks::whole_norms +
    plan({{"layers.*.feed_forward.{gate,router}.**", replicate("the router: every rank needs all scores")}});

/// Llama4ForCausalLM, as Hugging Face has it: the base model's rows stand at the root, too.
inline constexpr auto hf_for_causal_lm = (merged(base, "model") + base).as_hugging_face();
/// Llama4ForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// Llama4ForConditionalGeneration, as Hugging Face has it.
inline constexpr auto hf_for_conditional_generation =
    composed(blocks::llama4_heads, blocks::llama4_projector, blocks::attention.under("vision_model.model"),
             blocks::llama4_vision_ends.under("vision_model"), base.under("language_model"),
             (blocks::embedding + base).under("language_model.model"))
        .as_hugging_face();
/// Llama4ForConditionalGeneration, every parameter spoken of.
inline constexpr auto for_conditional_generation =
    hf_for_conditional_generation + whole.under("language_model.model").optional() +
    plan({{"vision_model.**",
           replicate("Hugging Face has no rule for this part of the tower: it runs whole on every rank")}})
        .optional();

/// The base model's plan by head.
inline constexpr auto by_head_base =
    composed(by_head::attention, by_head::transposed_experts_here.under("layers.*.feed_forward"),
             by_head::partial_mlp_here.under("layers.*.feed_forward.shared_expert"),
             by_head::partial_mlp_here.under("layers.*.feed_forward"), by_head::reduced_feed_forward, whole);
/// Llama4ForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");
/// Llama4ForConditionalGeneration, by head, its vision tower too.
inline constexpr auto by_head_for_conditional_generation =
    composed(by_head_for_causal_lm.under("language_model"), by_head::tower_layers.under("vision_model.model"),
             by_head::llama4_ends)
        .optional();

}  // namespace models::llama4
}  // namespace v0
}  // namespace shardwise
