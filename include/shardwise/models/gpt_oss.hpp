// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"
#include "shardwise/models/by_head_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::gpt_oss {

/// What it leaves whole, with reasons: all of the base model.
inline constexpr auto whole =
    blocks::whole_norms +
    plan({
        {"embed_tokens", replicate("Hugging Face has no rule for this embedding: each rank has all rows")},
        {"layers.*.self_attn.**",
         replicate("Hugging Face has no rule for this attention: it runs whole on every rank")},
        {"layers.*.mlp.**", replicate("Hugging Face has no rule for these experts: they run whole on every rank")},
    });

/// GptOssForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = blocks::head.as_hugging_face();
/// GptOssForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base = composed(
    by_head::attention, by_head::sinks, by_head::interleaved_experts_here.under("layers.*.mlp"), by_head::reduced_mlp,
    blocks::whole_norms, plan({{"layers.*.mlp.router", replicate("the router: every rank needs all scores")}}));
/// GptOssForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::gpt_oss
}  // namespace v0
}  // namespace shardwise
