// SPDX-License-Identifier: Apache-2.0
// The rules of models that hear or speak, whatever else they take, after Hugging Face 5.23.0.
#pragma once
#include "shardwise/checkpoint/conversions/text.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {

inline constexpr auto mimi_decoder_model = rules({
    rename("^decoder.layers", "decoder_seanet.layers"),
});

inline constexpr auto mimi_encoder_model = rules({
    rename("^encoder.layers", "encoder_seanet.layers"),
});

inline constexpr auto mimi_model = rules({
    rename("^encoder.layers", "encoder.encoder.layers"),
    rename("^{encoder_transformer,downsample}.", "encoder.{}."),
    rename("^{upsample,decoder_transformer}.", "decoder.{}."),
    rename("^decoder.layers", "decoder.decoder.layers"),
});

inline constexpr auto dots3_note_for_conditional_generation = rules({
    rename("^audio_encoder.audio_adapter.", "audio_adapter."),
    rename("^{vision_encoder,audio_encoder,audio_adapter}.", "model.{}."),
    rename("^model.lm_head.", "lm_head."),
});

inline constexpr auto dots3_note_model = rules({
    rename("^model.", ""),
    rename("^{embed_tokens,layers,norm}.", "language_model.{}."),
    rename("^{vision,audio}_encoder.", "{}_tower."),
    rename("^audio_adapter.", "audio_tower.audio_adapter."),
});

inline constexpr auto nemotron_h_omni_reasoning_v3 = rules({
    rename("^mlp1.0.", "multi_modal_projector.layer_norm."),
    rename("^mlp1.1.", "multi_modal_projector.linear_1."),
    rename("^mlp1.3.", "multi_modal_projector.linear_2."),
    rename("^sound_encoder.encoder.", "audio_tower."),
    rename("^sound_projection.norm.", "embed_audio.layer_norm."),
    rename("^sound_projection.linear{1,2}.", "embed_audio.linear_{}."),
});

inline constexpr auto qwen2_5_omni_thinker_for_conditional_generation = rules({
    rename("^thinker.", ""),
    rename("^{audio_tower,visual}", "model.{}"),
    rename("^model!{.language_model,.visual,.audio_tower}", "model.language_model"),
});

inline constexpr auto qwen2_5_omni_thinker_model = rules({
    rename("^thinker.", ""),
    rename("^model.!{language_model.}", "model.language_model."),
});

inline constexpr auto qwen2_audio = language_model + rules({
                                                         rename("^{audio_tower,multi_modal_projector}", "model.{}"),
                                                     });

inline constexpr auto cohere_asr = rules({
    rename("encoder.pre_encode.conv.", "encoder.subsampling.layers."),
    rename("encoder.pre_encode.out.", "encoder.subsampling.linear."),
    rename("transf_decoder._embedding.position_embedding.pos_enc", "decoder.pos_emb.weight"),
    rename("transf_decoder._embedding.token_embedding", "decoder.embed_tokens"),
    rename("transf_decoder._embedding.layer_norm", "decoder.embedding_layernorm"),
    rename("transf_decoder._decoder.final_layer_norm", "decoder.norm"),
    rename("transf_decoder._decoder.layers", "decoder.layers"),
    rename("encoder_decoder_proj.", "decoder.proj."),
    rename("encoder.**.self_attn.linear_{q,k,v}", "encoder.**.self_attn.{}_proj"),
    rename("encoder.**.self_attn.linear_out", "encoder.**.self_attn.o_proj"),
    rename("encoder.**.self_attn.linear_pos", "encoder.**.self_attn.relative_k_proj"),
    rename("encoder.**.self_attn.pos_bias_{u,v}", "encoder.**.self_attn.bias_{}"),
    rename("decoder.**.first_sub_layer.query_net", "decoder.**.self_attn.q_proj"),
    rename("decoder.**.first_sub_layer.key_net", "decoder.**.self_attn.k_proj"),
    rename("decoder.**.first_sub_layer.value_net", "decoder.**.self_attn.v_proj"),
    rename("decoder.**.first_sub_layer.out_projection", "decoder.**.self_attn.o_proj"),
    rename(".second_sub_layer.query_net", ".encoder_attn.q_proj"),
    rename(".second_sub_layer.key_net", ".encoder_attn.k_proj"),
    rename(".second_sub_layer.value_net", ".encoder_attn.v_proj"),
    rename(".second_sub_layer.out_projection", ".encoder_attn.o_proj"),
    rename(".third_sub_layer.dense_in", ".mlp.fc1"),
    rename(".third_sub_layer.dense_out", ".mlp.fc2"),
    rename(".layer_norm_1.", ".input_layernorm."),
    rename(".layer_norm_2.", ".post_attention_layernorm."),
    rename(".layer_norm_3.", ".final_layernorm."),
    rename(".conv.batch_norm", ".conv.norm"),
    rename("log_softmax.mlp.layer0", "proj_out"),
});

