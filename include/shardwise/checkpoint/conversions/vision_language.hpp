// SPDX-License-Identifier: Apache-2.0
// The rules of models that read text and images, after Hugging Face 5.23.0.
#pragma once
#include "shardwise/checkpoint/conversions/text.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {

inline constexpr auto granite_speech_model = rules({
    rename("^language_model.model", "language_model"),
});

inline constexpr auto emu3_model = rules({
    rename("^text_model.model", "text_model"),
});

inline constexpr auto molmo2_text_model = rules({
    rename(".attn_norm.", ".input_layernorm."),
    rename(".ff_norm.", ".post_attention_layernorm."),
    split("self_attn.att_proj")
        .by("num_attention_heads", "num_key_value_heads", "num_key_value_heads")
        .into("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    rename("self_attn.attn_out", "self_attn.o_proj"),
    rename("mlp.ff_out", "mlp.down_proj"),
    split("mlp.ff_proj.weight").into("mlp.up_proj.weight", "mlp.gate_proj.weight"),
    concat("wte.embedding", "wte.new_embedding").into("embed_tokens.weight"),
});

inline constexpr auto qwen2_vl_for_conditional_generation = rules({
    rename("^visual", "model.visual"),
    rename("^model!{.language_model,.visual}", "model.language_model"),
});

inline constexpr auto qwen2_vl_model = rules({
    rename("^model.!{language_model.}", "model.language_model."),
});

inline constexpr auto llava = language_model + rules({
                                                   rename("^{vision_tower,multi_modal_projector}", "model.{}"),
                                               });

inline constexpr auto colqwen2 = rules({
    rename("^vlm.model.", "vlm."),
});

inline constexpr auto cosmos3_edge = rules({
    rename("^{embed_tokens,norm,layers}.", "model.language_model.{}."),
    rename(".self_attn.to_{q,k,v}.", ".self_attn.{}_proj."),
    rename(".self_attn.to_out.", ".self_attn.o_proj."),
    rename(".mlp.up_proj.", ".mlp.fc1."),
    rename(".mlp.down_proj.", ".mlp.fc2."),
});

inline constexpr auto cosmos3_omni = rules({
    rename("^{layers.,embed_tokens.,norm.}", "model.language_model.{}"),
    rename("^{blocks.,merger.,patch_embed.,pos_embed.,deepstack_merger_list.}", "model.visual.{}"),
    rename(".self_attn.to_{q,k,v}.", ".self_attn.{}_proj."),
    rename(".self_attn.to_out.", ".self_attn.o_proj."),
    rename(".self_attn.norm_{q,k}.", ".self_attn.{}_norm."),
});

inline constexpr auto deepseek_ocr2 =
    rules({
        rename("sam_model.blocks.*.norm{1,2}.", "vision_tower.sam_encoder.layers.*.layer_norm{}."),
        rename("sam_model.blocks.*.{attn,mlp}.", "vision_tower.sam_encoder.layers.*.{}."),
        rename("sam_model.patch_embed.proj.", "vision_tower.sam_encoder.patch_embed.projection."),
        rename("sam_model.pos_embed", "vision_tower.sam_encoder.pos_embed"),
        rename("sam_model.neck.0.", "vision_tower.sam_encoder.neck.conv1."),
        rename("sam_model.neck.1.", "vision_tower.sam_encoder.neck.layer_norm1."),
        rename("sam_model.neck.2.", "vision_tower.sam_encoder.neck.conv2."),
        rename("sam_model.neck.3.", "vision_tower.sam_encoder.neck.layer_norm2."),
        rename("sam_model.net_2.", "vision_tower.sam_encoder.proj.conv1."),
        rename("sam_model.net_3.", "vision_tower.sam_encoder.proj.conv2."),
        rename("qwen2_model.model.model.{layers,norm}.", "vision_tower.vision_encoder.{}."),
        rename("qwen2_model.query_{768,1024}.", "vision_tower.query_{}_resolution."),
        rename("projector.layers.", "multi_modal_projector."),
        rename("view_seperator", "view_separator"),
    }) +
    inside_language_model + experts;

inline constexpr auto emu3 = rules({
    rename("^text_model.lm_head", "lm_head"),
    rename("^{text_model,vqmodel}", "model.{}"),
});

inline constexpr auto ernie4_5_vl_moe = rules({
    rename("vision_model", "vision_tower"),
    rename("spatial_linear.0", "spatial_linear.fc1"),
    rename("spatial_linear.2", "spatial_linear.fc2"),
    rename("spatial_linear.3", "spatial_linear.ln"),
    rename("temporal_linear.0", "temporal_linear.fc1"),
    rename("temporal_linear.2", "temporal_linear.fc2"),
    rename("temporal_linear.3", "temporal_linear.ln"),
    rename("!{language_model.}embed_tokens", "language_model.embed_tokens"),
    rename("!{language_model.}layers", "language_model.layers"),
    rename("{^,.}norm.", "{}language_model.norm."),
    transpose("mlp.gate.weight_1", 0, 1).into("mlp.vision_moe.gate.weight"),
    transpose("mlp.gate.weight", 0, 1).into("mlp.text_moe.gate.weight"),
    split("mlp.moe_statics.e_score_correction_bias")
        .into("mlp.text_moe.gate.moe_statics.e_score_correction_bias",
              "mlp.vision_moe.gate.moe_statics.e_score_correction_bias"),
    stack("experts.*.down_proj.weight").counted_by().into("text_moe.experts.down_proj", "vision_moe.experts.down_proj"),
    stack("experts.*.gate_proj.weight", "experts.*.up_proj.weight")
        .counted_by()
        .into("text_moe.experts.gate_up_proj", "vision_moe.experts.gate_up_proj"),
});

inline constexpr auto fuyu = language_model + rules({
                                                  rename("^vision_embed_tokens", "model.vision_embed_tokens"),
                                              });

inline constexpr auto gemma4_unified = rules({
    rename("vision_embedder.patch_{ln1,dense,ln2}", "embed_vision.patch_{}"),
    rename("vision_embedder.pos_{embedding,norm}", "embed_vision.pos_{}"),
    rename("embed_vision.embedding_projection", "embed_vision.multimodal_embedder.embedding_projection"),
});

inline constexpr auto hunyuan_vl = rules({
    rename("mlp.dense_h_to_4h", "mlp.fc1"),
    rename("mlp.dense_4h_to_h", "mlp.fc2"),
    rename("^vit.layers.*.input_layernorm.", "vit.layers.*.layer_norm1."),
    rename("^vit.layers.*.post_attention_layernorm.", "vit.layers.*.layer_norm2."),
    rename("perceive.proj.0.", "perceive.proj_conv."),
    rename("perceive.proj.2.", "perceive.proj_out."),
    rename("perceive.", "patch_merger."),
    rename("^model!{.language_model,.vit,.vision_tower}", "model.language_model"),
    rename("^model.vit", "model.vision_tower"),
    rename("^vit", "model.vision_tower"),
});

inline constexpr auto hyperclovax_vision_v2 = rules({
    rename("^model.language_model.lm_head", "lm_head"),
    rename("^model.vision_projector", "model.projector"),
    rename("^model.language_model.model.", "model.language_model."),
});

inline constexpr auto inkling2 = rules({
    rename("model.llm.unembed.weight", "lm_head.weight"),
    rename("model.llm.", "model.language_model."),
    rename("model.visual.backbone.embeddings.", "model.vision_tower.embeddings."),
    rename("vision_tower.embeddings.position_embedding", "vision_tower.embeddings.position_embedding.weight"),
    rename("model.visual.backbone.ln_pre.", "model.vision_tower.pre_layernorm."),
    rename("model.visual.backbone.layers.", "model.vision_tower.layers."),
    rename("model.visual.proj_in.", "model.vision_tower.merger.linear_1."),
    rename("model.visual.proj_out.", "model.vision_tower.merger.linear_2."),
    rename("vision_tower.layers.*.ln_1.", "vision_tower.layers.*.layernorm_before."),
    rename("vision_tower.layers.*.ln_2.", "vision_tower.layers.*.layernorm_after."),
    rename("vision_tower.layers.*.mlp.c_fc.", "vision_tower.layers.*.mlp.fc1."),
    rename("vision_tower.layers.*.mlp.c_proj.", "vision_tower.layers.*.mlp.fc2."),
    rename("vision_tower.layers.*.ls_{1,2}.gamma", "vision_tower.layers.*.lambda_{}"),
});

inline constexpr auto inkling_mm_model =
    rules({
        rename("model.llm.layers", "model.language_model.layers"),
        rename("model.llm.embed_norm.weight", "model.language_model.embed_tokens.embed_norm.weight"),
        rename("model.llm.embed.weight", "model.language_model.embed_tokens.weight"),
        rename("model.llm.norm.weight", "model.language_model.norm.weight"),
        rename("model.llm.unembed.weight", "lm_head.weight"),
        rename("model.audio.", "model.audio_tower."),
        rename("model.visual", "model.vision_tower"),
        rename("vision_tower.layers.linear_*", "vision_tower.encoder_layers.*.projection"),
        rename("vision_tower.layers.norm_*", "vision_tower.encoder_layers.*.layer_norm"),
        rename("audio_tower.encoder.weight", "audio_tower.embed_audio_tokens.embed_audio_tokens.weight"),
        rename("audio_tower.final_norm.weight", "audio_tower.norm.weight"),
        deinterleave("shared_w13_weight").along(1).into("gate_proj", "up_proj"),
        rename("shared_w2_weight", "down_proj"),
        deinterleave("mlp.experts.w13_weight").along(1).into("mlp.experts.gate_up_proj"),
        rename("mlp.experts.w2_weight", "mlp.experts.down_proj"),
        deinterleave("mlp.w13_dn.weight").into("mlp.gate_proj.weight", "mlp.up_proj.weight"),
        rename("mlp.w2_md.weight", "mlp.down_proj.weight"),
        rename("mlp.gate.bias", "mlp.gate.e_score_correction_bias"),
    }) +
    inkling_attention +
    rules({
        rename(".attn.{q,k}_norm", ".self_attn.{}_norm"),
        rename(".attn.{k,v}_sconv", ".self_attn.{}_sconv.conv1d"),
        rename(".attn.rel_logits_proj", ".self_attn.rel_logits_proj"),
        rename("{attn,mlp}_sconv.weight", "{}_sconv.conv1d.weight"),
        rename("mlp_norm", "post_attention_layernorm"),
        rename("attn_norm", "input_layernorm"),
    });

inline constexpr auto kimi_k25 =
    rules({
        rename("language_model.model", "model.language_model"),
        rename("language_model.lm_head", "lm_head"),
        rename("vision_tower.encoder.blocks.*.norm1", "vision_tower.encoder.blocks.*.norm2")
            .where("vision_tower.encoder.blocks.*.norm0"),
        rename("vision_tower.encoder.blocks.*.norm0", "vision_tower.encoder.blocks.*.norm1")
            .where("vision_tower.encoder.blocks.*.norm0"),
        rename("vision_tower.encoder.blocks.*.mlp.fc1", "vision_tower.encoder.blocks.*.mlp.fc2")
            .where("vision_tower.encoder.blocks.*.mlp.fc0"),
        rename("vision_tower.encoder.blocks.*.mlp.fc0", "vision_tower.encoder.blocks.*.mlp.fc1")
            .where("vision_tower.encoder.blocks.*.mlp.fc0"),
        rename("vision_tower.encoder.blocks.*.wo", "vision_tower.encoder.blocks.*.attn.proj"),
        rename("vision_tower.encoder", "model.vision_tower"),
        rename("mm_projector.proj.0", "model.mm_projector.in_proj"),
        rename("mm_projector.proj.2", "model.mm_projector.out_proj"),
        rename("blocks", "layers"),
        rename("vision_tower.patch_embed.pos_emb.weight", "model.vision_tower.patch_embed.pos_emb.position_embeddings"),
        split("wqkv")
            .halved_by_head("vision_config.num_attention_heads", 2)
            .into("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    }) +
    experts;

inline constexpr auto llava_next =
    language_model + rules({
                         rename("^{vision_tower,multi_modal_projector,image_newline}", "model.{}"),
                     });

inline constexpr auto minimax_m3_vl =
    rules({
        rename("^language_model.lm_head", "lm_head"),
        rename("^language_model.model.", "model.language_model."),
        rename("^vision_tower.vision_model.embeddings.patch_embedding.", "model.vision_tower.embeddings.proj."),
        rename("^vision_tower.vision_model.encoder.layers.", "model.vision_tower.layers."),
        rename("^vision_tower.vision_model.pre_layrnorm.", "model.vision_tower.pre_layrnorm."),
        rename("^multi_modal_projector.linear_{1,2}.", "model.multi_modal_projector.linear_{}."),
        rename("^patch_merge_mlp.linear_{1,2}.", "model.multi_modal_projector.merge_linear_{}."),
        rename(".block_sparse_moe.{experts,gate,shared_experts}.", ".mlp.{}."),
        rename(".block_sparse_moe.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"),
        rename(".self_attn.index_{q,k}_proj.", ".self_attn.indexer.{}_proj."),
        rename(".self_attn.index_{q,k}_norm.", ".self_attn.indexer.{}_norm."),
    }) +
    experts_w123 +
    rules({
        concat(".gate_proj.weight", ".up_proj.weight").into(".gate_up_proj.weight"),
    });

inline constexpr auto mistral_large4 = rules({
    rename("^vision_encoder.", "model.vision_tower."),
    rename("^tok_embeddings.", "model.language_model.embed_tokens."),
    rename("^lerope.alpha", "model.language_model.rotary_emb.alpha"),
    rename("^{layers,norm}.", "model.language_model.{}."),
    rename("^output.", "lm_head."),
    rename("^pre_mm_projector_norm.", "model.multi_modal_projector.norm."),
    rename("^patch_merger.", "model.multi_modal_projector.patch_merger."),
    rename("^vision_language_adapter.w_in.", "model.multi_modal_projector.linear_1."),
    rename("^vision_language_adapter.w_out.", "model.multi_modal_projector.linear_2."),
    rename(".w{v,o}.", ".{}_proj."),
    rename(".{feed_forward,shared_experts}.w1.", ".{}.gate_proj."),
    rename(".{feed_forward,shared_experts}.w2.", ".{}.down_proj."),
    rename(".{feed_forward,shared_experts}.w3.", ".{}.up_proj."),
    split("attention.wq.").halved_by_head("vision_config.num_attention_heads", 1).into("attention.q_proj."),
    split("attention.wk.").halved_by_head("vision_config.num_attention_heads", 1).into("attention.k_proj."),
});

inline constexpr auto mllama = language_model + rules({
                                                    rename("^{vision_model,multi_modal_projector}", "model.{}"),
                                                });

inline constexpr auto molmo2 = rules({
    rename("!{image_vit.}transformer.!{ln_f.,blocks.}", "language_model."),
    rename("!{image_vit.}transformer.ln_f.", "language_model.norm."),
    rename("!{image_vit.}transformer.blocks.", "language_model.layers."),
    rename("vision_backbone.image_vit.!{transformer.resblocks.}", "vision_tower."),
    rename("vision_backbone.image_vit.transformer.resblocks.", "vision_tower.layers."),
    rename("vision_backbone.image_{pooling_2d,projector}.", "multi_modal_projector.image_{}."),
    rename(".attention.w{q,k,v,o}", ".self_attn.{}_proj"),
    rename(".feed_forward.w{1,2}", ".mlp.fc{}"),
    rename(".attention_norm", ".layer_norm1"),
    rename(".ffn_norm", ".layer_norm2"),
    rename("image_pooling_2d.w{q,k,v,o}", "image_pooling_2d.{}_proj"),
    rename("image_projector.w1", "image_projector.gate_proj"),
    rename("image_projector.w2", "image_projector.down_proj"),
    rename("image_projector.w3", "image_projector.up_proj"),
});

inline constexpr auto paddleocr_vl = rules({
    rename("^mlp_AR", "model.projector"),
    rename("^visual", "model.visual"),
    rename("^model!{.visual,.projector,.language_model}", "model.language_model"),
});

inline constexpr auto pi0 = rules({
    rename("^model.", ""),
    rename("{state,action_in}_proj", "embed_action_time.{}_proj"),
    rename("action_time_mlp_{in,out}", "embed_action_time.action_time_mlp_{}"),
    rename("^paligemma_with_expert.paligemma.model", "model.vlm"),
    rename("^paligemma_with_expert.gemma_expert.model", "model.dit"),
    rename("^paligemma_with_expert.gemma_expert.lm_head", "model.dit.embed_tokens"),
    rename("^paligemma_with_expert.paligemma.lm_head", "model.vlm.language_model.embed_tokens"),
});

inline constexpr auto qianfan_ocr = rules({
    rename("^vision_model.", "model.vision_tower."),
    rename("encoder.layers.", "layers."),
    rename(".ls{1,2}", ".lambda_{}"),
    rename("layers.*.attn.proj.", "layers.*.attention.projection_layer."),
    rename(".norm1.", ".layernorm_before."),
    rename(".norm2.", ".layernorm_after."),
    rename(".embeddings.class_embedding", ".embeddings.cls_token"),
    rename(".embeddings.position_embedding", ".embeddings.position_embeddings"),
    rename(".embeddings.patch_embedding.", ".embeddings.patch_embeddings.projection."),
    rename("^language_model.model.", "model.language_model."),
    rename("^language_model.lm_head.", "lm_head."),
    rename("^mlp1.0.", "model.multi_modal_projector.layer_norm."),
    rename("^mlp1.1.", "model.multi_modal_projector.linear_1."),
    rename("^mlp1.3.", "model.multi_modal_projector.linear_2."),
    split("attn.qkv.weight").into("attention.q_proj.weight", "attention.k_proj.weight", "attention.v_proj.weight"),
    split("attn.qkv.bias").into("attention.q_proj.bias", "attention.k_proj.bias", "attention.v_proj.bias"),
});

inline constexpr auto qwen3_vl_moe = rules({
    transpose("mlp.experts.gate_up_proj", 1, 2).unless(2, "hidden_size").into("mlp.experts.gate_up_proj"),
    transpose("mlp.experts.down_proj", 1, 2).unless(1, "hidden_size").into("mlp.experts.down_proj"),
});

inline constexpr auto shieldgemma2 = rules({
    rename("^model.!{model.}", "model.model."),
});

inline constexpr auto step3p5_vision = rules({
    rename("^conv1.weight", "embeddings.patch_embedding.weight"),
    rename("^positional_embedding", "embeddings.position_embedding.weight"),
    rename("^transformer.resblocks.", "layers."),
    rename("^ln_pre.", "pre_layernorm."),
    rename("^vit_downsampler{1,2}.", "downsampler{}."),
    rename(".ls_{1,2}.gamma", ".lambda_{}"),
    rename(".mlp.c_fc.", ".mlp.fc1."),
    rename(".mlp.c_proj.", ".mlp.fc2."),
    rename(".attn.", ".self_attn."),
    rename(".ln_1.", ".layernorm_before."),
    rename(".ln_2.", ".layernorm_after."),
    split("attn.in_proj_weight")
        .halved_by_head("vision_config.num_attention_heads", 2)
        .into("attn.q_proj.weight", "attn.k_proj.weight", "attn.v_proj.weight"),
    split("attn.in_proj_bias")
        .halved_by_head("vision_config.num_attention_heads", 2)
        .into("attn.q_proj.bias", "attn.k_proj.bias", "attn.v_proj.bias"),
});

inline constexpr auto step3p7 = rules({
    rename("^vision_model.", "model.vision_model."),
    rename("^vit_large_projector.", "model.multi_modal_projector."),
    rename("^model.{embed_tokens,layers,norm}.", "model.language_model.{}."),
    rename(".moe.gate.weight", ".mlp.gate.weight"),
    rename(".moe.router_bias", ".mlp.gate.e_score_correction_bias"),
    rename(".moe.down_proj.weight", ".mlp.experts.down_proj"),
    rename(".moe.down_proj.weight_scale_inv", ".mlp.experts.down_proj_scale_inv"),
    rename(".share_expert.", ".mlp.shared_experts."),
    concat("moe.gate_proj.weight", "moe.up_proj.weight").along(1).into("mlp.experts.gate_up_proj"),
});

inline constexpr auto t5gemma2_encoder = rules({
    rename("!{decoder.,text_model.}embed_tokens.", "text_model.embed_tokens."),
    rename("!{decoder.,text_model.,layer,_}norm.", "text_model.norm."),
    rename("!{vision_model.encoder.,vision_tower.encoder.,decoder.,text_model.}layers.", "text_model.layers."),
});

inline constexpr auto unlimited_ocr = rules({
                                          rename("{^,model.}sam_model", "{}vision_tower.sam_encoder"),
                                          rename("{^,model.}vision_model", "{}vision_tower.vision_encoder"),
                                          rename("{^,model.}view_seperator", "{}view_separator"),
                                          rename("{^,model.}projector.layers.weight", "{}multi_modal_projector.weight"),
                                          rename("{^,model.}projector.layers.bias", "{}multi_modal_projector.bias"),
                                      }) +
                                      inside_language_model;

inline constexpr auto video_llava =
    language_model + rules({
                         rename("^{image,video}_tower", "model.{}_tower"),
                         rename("^multi_modal_projector", "model.multi_modal_projector"),
                     });

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
