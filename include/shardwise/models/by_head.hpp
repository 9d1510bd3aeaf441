// SPDX-License-Identifier: Apache-2.0
// The model classes that have a plan of our own, as compositions of blocks.
#pragma once
#include <string_view>

#include "shardwise/models/by_head_blocks.hpp"
#include "shardwise/models/whole_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models {

/// A model class with a plan by head.
struct by_head_class {
  std::string_view architecture;
  std::string_view model_type;
  const char* text;            ///< where the text model sits
  block_view text_model[8]{};  ///< its blocks, beside the embedding
  block_view others[3]{};      ///< towers and what joins them, beside the head: paths from the root
};

namespace by_head {
inline constexpr const char* beside_a_tower = "model.language_model";
inline constexpr block_view tower_of_qwen{qwen_tower, "model.visual"};

inline constexpr by_head_class table[] = {
    {"LlamaForCausalLM", "llama", "model", {attention, mlp}},
    {"Qwen2ForCausalLM", "qwen2", "model", {attention, mlp}},
    {"Qwen3ForCausalLM", "qwen3", "model", {attention, query_key_norm, mlp}},
    {"Olmo2ForCausalLM", "olmo2", "model", {attention, wide_query_key_norm, mlp}},
    {"Gemma3ForCausalLM", "gemma3_text", "model", {attention, query_key_norm, mlp}},
    {"Phi3ForCausalLM", "phi3", "model", {fused_attention, fused_mlp}},
    {"MixtralForCausalLM", "mixtral", "model", {attention, experts, reduced_mlp}},
    {"Qwen3MoeForCausalLM", "qwen3_moe", "model", {attention, query_key_norm, experts, partial_mlp, reduced_mlp}},
    {"GraniteMoeForCausalLM", "granitemoe", "model", {attention, sparse_experts, reduced_sparse_moe}},
    {"GptOssForCausalLM", "gpt_oss", "model", {attention, sinks, interleaved_experts, reduced_mlp}},
    {"Qwen3NextForCausalLM",
     "qwen3_next",
     "model",
     {attention, query_key_norm, fused_linear_attention, recurrence, experts, shared_expert, partial_mlp, reduced_mlp}},
    {"Qwen3_5ForCausalLM", "qwen3_5_text", "model", {attention, query_key_norm, linear_attention, recurrence, mlp}},
    {"Qwen3_5ForConditionalGeneration",
     "qwen3_5",
     beside_a_tower,
     {attention, query_key_norm, linear_attention, recurrence, mlp},
     {tower_of_qwen}},
    {"Qwen3_5MoeForCausalLM",
     "qwen3_5_moe_text",
     "model",
     {attention, query_key_norm, linear_attention, recurrence, experts, shared_expert, reduced_mlp}},
    {"Qwen3_5MoeForConditionalGeneration",
     "qwen3_5_moe",
     beside_a_tower,
     {attention, query_key_norm, linear_attention, recurrence, experts, shared_expert, reduced_mlp},
     {tower_of_qwen}},
    {"Gemma3ForConditionalGeneration",
     "gemma3",
     beside_a_tower,
     {attention, query_key_norm, mlp},
     {{tower_layers, "model.vision_tower.encoder"}, {gemma3_ends, "model"}}},
    {"Llama4ForCausalLM",
     "llama4_text",
     "model",
     {attention, transposed_feed_forward_experts, feed_forward_shared_expert, partial_feed_forward,
      reduced_feed_forward}},
    {"Llama4ForConditionalGeneration",
     "llama4",
     "language_model.model",
     {attention, transposed_feed_forward_experts, feed_forward_shared_expert, partial_feed_forward,
      reduced_feed_forward},
     {{head, "language_model"}, {tower_layers, "vision_model.model"}, llama4_ends}},
};

}  // namespace by_head
}  // namespace models
}  // namespace v0
}  // namespace shardwise
