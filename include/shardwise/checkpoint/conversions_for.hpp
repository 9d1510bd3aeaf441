// SPDX-License-Identifier: Apache-2.0
// Which rules a checkpoint's config asks for, by model type, class and submodel, after Hugging Face 5.23.0.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/conversions/audio.hpp"
#include "shardwise/checkpoint/conversions/detection.hpp"
#include "shardwise/checkpoint/conversions/not_supported.hpp"
#include "shardwise/checkpoint/conversions/text.hpp"
#include "shardwise/checkpoint/conversions/vision.hpp"
#include "shardwise/checkpoint/conversions/vision_language.hpp"
#include "shardwise/detail/words.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

namespace conversions {

/// Rules, and the model types and classes that they are of, separated by blanks.
struct row {
  std::span<const conversion> rules;
  std::string_view keys;
};

inline constexpr row table[] = {
    {experts,
     "Dots3NoteTextModel UnlimitedOcrTextModel afmoe beam cohere2_moe deepseek_v2 deepseek_v3 deepseek_v32 dots1 "
     "flex_olmo glm4_moe glm4_moe_lite glm4v_moe glm_moe_dsa hunyuan_v1_moe longcat_flash mellum olmoe qwen2_moe "
     "qwen3_moe qwen3_next qwen3_omni_moe qwen3_omni_moe_text qwen3_omni_moe_thinker solar_open"},
    {vit_model, "ASTModel DeiTModel IJepaModel ViTMAEModel ViTMSNModel ViTModel VivitModel"},
    {clip_vision_model,
     "clip_vision_model siglip_vision_model siglip2_vision_model AltCLIPVisionModel CLIPSegVisionModel CLIPVisionModel "
     "ChineseCLIPVisionModel MetaClip2VisionModel Siglip2VisionModel SiglipVisionModel mlcd mlcd_vision "
     "xCLIPVisionModel"},
    {granite_speech_model,
     "AriaModel AudioFlamingo3Model AyaVisionModel FuyuModel Gemma3Model GlmAsrModel GotOcr2Model GraniteSpeechModel "
     "GraniteSpeechPlusModel InternVLModel LlavaModel LlavaNextModel LlavaNextVideoModel LlavaOnevisionModel "
     "Mistral3Model MllamaModel MusicFlamingoModel PPChart2TableModel PaliGemmaModel Qwen2AudioModel VibeVoiceAsrModel "
     "VideoLlavaModel VipLlavaModel VoxtralModel VoxtralRealtimeModel"},
    {beit_backbone, "BeitBackbone"},
    {beit_for_semantic_segmentation, "BeitForSemanticSegmentation"},
    {beit_model, "BeitModel"},
    {clip_text_model,
     "CLIPSegTextModel CLIPTextModel MetaClip2TextModel Siglip2TextModel SiglipTextModel xCLIPTextModel"},
    {conditional_detr_for_segmentation, "ConditionalDetrForSegmentation DetrForSegmentation"},
    {conditional_detr_model, "ConditionalDetrModel"},
    {detr_model, "DetrModel MaskFormerDetrDecoder"},
    {dinov2_model, "Dinov2Backbone Dinov2Model Dinov2WithRegistersBackbone Dinov2WithRegistersModel"},
    {dots3_note_for_conditional_generation, "Dots3NoteForConditionalGeneration"},
    {dots3_note_model, "Dots3NoteModel"},
    {emu3_model, "Emu3Model"},
    {gpt_neox_for_causal_lm, "GPTNeoXForCausalLM"},
    {mimi_decoder_model, "MimiDecoderModel"},
    {mimi_encoder_model, "MimiEncoderModel"},
    {mimi_model, "MimiModel"},
    {molmo2_text_model, "Molmo2TextModel"},
    {mtp_model, "MtpModel"},
    {nemotron_h_omni_reasoning_v3, "NemotronH_Omni_Reasoning_V3"},
    {qwen2_vl_for_conditional_generation, "Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration"},
    {qwen2_vl_model, "Qwen2VLModel Qwen2_5_VLModel"},
    {qwen2_5_omni_thinker_for_conditional_generation,
     "Qwen2_5OmniThinkerForConditionalGeneration Qwen3OmniMoeThinkerForConditionalGeneration qwen2_5_omni_thinker"},
    {qwen2_5_omni_thinker_model, "Qwen2_5OmniThinkerModel Qwen3OmniMoeThinkerModel"},
    {rf_detr_for_instance_segmentation, "RfDetrForInstanceSegmentation"},
    {rf_detr_for_object_detection, "RfDetrForObjectDetection"},
    {rf_detr_model, "RfDetrModel"},
    {sapiens2_for_image_matting, "Sapiens2ForImageMatting"},
    {sapiens2_for_normal_estimation, "Sapiens2ForNormalEstimation"},
    {sapiens2_for_pointmap_estimation, "Sapiens2ForPointmapEstimation"},
    {sapiens2_for_pose_estimation, "Sapiens2ForPoseEstimation"},
    {sapiens2_for_semantic_segmentation, "Sapiens2ForSemanticSegmentation"},
    {segformer_for_semantic_segmentation, "SegformerForSemanticSegmentation"},
    {segformer_model, "SegformerModel"},
    {swin_backbone, "SwinBackbone"},
    {tipsv2_dpt_for_depth_estimation, "Tipsv2DptForDepthEstimation"},
    {tipsv2_dpt_for_normal_estimation, "Tipsv2DptForNormalEstimation"},
    {tipsv2_dpt_for_semantic_segmentation, "Tipsv2DptForSemanticSegmentation"},
    {tipsv2_text_model, "Tipsv2TextModel"},
    {tipsv2_vision_model, "Tipsv2VisionBackbone Tipsv2VisionModel"},
    {ultravbert_for_masked_lm, "UltraVBertForMaskedLM"},
    {ultrabert_for_masked_lm, "UltrabertForMaskedLM"},
    {ultrabert_for_question_answering,
     "UltrabertForQuestionAnswering UltrabertForSequenceClassification UltrabertForTokenClassification"},
    {ultrabert_model, "UltrabertModel"},
    {unlimited_ocr_sam_vision_encoder, "UnlimitedOcrSamVisionEncoder"},
    {unlimited_ocr_vision_encoder, "UnlimitedOcrVisionEncoder"},
    {vit, "ViTMAEForPreTraining"},
    {vit_msn_for_image_classification, "ViTMSNForImageClassification"},
    {altclip, "altclip"},
    {llava, "aria aya_vision gemma3 got_ocr2 internvl llava mistral3 paligemma pp_chart2table vipllava"},
    {aria_text, "aria_text"},
    {qwen2_audio, "audioflamingo3 glmasr musicflamingo qwen2_audio voxtral voxtral_realtime"},
    {axk1, "axk1"},
    {axk2, "axk2"},
    {bailing_hybrid, "bailing_hybrid"},
    {cohere_asr, "cohere_asr"},
    {colqwen2, "colqwen2"},
    {cosmos3_edge, "cosmos3_edge"},
    {cosmos3_omni, "cosmos3_omni"},
    {d_fine, "d_fine"},
    {deepseek_ocr2, "deepseek_ocr2"},
    {deepseek_v4, "deepseek_v4"},
    {deformable_detr, "deformable_detr"},
    {dinov3_convnext, "dinov3_convnext"},
    {dinov3_vit, "dinov3_vit"},
    {dots3_note_audio_encoder, "dots3_note_audio_encoder"},
    {dots3_note_vision_encoder, "dots3_note_vision_encoder"},
    {emu3, "emu3"},
    {ernie4_5_moe, "ernie4_5_moe"},
    {ernie4_5_vl_moe, "ernie4_5_vl_moe"},
    {esm, "esm"},
    {exaone_moe, "exaone_moe"},
    {flint, "flint"},
    {fuyu, "fuyu"},
    {qwen3_5_text, "gemma3n_text qwen3_5_text"},
    {gemma4_unified, "gemma4_unified"},
    {glm5_next, "glm5_next glm5_next_text"},
    {gradium_phonon_tts, "gradium_phonon_tts"},
    {granite_speech, "granite_speech granite_speech_plus"},
    {granitemoe, "granitemoe granitemoehybrid granitemoeshared"},
    {gte, "gte"},
    {hrm_text, "hrm_text"},
    {hunyuan_vl, "hunyuan_vl"},
    {hy_v3, "hy_v3"},
    {hy_v4, "hy_v4"},
    {hyperclovax_vision_v2, "hyperclovax_vision_v2"},
    {inkling2, "inkling2"},
    {inkling2_text, "inkling2_text"},
    {inkling_mm_model, "inkling_mm_model"},
    {jamba, "jamba"},
    {jev, "jev"},
    {jina_embeddings_v3, "jina_embeddings_v3"},
    {kimi_k25, "kimi_k25"},
    {kimi_linear, "kimi_linear"},
    {kolibri1, "kolibri1"},
    {laguna, "laguna"},
    {lfm2_moe, "lfm2_moe"},
    {lfm3, "lfm3"},
    {lfm3_vl_vision, "lfm3_vl_vision"},
    {llava_next, "llava_next llava_next_video llava_onevision"},
    {lw_detr, "lw_detr"},
    {mlp_fc, "maskformer"},
    {mimo_v2_flash, "mimo_v2_flash"},
    {mixtral, "minimax mixtral"},
    {minimax_m2, "minimax_m2"},
    {minimax_m3_vl, "minimax_m3_vl"},
    {mistral_large4, "mistral_large4"},
    {mistral_large4_text, "mistral_large4_text"},
    {mllama, "mllama"},
    {molmo2, "molmo2"},
    {nemo_speechlm, "nemo_speechlm"},
    {nemotron_h, "nemotron_h"},
    {nomic_bert, "nomic_bert"},
    {olmo_hybrid, "olmo_hybrid"},
    {paddleocr_vl, "paddleocr_vl"},
    {phimoe, "phimoe"},
    {pi0, "pi0"},
    {pixio, "pixio"},
    {rt_detr, "pp_doclayout_v2 pp_doclayout_v3 rt_detr rt_detr_v2"},
    {pp_doclayout_v4, "pp_doclayout_v4"},
    {qianfan_ocr, "qianfan_ocr"},
    {qwen3_5_moe_text, "qwen3_5_moe_text"},
    {qwen3_vl_moe, "qwen3_vl_moe"},
    {qwen4_exp_text, "qwen4_exp_text"},
    {radio, "radio"},
    {sam3_tracker, "sam3_tracker sam3_tracker_video"},
    {sapiens2, "sapiens2"},
    {shieldgemma2, "shieldgemma2"},
    {step3p5_vision, "step3p5_vision"},
    {step3p7, "step3p7"},
    {swin, "swin"},
    {t5gemma2_encoder, "t5gemma2_encoder"},
    {timesfm2_5, "timesfm2_5"},
    {timm_wrapper, "timm_wrapper"},
    {tipsv2, "tipsv2"},
    {tipsv2_dpt, "tipsv2_dpt"},
    {unlimited_ocr, "unlimited_ocr"},
    {vibevoice_asr, "vibevoice_asr"},
    {video_llava, "video_llava"},
    {videomae, "videomae"},
    {yolos, "yolos"},
};

/// Where the submodels of a class lie whose rules apply to names under them, if that is not the usual place.
struct place {
  std::string_view architecture, path, key;
};
inline constexpr place places[] = {
    {"DeepseekVLForConditionalGeneration", "model.vision_model", "SiglipVisionModel"},
    {"Dots3NoteForCausalLM", "model", "Dots3NoteTextModel"},
    {"Dots3NoteForConditionalGeneration", "model", "Dots3NoteModel"},
    {"Dots3NoteForConditionalGeneration", "model.language_model", "Dots3NoteTextModel"},
    {"Dots3NoteForConditionalGeneration", "model.vision_tower", "dots3_note_vision_encoder"},
    {"Dots3NoteForConditionalGeneration", "model.audio_tower", "dots3_note_audio_encoder"},
    {"KyutaiSpeechToTextForConditionalGeneration", "model.codec_model", "MimiModel"},
    {"KyutaiSpeechToTextForConditionalGeneration", "model.codec_model.encoder", "MimiEncoderModel"},
    {"KyutaiSpeechToTextForConditionalGeneration", "model.codec_model.decoder", "MimiDecoderModel"},
    {"NemotronH_Omni_Reasoning_V3", "model.language_model", "nemotron_h"},
    {"NemotronH_Omni_Reasoning_V3", "model.vision_model", "radio"},
    {"PI0ForConditionalGeneration", "model.vlm", "PaliGemmaModel"},
    {"PI0ForConditionalGeneration", "model.vlm.vision_tower", "SiglipVisionModel"},
    {"Qwen2_5OmniForConditionalGeneration", "model.thinker", "Qwen2_5OmniThinkerForConditionalGeneration"},
    {"Qwen2_5OmniForConditionalGeneration", "model.thinker.model", "Qwen2_5OmniThinkerModel"},
    {"UltraVBertModel", "model.vision_model", "SiglipVisionModel"},
    {"UltraVBertModel", "model.text_model", "UltrabertModel"},
    {"UnlimitedOcrForConditionalGeneration", "model.vision_tower.sam_encoder", "UnlimitedOcrSamVisionEncoder"},
    {"UnlimitedOcrForConditionalGeneration", "model.vision_tower.vision_encoder", "UnlimitedOcrVisionEncoder"},
    {"UnlimitedOcrForConditionalGeneration", "model.language_model", "UnlimitedOcrTextModel"},
    {"VideoLlavaForConditionalGeneration", "model", "VideoLlavaModel"},
    {"VideoLlavaForConditionalGeneration", "model.video_tower", "CLIPVisionModel"},
    {"VideoLlavaForConditionalGeneration", "model.image_tower", "CLIPVisionModel"},
};

/// The usual places, by the section of the config.
inline constexpr place sections[] = {
    {"text_config", "model.language_model", ""},
    {"vision_config", "model.vision_tower", ""},
    {"audio_config", "model.audio_tower", ""},
};

/// The row of a model type or a class; null if it has none.
inline const row* find(std::string_view key) {
  if (key.empty()) return nullptr;
  for (const row& r : table) {
    if (detail::has_word(r.keys, key)) return &r;
  }
  return nullptr;
}

}  // namespace conversions

