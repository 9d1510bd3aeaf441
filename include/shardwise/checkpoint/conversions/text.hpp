// SPDX-License-Identifier: Apache-2.0
// The rules of models of text alone, and of one of time series, after Hugging Face 5.23.0.
#pragma once
#include "shardwise/checkpoint/conversions/experts.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {

inline constexpr auto forget_gate = rules({
    rename("self_attn.f_{a,b}_proj.", "self_attn.forget_gate.f_{}_proj."),
    rename("self_attn.{dt_bias,A_log}", "self_attn.forget_gate.{}"),
});

inline constexpr auto hyper_connections = rules({
    rename("hc_attn_{fn,base,scale}", "attn_hc.{}"),
    rename("hc_ffn_{fn,base,scale}", "ffn_hc.{}"),
});

inline constexpr auto inkling_attention = rules({
    rename("attn.wq_du", "self_attn.q_proj"),
    rename("attn.w{k,v}_dv", "self_attn.{}_proj"),
    rename("attn.wr_du", "self_attn.r_proj"),
    rename("attn.wo_ud", "self_attn.o_proj"),
});

/// A language model that the file has at its root.
inline constexpr auto language_model = rules({
    rename("^language_model.lm_head", "lm_head"),
    rename("^language_model", "model.language_model"),
});

/// A text model at the root of the file, or below `model`, that the model has in its language_model.
inline constexpr auto inside_language_model = rules({
    rename("{^,model.}embed_tokens.", "{}language_model.embed_tokens."),
    rename("{^,model.}layers.", "{}language_model.layers."),
    rename("{^,model.}norm.", "{}language_model.norm."),
});

inline constexpr auto gpt_neox_for_causal_lm = rules({
    rename("^embed_out.", "lm_head."),
});

inline constexpr auto mtp_model = rules({
    rename("^model.", ""),
    rename("^mtp.", ""),
    rename(".shared_head.norm.", ".post_norm."),
    rename(".mtp_block.{enorm,hnorm,eh_proj,post_norm}.", ".{}."),
    rename(".hidden_norm.", ".hnorm."),
    rename(".embed_norm.", ".enorm."),
    rename(".input_proj.", ".eh_proj."),
    rename("^chain_norm.", "shared_post_norm."),
    rename("layers.*.transformer_block.", "layers.*.mtp_block."),
    rename("^layers.*.!{mtp_block.,enorm.,hnorm.,eh_proj.,post_norm.}", "layers.*.mtp_block."),
    rename("^fc.", "layers.0.eh_proj."),
    rename("^pre_fc_norm_embedding.", "layers.0.enorm."),
    rename("^pre_fc_norm_hidden.", "layers.0.hnorm."),
    rename("^norm.", "layers.0.post_norm."),
});

inline constexpr auto ultravbert_for_masked_lm = rules({
    rename("^head.decoder.", "lm_head."),
    rename("^head.", "projection_head."),
});

inline constexpr auto ultrabert_for_masked_lm = rules({
    rename("^ultrabert.", "model."),
    rename("^cls.", "head.decoder."),
});

inline constexpr auto ultrabert_for_question_answering = rules({
    rename("^ultrabert.", "model."),
});

inline constexpr auto ultrabert_model = rules({
    rename("^ultrabert.", ""),
});

inline constexpr auto aria_text = rules({
    rename("mlp.experts.fc1.weight", "mlp.experts.gate_up_proj"),
    rename("mlp.experts.fc2.weight", "mlp.experts.down_proj"),
});

inline constexpr auto axk1 = experts + rules({
                                           rename("post_mlp_layernorm", "mlp.post_mlp_layernorm"),
                                       });

inline constexpr auto axk2 = experts + rules({
                                           rename("W_down", "mlp.fc1"),
                                           rename("W_up", "mlp.fc2"),
                                           rename("self_attn.q_b_proj.", "self_attn.q_gate_proj."),
                                       });

inline constexpr auto bailing_hybrid =
    experts + rules({
                  rename("^model.word_embeddings.", "model.embed_tokens."),
                  rename(".attention.", ".self_attn."),
                  rename("self_attn.f_proj.", "self_attn.forget_gate.f_proj."),
                  rename("self_attn.{dt_bias,A_log}", "self_attn.forget_gate.{}"),
                  concat("q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight").into("conv1d.weight"),
                  rename(".self_attn.dense.", ".self_attn.o_proj."),
                  rename(".mlp.gate.expert_bias", ".mlp.gate.e_score_correction_bias"),
              });