inline constexpr auto dots3_note_audio_encoder = rules({
    rename("^audio_adapter.", "adapter."),
    rename("^adapter.proj.0.", "adapter.norm."),
    rename("^adapter.proj.1.", "adapter.fc1."),
    rename("^adapter.proj.3.", "adapter.fc2."),
    rename("dots_encoder.speech_encoder.", "speech_encoder."),
    rename("speech_encoder.{conv2d1,conv2d2,conv2d3,conv_out}.", "speech_encoder.conv_stem.{}."),
    rename("conv_stem.conv2d1.", "conv_stem.convs.0."),
    rename("conv_stem.conv2d2.", "conv_stem.convs.1."),
    rename("conv_stem.conv2d3.", "conv_stem.convs.2."),
    rename("speech_encoder.layers.*.self_attn.out_proj.", "speech_encoder.layers.*.self_attn.o_proj."),
    rename(".self_attn_layer_norm.", ".input_layernorm."),
    rename(".final_layer_norm.", ".post_attention_layernorm."),
    rename("speech_encoder.layers.*.fc1.", "speech_encoder.layers.*.mlp.gate_up_proj."),
    rename("speech_encoder.layers.*.fc2.", "speech_encoder.layers.*.mlp.down_proj."),
    rename("^speech_encoder.{conv_stem,layers,layer_norm}.", "{}."),
});

inline constexpr auto dots3_note_vision_encoder = rules({
    rename("^post_trunk_norm.", "norm."),
    rename("^adapter.", "merger."),
    rename("blocks.*.norm_{1,2}.", "blocks.*.norm{}."),
    rename("blocks.*.mlp.fc1.", "blocks.*.mlp.gate_proj."),
    rename("blocks.*.mlp.fc2.", "blocks.*.mlp.down_proj."),
    rename("blocks.*.mlp.fc3.", "blocks.*.mlp.up_proj."),
    rename(".mlp.gate_weight", ".mlp.gate.weight"),
    rename(".mlp.router_bias", ".mlp.e_score_correction_bias"),
    stack(".mlp.experts.*.fc1.weight", ".mlp.experts.*.fc3.weight").into(".mlp.experts.gate_up_proj"),
    stack(".mlp.experts.*.fc2.weight").into(".mlp.experts.down_proj"),
});

