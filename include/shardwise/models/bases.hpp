// SPDX-License-Identifier: Apache-2.0
// The plan of every base model that Hugging Face has one for, as a composition of named blocks.
#pragma once
#include <string_view>

#include "shardwise/models/rare_blocks.hpp"
#include "shardwise/models/whole_blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models {

/// Base models with one plan: the model that the `model_type` of a config stands for, without its head.
struct base_model {
  std::string_view model_types;     ///< separated by blanks; with names that Hugging Face reads as one of them
  block_view tensor_parallel[6]{};  ///< the blocks, paths relative to the base model
  block_view expert_parallel[3]{};
  block_view whole[4]{};  ///< what the plan leaves whole, beside `blocks::whole_everywhere`
  bool embeds = true;     ///< has an `embed_tokens`, which Hugging Face then cuts by the vocabulary
};

namespace bases {
using namespace blocks;  // this table is written in the words of the blocks

inline constexpr base_model table[] = {
    // Dense: attention and a gated feed-forward.
    {"cohere cohere2 cohere_compass_text cwm ernie4_5 esmc eurobert gemma gemma2 granite granite4_vision_text "
     "granite_docling_text helium hyperclovax internlm3 iquestcoder llama ministral ministral3 mistral "
     "olmo paddleocr_vl_text qwen2 qwen2_5_omni_text qwen2_5_vl_text qwen2_vl_text seed_oss smollm3 "
     "ultrabert vaultgemma voxtral_realtime_text",
     {attention, mlp}},
    {"deepseek_ocr2_encoder", {attention, mlp}, {}, {}, false},
    {"higgs_audio_v2", {attention, mlp}, {}, {higgs_whole}},
    {"t5_gemma_module", {attention, mlp}, {}, {whole_cross_attention}},
    {"granite_swa", {attention, sinks, mlp}},
    {"muse_glimmer_text", {attention, gate_of_heads, mlp}},
    {"muse_glimmer_assistant", {attention, mlp, muse_assistant_encoder}, {}, {muse_assistant_whole}, false},
    {"doge", {attention, mlp, doge_mixture}, {}, {whole_residuals, doge_whole}},
    {"hrm_text",
     {{attention, "L_module"},
      {gate_of_heads, "L_module"},
      {mlp, "L_module"},
      {attention, "H_module"},
      {gate_of_heads, "H_module"},
      {mlp, "H_module"}},
     {},
     {hrm_whole}},
    // with norms of heads
    {"exaone4 exaone4_5_text gemma3_text gemma4_unified_text qwen3 t5gemma2_decoder t5gemma2_text",
     {attention, query_key_norm, mlp}},
    {"qwen3_omni_moe_talker_code_predictor", {attention, query_key_norm, mlp}, {}, {talker_whole}, false},
    {"embedding_gemma2_text gemma3n_text",
     {attention, query_key_norm, value_norm, mlp},
     {},
     {whole_layer_inputs, gemma3n_whole}},
    // with norms over all heads
    {"olmo2 olmo3 olmo_hybrid", {gathered_attention, mlp}},
    // with latents
    {"minicpm3", {latent_attention, direct_query, mlp}},
    {"youtu", {mlp}, {}, {whole_attention}},
    // with a recurrence
    {"qwen3_5_text", {attention, query_key_norm, gathered_linear_attention, mlp}},

    // Dense, another feed-forward.
    {"arcee jais2 nemotron", {attention, plain_mlp}},
    {"apertus", {attention, query_key_norm, plain_mlp}},
    {"cosmos3_edge_text nanochat", {attention, fc_mlp}},
    {"starcoder2", {attention, conv_mlp}},
    {"phi", {heads, dense_output, fc_mlp}},
    {"neomme", {heads, neomme_output, plain_mlp}, {}, {whole_embedding, whole_residuals, neomme_whole}, false},
    {"gpt_neox", {gpt_neox_layers}, {}, {whole_embedding}, false},
    {"glm glm4 glm4v_text glm_image_text glm_ocr_text", {attention, gathered_fused_mlp}},
    {"phi3 phi4_multimodal", {gathered_fused_attention, gathered_fused_mlp}},

    // Mixture of experts.
    {"minimax", {attention, experts}, {expert_parallel}, {whole_attention}},
    {"mixtral solar_open", {attention, experts}, {expert_parallel}, {whole_shared_experts}},
    {"cohere2_moe qwen2_moe qwen3_omni_moe_text qwen3_vl_moe_text",
     {attention, experts, mlp},
     {expert_parallel},
     {whole_shared_experts}},
    {"mimo_v2_flash", {attention, sinks, experts, mlp}, {expert_parallel}},
    {"deepseek_ocr2_text ernie4_5_moe glm4_moe glm4v_moe_text unlimited_ocr_text",
     {attention, experts, shared_experts, mlp},
     {expert_parallel}},
    {"aria_text", {attention, transposed_experts, shared_experts}, {expert_parallel}},
    {"granitemoe_swa", {attention, sinks, sparse_experts}, {sparse_expert_parallel}, {whole_shared_experts}},
    {"llama4_text", {attention, transposed_feed_forward_experts, feed_forward_shared_expert, feed_forward}},
    {"ernie4_5_vl_moe_text",
     {attention, text_experts, vision_experts, shared_experts, mlp},
     {text_expert_parallel, vision_expert_parallel},
     {ernie_whole_routers}},
    // with norms of heads
    {"exaone_moe mellum qwen3_moe",
     {attention, query_key_norm, experts, mlp},
     {expert_parallel},
     {whole_shared_experts}},
    {"beam", {attention, query_key_norm, gate_of_heads, beam_gate_bias, experts, mlp}, {expert_parallel}},
    {"kolibri1", {attention, query_key_norm, experts, shared_experts}, {expert_parallel}},
    {"dots1 hy_v3", {attention, query_key_norm, experts, shared_experts, mlp}, {expert_parallel}},
    {"laguna", {attention, query_key_norm, g_gate_of_heads, experts, shared_experts, mlp}, {expert_parallel}},
    {"diffusion_gemma_text gemma4_text",
     {attention, query_key_norm, layer_experts, mlp},
     {layer_expert_parallel, mlp},
     {whole_layer_inputs}},
    // with norms over all heads
    {"flex_olmo minimax_m2 olmoe", {gathered_attention, experts}, {expert_parallel}},
    {"minimax_m3_vl_text", {gathered_attention, experts}, {expert_parallel}, {whole_mlp, whole_indexer}},
    {"step3p5", {gathered_attention, gathered_g_gate, experts}, {expert_parallel}, {whole_mlp}},
    // with latents
    {"glm4_moe_lite", {latent_attention, experts, mlp}, {expert_parallel}, {whole_attention, whole_shared_experts}},
    {"deepseek_v32 glm5_next_text glm_moe_dsa",
     {latent_attention, experts, shared_experts, mlp},
     {expert_parallel},
     {whole_attention, whole_indexer, whole_hyper_connections}},
    {"deepseek_v2", {latent_attention, direct_query, experts, shared_experts, mlp}, {expert_parallel}},
    {"dots3_note_text",
     {latent_attention, g_gate_of_heads, dots3_rope_norm, experts, shared_experts, mlp},
     {expert_parallel},
     {whole_attention, whole_indexer}},
    {"hy_v4",
     {latent_attention, gate_of_heads, sinks, experts, shared_experts, mlp},
     {expert_parallel},
     {whole_indexer, whole_hyper_connections}},
    {"axk2", {latent_attention_with_gate, experts, shared_experts, mlp}, {expert_parallel}, {whole_indexer}},
    {"longcat_flash", {two_latent_attentions, experts, longcat_identity, two_mlps}},
    // with a recurrence
    {"qwen3_next",
     {attention, query_key_norm, gathered_fused_linear_attention, experts, shared_expert, mlp},
     {expert_parallel}},
    {"qwen3_5_moe_text",
     {attention, query_key_norm, gathered_linear_attention, experts, shared_expert},
     {expert_parallel}},
    {"qwen4_exp_text",
     {gathered_linear_attention, experts, shared_expert, qwen4_hyper_connections},
     {expert_parallel},
     {whole_attention, whole_hyper_connections, whole_layer_inputs}},
    // whose attention is whole
    {"axk1 bailing_hybrid deepseek_v3 kimi_k2 kimi_linear mistral4 mistral_large4_text",
     {experts, shared_experts, mlp},
     {expert_parallel},
     {whole_attention}},
    {"afmoe deepseek_v4 hunyuan_v1_moe phimoe",
     {experts},
     {expert_parallel},
     {whole_attention, whole_mlp, whole_hyper_connections}},
    {"flint", {experts, shared_expert, mlp}, {expert_parallel}, {whole_attention}},
    {"inkling2_text",
     {inkling_whole_embedding, interleaved_experts},
     {expert_parallel},
     {whole_attention, whole_mlp, inkling_whole}},
    {"inkling_text",
     {interleaved_experts, shared_experts, inkling_shared_sum, mlp},
     {expert_parallel},
     {whole_attention, inkling_whole}},
    {"granitemoe granitemoehybrid granitemoeshared",
     {sparse_experts},
     {sparse_expert_parallel},
     {whole_attention, whole_shared_experts}},
    {"jamba lfm2_moe", {feed_forward_experts}, {feed_forward_expert_parallel}, {whole_attention, whole_feed_forward}},
    {"nemotron_h", {nemotron_mixer}, {nemotron_expert_parallel}, {whole_mixer}, false},
    // whose experts are cut by expert only
    {"muse_spark_text", {muse_spark_latent_experts, mlp}, {expert_parallel, muse_spark_expert_norm}, {whole_attention}},
    {"gpt_oss openai_privacy_filter",
     {},
     {expert_parallel, expert_parallel_biases},
     {whole_embedding, whole_attention, whole_mlp}},
    {"zaya", {}, {expert_parallel}, {whole_embedding, whole_attention, whole_mlp, whole_residuals}},

    // Towers, and what is between them and the text model.
    {"llama4_vision_model", {llama4_vision_layers, llama4_vision_ends}, {}, {}, false},
    {"llama4", {llama4_projector}, {}, {}, false},
    {"gemma4_vision", {gemma4_vision_layers}, {}, {}, false},
    {"muse_glimmer_vision", {muse_vision_attention, fc_mlp}, {}, {}, false},
    {"muse_glimmer muse_spark", {muse_adapter}, {}, {}, false},
    {"ernie4_5_vl_moe_vision", {ernie_vision_blocks}, {}, {}, false},
    {"dots3_note_vision_encoder", {block_experts}, {block_expert_parallel}, {}, false},

    // Hugging Face has no plan for these, though for their heads.
    {"bamba bart dbrx diffllama diffusion_gemma emu3_text_model falcon_h1 hunyuan_v1_dense hunyuan_vl_text "
     "kyutai_speech_to_text lfm2 "
     "lfm3 pp_formulanet_text qwen3_vl_text",
     {},
     {},
     {whole_model},
     false},
};

}  // namespace bases
}  // namespace models
}  // namespace v0
}  // namespace shardwise
