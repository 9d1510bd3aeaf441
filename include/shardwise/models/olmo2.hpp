// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"
#include "shardwise/models/by_head_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::olmo2 {

/// The base model's plan.
inline constexpr auto base = blocks::gathered_attention + blocks::mlp;
/// What it leaves whole, with reasons.
inline constexpr auto whole =
    blocks::whole_norms + blocks::whole_feed_forward_norms +
    plan({
        {"layers.*.self_attn.{q,k}_norm", replicate("a norm over all heads: q and k are gathered before it")},
    });

/// Olmo2ForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// Olmo2ForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base = composed(by_head::attention, by_head::wide_query_key_norm, by_head::mlp,
                                              blocks::whole_norms, blocks::whole_feed_forward_norms);
/// Olmo2ForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::olmo2
}  // namespace v0
}  // namespace shardwise