inline constexpr auto deepseek_v4 = rules({
                                        rename(".attn.", ".self_attn."),
                                        rename(".ffn.", ".mlp."),
                                        rename(".indexer.compressor.", ".compressor.indexer."),
                                        rename("^embed.weight", "embed_tokens.weight"),
                                        rename("^head.weight", "lm_head.weight"),
                                        rename("^hc_head_{fn,base,scale}", "hc_head.hc_{}"),
                                        rename(".attn_norm.", ".input_layernorm."),
                                        rename(".ffn_norm.", ".post_attention_layernorm."),
                                        rename(".hc_attn_{fn,base,scale}", ".attn_hc.{}"),
                                        rename(".hc_ffn_{fn,base,scale}", ".ffn_hc.{}"),
                                        rename(".attn_sink", ".sinks"),
                                        rename(".indexer.weights_proj.", ".compressor.indexer.scorer.weights_proj."),
                                        rename(".indexer.wq_b.", ".compressor.indexer.q_b_proj."),
                                        rename(".norm.", ".kv_norm."),
                                        rename(".ape", ".position_bias"),
                                        rename(".wq_a.", ".q_a_proj."),
                                        rename(".self_attn.wq_b.", ".self_attn.q_b_proj."),
                                        rename(".wkv.", ".kv_proj."),
                                        rename(".wgate.", ".gate_proj."),
                                        rename(".wo_{a,b}.", ".o_{}_proj."),
                                        rename(".q_norm.", ".q_a_norm."),
                                        rename(".gate.bias", ".gate.e_score_correction_bias"),
                                        rename(".shared_experts.w1.", ".shared_experts.gate_proj."),
                                        rename(".shared_experts.w2.", ".shared_experts.down_proj."),
                                        rename(".shared_experts.w3.", ".shared_experts.up_proj."),
                                    }) +
                                    experts_w123;

inline constexpr auto ernie4_5_moe =
    experts + rules({
                  rename("mlp.moe_statics.e_score_correction_bias", "mlp.gate.moe_statics.e_score_correction_bias"),
              });

inline constexpr auto esm = rules({
    one_of("encoder.layer.*.attention.self.rotary_embeddings.inv_freq", "rotary_embeddings.inv_freq"),
    rename("LayerNorm.gamma", "LayerNorm.weight"),
    rename("LayerNorm.beta", "LayerNorm.bias"),
});

inline constexpr auto exaone_moe =
    experts + rules({
                  rename("mlp.e_score_correction_bias", "mlp.gate.e_score_correction_bias"),
              });

inline constexpr auto flint = experts + rules({
                                            rename("self_attn.softmax_offset", "self_attn.sinks"),
                                        });

inline constexpr auto qwen3_5_text = rules({
    rename("^model.language_model.", "model."),
});

inline constexpr auto glm5_next =
    forget_gate + hyper_connections + experts +
    rules({
        concat("self_attn.q_conv1d.weight", "self_attn.k_conv1d.weight", "self_attn.v_conv1d.weight")
            .into("self_attn.conv1d.weight"),
    });

inline constexpr auto granitemoe = rules({
    rename("block_sparse_moe.input_linear.weight", "block_sparse_moe.experts.gate_up_proj"),
    rename("block_sparse_moe.output_linear.weight", "block_sparse_moe.experts.down_proj"),
    rename("block_sparse_moe.router.layer.weight", "block_sparse_moe.router.weight"),
});

