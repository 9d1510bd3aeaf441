// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/blocks.hpp"
#include "shardwise/models/by_head_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::mixtral {

/// The base model's plan.
inline constexpr auto base = blocks::attention + blocks::experts;
/// What it leaves whole, with reasons.
inline constexpr auto whole = blocks::whole_norms + blocks::whole_router;

/// MixtralForCausalLM, as Hugging Face has it.
inline constexpr auto hf_for_causal_lm = merged(base, "model");
/// MixtralForCausalLM, every parameter spoken of.
inline constexpr auto for_causal_lm = hf_for_causal_lm + whole.under("model").optional();

/// The base model's plan by head.
inline constexpr auto by_head_base =
    composed(by_head::attention, by_head::experts_here.under("layers.*.mlp"), by_head::reduced_mlp, whole);
/// MixtralForCausalLM, by head.
inline constexpr auto by_head_for_causal_lm = by_head_merged(by_head_base, "model");

}  // namespace models::mixtral
}  // namespace v0
}  // namespace shardwise
