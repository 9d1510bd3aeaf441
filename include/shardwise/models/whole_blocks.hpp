// SPDX-License-Identifier: Apache-2.0
// What Hugging Face's plans leave whole, said with the reason. Paths are relative to the base model.
//
// A row of these must never be as specific as a row of a plan that speaks of the same name: that is why the general
// ones are short, and why a subtree is written `x.**`.
#pragma once
#include "shardwise/models/block.hpp"
#include "shardwise/models/blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::blocks {

// Of every base model.
inline constexpr auto whole_everywhere = block({
    {"layers.*.{input_layernorm,post_attention_layernorm,pre_feedforward_layernorm,post_feedforward_layernorm,"
     "post_self_attn_layernorm,pre_mlp_layernorm,post_mlp_layernorm,attention_layernorm,feedforward_layernorm,norm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"layers.*.{pre_feedforward_layernorm_2,post_feedforward_layernorm_1,post_feedforward_layernorm_2,"
     "pre_self_attn_layernorm,pre_cross_attn_layernorm,post_cross_attn_layernorm,pre_ff_layernorm,final_layernorm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"layers.*.{operator_norm,post_operator_norm,ffn_norm,post_ffn_norm,post_norm1,post_norm2,ada_rms_norm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"{norm,norm_f,final_norm,final_layernorm,final_layer_norm,layer_norm,embedding_norm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"**.{q_norm,k_norm,v_norm,q_layernorm,k_layernorm,query_layernorm,key_layernorm,q_a_layernorm,kv_a_layernorm,"
     "q_a_norm,kv_norm,kv_a_norm,post_mlp_layernorm}.**",
     replicate("the norm of a head or a latent: each rank applies the whole scale to what it has")},
    {"**.{q_a_proj,kv_a_proj_with_mqa}.**", replicate("the way down to a latent, whose norm needs all of it")},
    {"layers.*.mlp.{gate,router,shared_expert_gate,global_scale}.**",
     replicate("the router: every rank needs all scores")},
    {"layers.*.{block_sparse_moe,feed_forward,mixer}.{gate,router}.**",
     replicate("the router: every rank needs all scores")},
    {"layers.*.router.**", replicate("the router: every rank needs all scores")},
    {"layers.*.{linear_attn,mamba,conv}.**", replicate("the recurrence runs whole on every rank")},
});

// What Hugging Face could cut, and has no rule for.
inline constexpr auto whole_attention =
    block({{"layers.*.self_attn.*.**",
            replicate("Hugging Face has no rule for this part of the attention: it runs whole on every rank")}});
inline constexpr auto whole_cross_attention =
    block({{"layers.*.cross_attn.**",
            replicate("Hugging Face has no rule for the cross-attention: it runs whole on every rank")}});
inline constexpr auto whole_mlp = block({
    {"layers.*.mlp.*.**",
     replicate("Hugging Face has no rule for this part of the feed-forward: it runs whole on every rank")},
});
inline constexpr auto whole_feed_forward = block({
    {"layers.*.feed_forward.*.**",
     replicate("Hugging Face has no rule for this part of the feed-forward: it runs whole on every rank")},
});
inline constexpr auto whole_shared_experts = block({
    {"layers.*.mlp.{shared_expert,shared_experts}.**",
     replicate("Hugging Face has no rule for the shared expert: it runs whole on every rank")},
    {"layers.*.shared_mlp.**",
     replicate("Hugging Face has no rule for the shared expert: it runs whole on every rank")},
});
inline constexpr auto whole_mixer =
    block({{"layers.*.mixer.*.**",
            replicate("Hugging Face has no rule for this part of the mixer: it runs whole on every rank")}});
inline constexpr auto whole_embedding = plan(
    {{"{embed_tokens,embed_in}.**", replicate("Hugging Face has no rule for this embedding: each rank has all rows")}});
inline constexpr auto whole_model =
    block({{"**", replicate("Hugging Face has no plan for this model: it runs whole on every rank")}});
inline constexpr auto whole_head =
    block({{"**.lm_head.**", replicate("Hugging Face has no rule for this head: each rank computes all logits")}});

// What belongs to the whole hidden state.
inline constexpr auto whole_indexer =
    block({{"layers.*.self_attn.indexer.**", replicate("the indexer picks tokens for all heads: each rank runs it")}});
inline constexpr auto whole_hyper_connections = block({
    {"layers.*.{attn_hc,ffn_hc,attn_hyper_connection,mlp_hyper_connection}.**",
     replicate("a hyper-connection mixes whole hidden states")},
    {"{hc_head,hyper_connection_mixer}.**", replicate("a hyper-connection mixes whole hidden states")},
});
inline constexpr auto whole_layer_inputs = block({
    {"layers.*.{per_layer_input_gate,per_layer_projection,post_per_layer_input_norm,ple_block,ple}.**",
     replicate("the layer's own input: it is added to the whole hidden state")},
    {"{per_layer_model_projection,per_layer_projection_norm,ple,embedding_projection}.**",
     replicate("the layers' own inputs: they are added to whole hidden states")},
    {"embed_tokens_per_layer.**",
     replicate("Hugging Face has no rule for the embeddings of the layers: each rank has all rows")},
});
inline constexpr auto whole_residuals = block({
    {"layers.*.{input_residual,post_attention_residual,post_attention_residual_scale,post_mlp_residual_scale,lambdas}"
     ".**",
     replicate("scales the whole hidden state")},
    {"{input_hidden_states_bias,input_hidden_states_scale}.**", replicate("scales the whole hidden state")},
});

// Of one family each.
inline constexpr auto doge_whole =
    block({{"layers.*.self_attn.A.**", replicate("the mask's slope, one for each head")}});
inline constexpr auto ernie_whole_routers =
    block({{"layers.*.mlp.{text_moe,vision_moe}.gate.**", replicate("the router: every rank needs all scores")}});
inline constexpr auto gemma3n_whole = block({
    {"layers.*.{altup,laurel}.**", replicate("works on whole hidden states")},
    {"{altup_projections,altup_unembed_projections}.**", replicate("works on whole hidden states")},
});
inline constexpr auto higgs_whole = block({
    {"layers.*.{audio_mlp,audio_input_layernorm,audio_post_attention_layernorm}.**",
     replicate("Hugging Face has no rule for the audio part: it runs whole on every rank")},
    {"embed_audio_tokens.**", replicate("Hugging Face has no rule for this embedding: each rank has all rows")},
});
inline constexpr auto hrm_whole = block({{"{z_L_init,z_H_init}.**", replicate("the first hidden state")}});
inline constexpr auto inkling_whole = block({
    {"layers.*.{attn_sconv,mlp_sconv,post_attention_convolution,post_mlp_convolution,q_input_layernorm,"
     "k_input_layernorm,v_input_layernorm,attention_input,mlp_input}.**",
     replicate("works on the whole hidden state")},
    {"embed_tokens.embed_norm.**", replicate("a norm's scale: every rank has the whole hidden state")},
    {"final_input.**", replicate("works on the whole hidden state")},
});
inline constexpr auto muse_assistant_whole =
    block({{"encoder.output_norm_enc.**", replicate("a norm's scale: every rank has the whole hidden state")}});
inline constexpr auto neomme_whole = block({
    {"layers.*.self_attn.exclusive_self_attention.**", replicate("one number for each head")},
    {"{patch_embeddings,value_embeddings}.**",
     replicate("Hugging Face has no rule for this embedding: each rank has all rows")},
});
inline constexpr auto talker_whole = block({
    {"codec_embedding.**", replicate("Hugging Face has no rule for this embedding: each rank has all rows")},
    {"lm_head.*.*.**", replicate("one head for each code: the rule of Hugging Face is for their list")},
});

// Beside a text model, relative to the module that has both.
inline constexpr auto whole_towers = block({
    {"{visual,vision_tower,vision_model,vision_encoder,high_res_vision_model,image_tower,image_embed,video_tower,"
     "audio_tower,audio_embed,encoder,vqmodel,codec_model,token2wav,talker,diffusion_head}.**",
     replicate("beside the text model, and without a plan: it runs whole on every rank")},
    {"{acoustic_tokenizer_encoder,semantic_tokenizer_encoder,word_timestamp_encoder,word_timestamp_head,"
     "generation_head,generation_embeddings,audio_lm_head,text_lm_head}.**",
     replicate("beside the text model, and without a plan: it runs whole on every rank")},
    {"{multi_modal_projector,projector,mm_projector,layerwise_projectors,spatial_projectors,connector,"
     "semantic_connector,aligner,generation_aligner,merger,resampler_model,vision_resampler,density_router}.**",
     replicate("between a tower and the text model: it runs whole on every rank")},
    {"{embed_vision,embed_audio,embed_action_time,high_res_vision_neck,high_res_vision_proj,high_res_vision_alpha,"
     "perception_emb_norm,vision_final_layernorm,image_newline,view_separator,latent_scaling_factor,"
     "latent_bias_factor}.**",
     replicate("between a tower and the text model: it runs whole on every rank")},
    {"vision_projection.*.*.**", replicate("between a tower and the text model: it runs whole on every rank")},
});

}  // namespace models::blocks
}  // namespace v0
}  // namespace shardwise