inline constexpr auto gte = rules({
    rename("^new.", ""),
    rename("encoder.layer", "layers"),
    rename("attention.o_proj", "self_attn.o_proj"),
    rename("attn_ln", "post_attention_layernorm"),
    rename("mlp_ln", "post_mlp_layernorm"),
    rename("lm_head.norm", "lm_head.layer_norm"),
    split("attention.qkv_proj").into("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    split("mlp.up_gate_proj").into("mlp.up_proj", "mlp.gate_proj"),
});

inline constexpr auto hrm_text = rules({
    split("mlp.gate_up_proj.weight").into("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    split("attn.gqkv_proj.weight")
        .into("self_attn.gate_proj.weight", "self_attn.q_proj.weight", "self_attn.k_proj.weight",
              "self_attn.v_proj.weight"),
    rename(".attn.o_proj.", ".self_attn.o_proj."),
});

inline constexpr auto hy_v3 = experts + rules({
                                            rename("mlp.router.gate.weight", "mlp.gate.weight"),
                                            rename("mlp.expert_bias", "mlp.e_score_correction_bias"),
                                            rename("mlp.shared_mlp.", "mlp.shared_experts."),
                                        });

inline constexpr auto hy_v4 = rules({
    rename(".hc_pre.hc_", ".hc_"),
    rename(".learnable_sink_param", ".sinks"),
    rename(".linear_gate", ".gate_proj"),
    rename(".hc_attn_layer.hc_{fn,base,scale}", ".attn_hc.{}"),
    rename(".hc_mlp_layer.hc_{fn,base,scale}", ".ffn_hc.{}"),
    rename(".hc_head_{fn,base,scale}", ".hc_{}"),
});

inline constexpr auto inkling2_text =
    rules({
        rename("model.llm.unembed.weight", "lm_head.weight"),
        rename("model.llm.", "model."),
        rename("embed.weight", "embed_tokens.weight"),
        rename("embed_norm.", "embed_tokens.embed_norm."),
        deinterleave("mlp.experts.w13_weight").along(1).into("mlp.experts.gate_up_proj"),
        deinterleave("mlp.experts.w13_weight_scale").along(1).into("mlp.experts.gate_up_proj_scale_inv"),
        rename("mlp.experts.w2_weight", "mlp.experts.down_proj"),
        rename("mlp.experts.w2_weight_scale", "mlp.experts.down_proj_scale_inv"),
        rename("mlp.gate.bias", "mlp.gate.e_score_correction_bias"),
    }) +
    inkling_attention +
    rules({
        rename("attn.gate_attn", "self_attn.gate_proj"),
        rename("attn.attn_sink_proj", "self_attn.sink_proj"),
        rename(".attn.{q_l2_clip,k_l2_clip,rel_l2_clip,k_sconv,v_sconv,rel_logits_proj}.", ".self_attn.{}."),
        rename("attn_sconv.", "post_attention_convolution."),
        rename("mlp_sconv.", "post_mlp_convolution."),
        rename("{convolution,sconv}.weight!{_}", "{}.conv1d.weight"),
        rename("{convolution,sconv}.static_w", "{}.static_weight"),
        rename("{convolution,sconv}.weight_proj", "{}.weight_proj.weight"),
        rename("mlp_norm", "post_attention_layernorm"),
        rename("attn_norm", "input_layernorm"),
        rename("{q,k,v}_input_norm", "{}_input_layernorm"),
        rename("attn_res.attn_queries.*", "layers.*+1.attention_input.query"),
        rename("attn_res.mlp_queries.*", "layers.*.mlp_input.query"),
        rename("attn_res.output_query", "final_input.query"),
    });

inline constexpr auto jamba = rules({
    stack("feed_forward.experts.*.gate_proj.weight", "feed_forward.experts.*.up_proj.weight")
        .into("feed_forward.experts.gate_up_proj"),
    stack("feed_forward.experts.*.down_proj.weight").into("feed_forward.experts.down_proj"),
});

inline constexpr auto jev = rules({
    rename("^weight", "proj.weight"),
});

inline constexpr auto jina_embeddings_v3 = rules({
    rename("emb_ln", "embeddings.LayerNorm"),
    rename("encoder.layers", "layers"),
    rename("mixer.out_proj", "self_attn.o_proj"),
    rename("norm1", "post_attention_layernorm"),
    rename("norm2", "post_mlp_layernorm"),
    split("mixer.Wqkv").into("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
});

inline constexpr auto kimi_linear =
    forget_gate +
    rules({
        concat("self_attn.q_conv1d.weight", "self_attn.k_conv1d.weight", "self_attn.v_conv1d.weight")
            .into("self_attn.conv1d.weight"),
        rename(".block_sparse_moe.", ".mlp."),
    }) +
    experts_w123;

inline constexpr auto kolibri1 = experts + rules({
                                               rename("moe.router.expert_bias", "mlp.gate.e_score_correction_bias"),
                                               rename("post_attn_norm", "post_self_attn_layernorm"),
                                               rename("post_ffn_norm", "post_mlp_layernorm"),
                                           });

inline constexpr auto laguna =
    experts + rules({
                  rename("mlp.experts.e_score_correction_bias", "mlp.gate.e_score_correction_bias"),
                  rename("mlp.shared_expert.", "mlp.shared_experts."),
              });

inline constexpr auto legacy = rules({
    rename("LayerNorm.gamma", "LayerNorm.weight"),
    rename("LayerNorm.beta", "LayerNorm.bias"),
    rename(".weight_g", ".parametrizations.weight.original0"),
    rename(".weight_v", ".parametrizations.weight.original1"),
    rename("^model.language_model.model", "model.language_model"),
    rename("^language_model.model.model", "model.language_model"),
});

inline constexpr auto lfm2_moe = rules({
    stack("feed_forward.experts.*.w1.weight", "feed_forward.experts.*.w3.weight")
        .into("feed_forward.experts.gate_up_proj"),
    stack("feed_forward.experts.*.w2.weight").into("feed_forward.experts.down_proj"),
});

inline constexpr auto lfm3 = rules({
    rename(".self_attn.gate_proj.", ".self_attn.g_proj."),
});

inline constexpr auto lfm3_vl_vision = rules({
    rename("patchifier", "patch_embed"),
    rename("{q,k}_layernorm", "{}_norm"),
});

inline constexpr auto mimo_v2_flash = experts + rules({
                                                    rename("self_attn.attention_sink_bias", "self_attn.sinks"),
                                                });

inline constexpr auto minimax_m2 =
    rules({
        rename(".block_sparse_moe.", ".mlp."),
    }) +
    experts_w123 +
    rules({
        rename(".block_sparse_moe.e_score_correction_bias", ".mlp.e_score_correction_bias"),
    });

inline constexpr auto mistral_large4_text = rules({
                                                rename(".attention.", ".self_attn."),
                                                rename(".wq.", ".q_proj."),
                                                rename(".wkv_a_with_mqa.", ".kv_a_proj_with_mqa."),
                                                rename(".wkv_b.", ".kv_b_proj."),
                                                rename(".attention_norm.", ".input_layernorm."),
                                                rename(".ffn_norm.", ".post_attention_layernorm."),
                                                rename(".kv_a_norm.", ".kv_a_layernorm."),
                                                rename(".feed_forward.", ".mlp."),
                                                rename(".{gate,experts,shared_experts}.", ".mlp.{}."),
                                                rename(".ssmax_scaling.s", ".softmax_scaling.scale"),
                                                rename(".ssmax_scaling.b", ".softmax_scaling.bias"),
                                            }) +
                                            experts_w123;

inline constexpr auto nemotron_h = rules({
    rename("backbone.", "model."),
    stack("mixer.experts.*.up_proj.weight").into("mixer.experts.up_proj"),
    stack("mixer.experts.*.down_proj.weight").into("mixer.experts.down_proj"),
});

inline constexpr auto nomic_bert = rules({
    rename("encoder.layers", "layers"),
    rename("emb_ln", "embeddings.LayerNorm"),
    rename("attn.out_proj", "self_attn.o_proj"),
    rename("fc11", "up_proj"),
    rename("fc12", "gate_proj"),
    rename("fc2", "down_proj"),
    rename("norm1", "post_attention_layernorm"),
    rename("norm2", "post_mlp_layernorm"),
    split("attn.Wqkv").into("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
});

inline constexpr auto olmo_hybrid = rules({
    rename("attention_layer_norm", "input_layernorm"),
    rename("feedforward_layer_norm", "post_attention_layernorm"),
    concat("linear_attn.q_conv1d.weight", "linear_attn.k_conv1d.weight", "linear_attn.v_conv1d.weight")
        .into("linear_attn.conv1d.weight"),
});

inline constexpr auto phimoe = rules({
                                   rename(".block_sparse_moe.", ".mlp."),
                                   rename(".gate.weight", ".router.weight"),
                               }) +
                               experts_w123;

inline constexpr auto qwen3_5_moe_text = rules({
                                             rename("^model.language_model.", "model."),
                                         }) +
                                         experts;

inline constexpr auto qwen4_exp_text = rules({
                                           rename("^model.language_model.", "model."),
                                       }) +
                                       experts +
                                       rules({
                                           concat("ngram_embedding.shard_*.weight").into("ngram_embedding.weight"),
                                       });

inline constexpr auto timesfm2_5 = rules({
    rename("ff0", "fc1"),
    rename("ff1", "fc2"),
});

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