/// The rules of a model type or a class, without those of submodels; empty if it has none.
inline std::span<const conversion> conversions_of(std::string_view model_type_or_class) {
  const conversions::row* r = conversions::find(model_type_or_class);
  return r == nullptr ? std::span<const conversion>() : r->rules;
}

/// All rules of a checkpoint, in order: those of its class or else its model type; of its base class ("LlavaModel" of
/// "LlavaForConditionalGeneration") and its submodels, for names under them; the refusals of a quantisation whose
/// reading changes values; and what old files say otherwise. A model that none of it speaks of has
/// `default_conversions`. What `converted` applies where the source has a config.
inline std::vector<conversion> conversions_for(const config& c) {
  std::string_view architecture;
  for (const std::string_view a : c.architectures()) {
    if (architecture.empty()) architecture = a;
  }
  std::vector<conversion> all;
  const auto add = [&](std::span<const conversion> rules, std::string_view path) {
    for (const conversion& rule : rules) all.push_back(path.empty() ? rule : rule.under(path));
  };
  const conversions::row* root = conversions::find(architecture);
  if (root == nullptr) root = conversions::find(c.model_type());
  if (root != nullptr) add(root->rules, "");

  bool placed = false;
  for (const conversions::place& p : conversions::places) {
    if (p.architecture != architecture) continue;
    placed = true;
    add(conversions_of(p.key), p.path);
  }
  const std::size_t tail = architecture.find("For");
  if (!placed && tail != std::string_view::npos) {
    add(conversions_of(std::string(architecture.substr(0, tail)) + "Model"), "model");
  }
  for (const conversions::place& s : conversions::sections) {
    if (placed || c.state("", s.architecture) != field_state::present) continue;
    const conversions::row* sub = conversions::find(c.text(s.architecture, "model_type").value_or(std::string_view()));
    if (sub != nullptr && sub != root) add(sub->rules, s.path);
  }
  if (all.empty()) add(default_conversions(), "");

  if (c.state("", "quantization_config") == field_state::present) {
    const std::string_view method = c.text("quantization_config", "quant_method").value_or(std::string_view());
    for (const conversions::changed_values& q : conversions::not_supported) {
      if (!q.shown_by.empty() && q.quant_method == method) all.push_back(convert::refuse(q.shown_by, q.name));
    }
    if (method == "fp8") add(conversions::expert_scales, "");
  }
  add(conversions::legacy, "");
  return all;
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
