// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "shardwise/models/gemma3_text.hpp"
#include "shardwise/models/whole_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::gemma3 {

/// Gemma3ForConditionalGeneration, as Hugging Face has it.
inline constexpr auto hf_for_conditional_generation = merged(gemma3_text::base, "model.language_model");
/// Gemma3ForConditionalGeneration, every parameter spoken of.
inline constexpr auto for_conditional_generation =
    composed(hf_for_conditional_generation, gemma3_text::whole.under("model.language_model"),
             blocks::whole_towers.under("model"))
        .optional();

/// Gemma3ForConditionalGeneration, by head, its vision tower too.
inline constexpr auto by_head_for_conditional_generation =
    composed(by_head_merged(gemma3_text::by_head_base, "model.language_model"),
             by_head::tower_layers.under("model.vision_tower.encoder"), by_head::gemma3_ends.under("model"))
        .optional();

}  // namespace models::gemma3
}  // namespace v0
}  // namespace shardwise