inline constexpr auto gradium_phonon_tts = rules({
    rename("^flow_lm.condition_provider.conditioners.transcript_in_segment.embed.", "model.embed_tokens."),
    rename("^flow_lm.condition_provider.conditioners.speaker_wavs.output_proj.", "model.audio_prompt_proj."),
    rename("^flow_lm.condition_provider.conditioners.num_speakers.embed.", "model.num_speakers_embed."),
    rename("^flow_lm.condition_provider.conditioners.{num_speakers,duration_delta}.output_proj.", "model.{}_proj."),
    rename("^flow_lm.input_linear.", "model.audio_latent_proj."),
    rename("^flow_lm.bos_emb", "model.bos_latent"),
    rename("^flow_lm.emb_{mean,std}", "latent_{}"),
    rename("^flow_lm.out_norm.", "model.norm."),
    rename("^flow_lm.out_eos.", "eos_head."),
    rename("^flow_lm.transformer.layers.*.self_attn.in_proj.", "model.layers.*.self_attn.in_proj."),
    rename("^flow_lm.transformer.layers.*.self_attn.out_proj.", "model.layers.*.self_attn.o_proj."),
    rename("^flow_lm.transformer.layers.*.linear{1,2}.", "model.layers.*.mlp.fc{}."),
    rename("^flow_lm.transformer.layers.*.norm1.", "model.layers.*.input_layernorm."),
    rename("^flow_lm.transformer.layers.*.norm2.", "model.layers.*.post_attention_layernorm."),
    rename("^flow_lm.flow_net.time_embed.*.freqs", "flow_head.timestep_embeddings.*.freqs"),
    rename("^flow_lm.flow_net.time_embed.*.mlp.0.", "flow_head.timestep_embeddings.*.fc1."),
    rename("^flow_lm.flow_net.time_embed.*.mlp.2.", "flow_head.timestep_embeddings.*.fc2."),
    rename("^flow_lm.flow_net.time_embed.*.mlp.3.alpha", "flow_head.timestep_embeddings.*.norm.weight"),
    rename("^flow_lm.flow_net.cond_embed.", "flow_head.cond_proj."),
    rename("^flow_lm.flow_net.input_proj.", "flow_head.input_proj."),
    rename("^flow_lm.flow_net.res_blocks.*.in_ln.", "flow_head.layers.*.norm."),
    rename("^flow_lm.flow_net.res_blocks.*.mlp.0.", "flow_head.layers.*.fc1."),
    rename("^flow_lm.flow_net.res_blocks.*.mlp.2.", "flow_head.layers.*.fc2."),
    rename("^flow_lm.flow_net.res_blocks.*.adaLN_modulation.1.", "flow_head.layers.*.adaln_proj."),
    rename("^flow_lm.flow_net.final_layer.linear.", "flow_head.final_layer.proj."),
    rename("^flow_lm.flow_net.final_layer.adaLN_modulation.1.", "flow_head.final_layer.adaln_proj."),
    split("self_attn.in_proj.weight")
        .halved_by_head("num_attention_heads", 2)
        .into("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
});

inline constexpr auto granite_speech = language_model + rules({
                                                            rename("^{encoder,projector}", "model.{}"),
                                                        });

inline constexpr auto nemo_speechlm = rules({
    rename("^perception.encoder.asr_encoder.", "model.audio_tower.asr_encoder."),
    rename("^perception.encoder.diarization_model.encoder.", "model.audio_tower.diarization_model.model.audio_tower."),
    rename("^ctc_timestamp.decoder.transformer.", "model.word_timestamp_encoder."),
    rename("^ctc_timestamp.decoder.upsample.", "model.word_timestamp_encoder.upsampler."),
    rename("^ctc_timestamp.decoder.decoder_layers.0.", "word_timestamp_head."),
    rename("^perception.encoder.diarization_model.sortformer_modules.encoder_proj.",
           "model.audio_tower.diarization_model.model.proj."),
    rename("^perception.encoder.diarization_model.sortformer_modules.subpixel_upsample.",
           "model.audio_tower.diarization_model.model.upsampler.conv."),
    rename("^perception.encoder.diarization_model.sortformer_modules.first_hidden_to_hidden.",
           "model.audio_tower.diarization_model.classifier.dense."),
    rename("^perception.encoder.diarization_model.sortformer_modules.single_hidden_to_spks.",
           "model.audio_tower.diarization_model.classifier.out_proj."),
    rename("^perception.encoder.diarization_model.sortformer_modules.learnable_sil_emb",
           "model.audio_tower.diarization_model.silence_embeds"),
    rename("^perception.encoder.asr_norm.", "model.audio_tower.asr_norm."),
    rename("^perception.encoder.diar_norm.", "model.audio_tower.speaker_norm."),
    rename("^perception.proj.", "model.multi_modal_projector."),
    rename("^llm.model.embed_tokens.", "model.language_model.embeddings."),
    rename("^llm.model.norm.", "model.language_model.norm_f."),
    rename("^llm.model.layers.", "model.language_model.layers."),
    rename("^llm.lm_head.", "lm_head."),
    rename(".pre_encode.proj.", ".embedder.projection."),
    rename(".embed_norm.", ".input_layer_norm."),
    rename(".final_norm.", ".layer_norm."),
    rename(".norm{1,2}.", ".layer_norm{}."),
    rename(".attn.out_proj.", ".self_attn.o_proj."),
    rename(".attn.{q,k}_norm.", ".self_attn.{}_norm."),
    rename(".ffn.net.0.", ".mlp.fc1."),
    rename(".ffn.net.3.", ".mlp.fc2."),
    rename(".mixer._fp32_params.{A_log,D,dt_bias}", ".mixer.{}"),
    split(".attn.w_qkv.weight")
        .into(".self_attn.q_proj.weight", ".self_attn.k_proj.weight", ".self_attn.v_proj.weight"),
    transpose(".mixer.experts.gate_and_up_projs", 1, 2).into(".mixer.experts.up_proj"),
    transpose(".mixer.experts.down_projs", 1, 2).into(".mixer.experts.down_proj"),
});

inline constexpr auto vibevoice_asr =
    language_model + rules({
                         rename("^{acoustic,semantic}_tokenizer_encoder", "model.{}_tokenizer_encoder"),
                         rename("^multi_modal_projector", "model.multi_modal_projector"),
                     });

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
