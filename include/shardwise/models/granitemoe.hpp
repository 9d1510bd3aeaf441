// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/by_head_blocks.hpp"
#include "shardwise/models/rare_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::granitemoe {

/// The base model's plan: Hugging Face has no rule for its attention.
inline constexpr auto base = composed(blocks::experts_here.under("layers.*.block_sparse_moe"));
/// What is whole under every plan, with reasons.
inline constexpr auto whole_ends =
    blocks::whole_norms +
    plan({{"layers.*.block_sparse_moe.{gate,router}.**", replicate("the router: every rank needs all scores")}});
/// What Hugging Face's leaves whole, with reasons.
inline constexpr auto whole =
    whole_ends + plan({{"layers.*.self_attn.*.**",
                        replicate("Hugging Face has no rule for this attention: it runs whole on every rank")}});

/// GraniteMoeForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// GraniteMoeForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base =
    composed(by_head::attention, by_head::experts_here.under("layers.*.block_sparse_moe"), by_head::reduced_sparse_moe,
             whole_ends);
/// GraniteMoeForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::granitemoe
}  // namespace v0
}  // namespace shardwise
