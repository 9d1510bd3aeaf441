// SPDX-License-Identifier: Apache-2.0
// What Hugging Face's plans leave whole, said with the reason. Paths are relative to the base model.
//
// A row of these must never be as specific as a row of a plan that speaks of the same name: that is why the general
// ones are short, and why a subtree is written `x.**`.
#pragma once
#include "shardwise/models/blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::blocks {

// Of every base model.
inline constexpr auto whole_everywhere = plan({
    {"layers.*.{input_layernorm,post_attention_layernorm,pre_feedforward_layernorm,post_feedforward_layernorm,"
     "post_self_attn_layernorm,post_mlp_layernorm,pre_ff_layernorm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"layers.*.{pre_self_attn_layernorm,pre_cross_attn_layernorm,post_cross_attn_layernorm,operator_norm,ffn_norm,"
     "post_operator_norm,post_ffn_norm,post_norm1,post_norm2,norm,final_layernorm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"{norm,norm_f,final_layernorm,final_norm,layer_norm,embedding_norm}.**",
     replicate("a norm's scale: every rank has the whole hidden state")},
    {"**.{q_norm,k_norm,v_norm,q_layernorm,k_layernorm,query_layernorm,key_layernorm,q_a_layernorm,kv_a_layernorm,"
     "q_a_norm,kv_norm,kv_a_norm}.**",
     replicate("the norm of a head or a latent: each rank applies the whole scale to what it has")},
    {"**.{q_a_proj,kv_a_proj_with_mqa}.**", replicate("the way down to a latent, whose norm needs all of it")},
    {"layers.*.mlp.{gate,router,shared_expert_gate}.**", replicate("the router: every rank needs all scores")},
});

// Attention.
inline constexpr auto whole_attention =
    plan({{"layers.*.self_attn.*.**",
           replicate("Hugging Face's plan has no rule for this attention: it runs whole on every rank")}});
inline constexpr auto whole_indexer =
    plan({{"layers.*.self_attn.indexer.**", replicate("the indexer picks tokens for all heads: each rank runs it")}});
inline constexpr auto whole_recurrences = plan({
    {"layers.*.{linear_attn,mamba}.**", replicate("the recurrence runs whole on every rank")},
});

// Feed-forward.
inline constexpr auto whole_shared_experts =
    plan({{"layers.*.mlp.{shared_expert,shared_experts}.**",
           replicate("Hugging Face's plan has no rule for the shared expert: it runs whole on every rank")}});
inline constexpr auto whole_mlp =
    plan({{"layers.*.mlp.*.**",
           replicate("Hugging Face's plan has no rule for this feed-forward: it runs whole on every rank")}});

// All of it.
inline constexpr auto whole_model =
    plan({{"**", replicate("Hugging Face has no plan for this model: it runs whole on every rank")}});
inline constexpr auto whole_head =
    plan({{"lm_head.**", replicate("Hugging Face has no rule for this head: each rank computes all logits")}});

/// What stands beside a text model: relative to the module that has both.
inline constexpr auto whole_towers = plan({
    {"{visual,vision_tower,vision_model,vision_encoder,image_tower,video_tower,audio_tower}.**",
     replicate("a tower without a plan: it runs whole on every rank")},
    {"{multi_modal_projector,projector,connector,aligner,merger}.**",
     replicate("from a tower to the text model: it runs whole on every rank")},
});

}  // namespace models::blocks
}  // namespace v0
}  // namespace shardwise
