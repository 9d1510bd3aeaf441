// SPDX-License-Identifier: Apache-2.0
// The rules of models of images and of vision towers, after Hugging Face 5.23.0.
#pragma once
#include "shardwise/checkpoint/conversions/experts.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {

/// Attention and MLP of BERT-like layers, as ViT files call them.
inline constexpr auto vit = rules({
    rename("attention.query", "q_proj"),
    rename("attention.key", "k_proj"),
    rename("attention.value", "v_proj"),
    rename("attention.output.dense", "attention.o_proj"),
    rename("intermediate.dense", "mlp.fc1"),
    rename("output.dense", "mlp.fc2"),
});

inline constexpr auto attention_self = rules({
    rename("attention.self.query", "attention.q_proj"),
    rename("attention.self.key", "attention.k_proj"),
    rename("attention.self.value", "attention.v_proj"),
});

inline constexpr auto attention_attention = rules({
    rename("attention.attention.query", "attention.q_proj"),
    rename("attention.attention.key", "attention.k_proj"),
    rename("attention.attention.value", "attention.v_proj"),
    rename("attention.output.dense", "attention.o_proj"),
});

inline constexpr auto sapiens2_head = rules({
    rename("^backbone.", "model."),
    rename("decode_head.input_conv.0.{weight,bias}", "decode_head.input_conv.convolution.{}"),
    rename("decode_head.upsample_blocks.*.0.{weight,bias}", "decode_head.upsample_layers.*.convolution.{}"),
});

inline constexpr auto sapiens2_convs = rules({
    rename("decode_head.conv_layers.0.{weight,bias}", "decode_head.conv_layers.0.convolution.{}"),
    rename("decode_head.conv_layers.3.{weight,bias}", "decode_head.conv_layers.1.convolution.{}"),
    rename("decode_head.conv_layers.6.{weight,bias}", "decode_head.conv_layers.2.convolution.{}"),
});

inline constexpr auto fpn = rules({
    rename("^fpn1.0.", "fpn.fpn1.conv_transpose1."),
    rename("^fpn1.1.", "fpn.fpn1.normalization."),
    rename("^fpn1.3.", "fpn.fpn1.conv_transpose2."),
    rename("^fpn2.0.", "fpn.fpn2."),
});

/// The neck of a depth, normals or segmentation head of TIPSv2.
inline constexpr auto tipsv2_neck = rules({
    rename("vision_encoder", "backbone"),
    rename("{depth,normals,segmentation}_head.reassemble.readout_projects.*",
           "neck.reassemble_stage.readout_projects.*.layers.0"),
    rename("{depth,normals,segmentation}_head.reassemble.out_projections.*.",
           "neck.reassemble_stage.layers.*.projection."),
    rename("{depth,normals,segmentation}_head.reassemble.resize_layers.*.", "neck.reassemble_stage.layers.*.resize."),
    rename("{depth,normals,segmentation}_head.fusion_blocks.*.out_conv.", "neck.fusion_stage.layers.*.projection."),
    rename("{depth,normals,segmentation}_head.fusion_blocks.*.main_unit.conv1.",
           "neck.fusion_stage.layers.*.residual_layer2.convolution1."),
    rename("{depth,normals,segmentation}_head.fusion_blocks.*.main_unit.conv2.",
           "neck.fusion_stage.layers.*.residual_layer2.convolution2."),
    rename("{depth,normals,segmentation}_head.fusion_blocks.*.residual_unit.conv1.",
           "neck.fusion_stage.layers.*.residual_layer1.convolution1."),
    rename("{depth,normals,segmentation}_head.fusion_blocks.*.residual_unit.conv2.",
           "neck.fusion_stage.layers.*.residual_layer1.convolution2."),
    rename("{depth,normals,segmentation}_head.convs", "neck.convs"),
});

inline constexpr auto vit_model = rules({
                                      rename("encoder.layer.", "layers."),
                                  }) +
                                  vit;

inline constexpr auto clip_vision_model = rules({
    rename("^vision_model.", ""),
});

inline constexpr auto beit_backbone = fpn +
                                      rules({
                                          rename("^{encoder.layer,embeddings}.", "beit.{}."),
                                      }) +
                                      vit;

inline constexpr auto beit_for_semantic_segmentation =
    rules({
        rename("decode_head.psp_modules.*.1.conv.weight", "decode_head.psp_modules.blocks.*.conv.convolution.weight"),
        rename("decode_head.psp_modules.*.1.bn.", "decode_head.psp_modules.blocks.*.conv.normalization."),
        rename("bn.", "normalization."),
        rename("conv.weight", "convolution.weight"),
        rename("decode_head.bottleneck.", "decode_head.psp_bottleneck."),
    }) +
    fpn;

inline constexpr auto beit_model = rules({
                                       rename("encoder.layer.", "layers."),
                                   }) +
                                   vit +
                                   rules({
                                       rename("encoder.relative_position_bias", "shared_position_bias"),
                                       rename("attention.attention.relative_position_bias.relative_position_bias_table",
                                              "relative_position_bias.relative_position_bias_table"),
                                   });

inline constexpr auto clip_text_model = rules({
    rename("^text_model.", ""),
});

inline constexpr auto dinov2_model =
    attention_attention + rules({
                              split("mlp.weights_in.weight").into("mlp.gate_proj.weight", "mlp.up_proj.weight"),
                              split("mlp.weights_in.bias").into("mlp.gate_proj.bias", "mlp.up_proj.bias"),
                              rename("mlp.weights_out", "mlp.down_proj"),
                          });

inline constexpr auto sapiens2_for_image_matting = sapiens2_head + sapiens2_convs +
                                                   rules({
                                                       rename("decode_head.conv_matting.", "decode_head.predictor."),
                                                   });

inline constexpr auto sapiens2_for_normal_estimation = sapiens2_head + sapiens2_convs +
                                                       rules({
                                                           rename("decode_head.conv_normal.", "decode_head.predictor."),
                                                       });

inline constexpr auto sapiens2_for_pointmap_estimation =
    sapiens2_head + sapiens2_convs +
    rules({
        rename("decode_head.conv_pointmap.", "decode_head.predictor."),
        rename("decode_head.scale_conv_layers.0.{weight,bias}", "scale_head.conv_layers.0.convolution.{}"),
        rename("decode_head.scale_conv_layers.3.{weight,bias}", "scale_head.conv_layers.1.convolution.{}"),
        rename("decode_head.scale_conv_layers.6.{weight,bias}", "scale_head.conv_layers.2.convolution.{}"),
        rename("decode_head.scale_final_layer.1.", "scale_head.predictor.block1.layers.0."),
        rename("decode_head.scale_final_layer.3.", "scale_head.predictor.block2.layers.0."),
        rename("decode_head.scale_final_layer.5.", "scale_head.predictor.proj."),
    });

inline constexpr auto sapiens2_for_pose_estimation =
    rules({
        rename("^backbone.", "model."),
        rename("decode_head.deconv_layers.0.weight", "decode_head.upsample_layers.0.convolution.weight"),
        rename("decode_head.deconv_layers.3.weight", "decode_head.upsample_layers.1.convolution.weight"),
    }) +
    sapiens2_convs +
    rules({
        rename("decode_head.conv_pose.", "decode_head.predictor."),
    });

inline constexpr auto sapiens2_for_semantic_segmentation = rules({
    rename("^backbone.", "model."),
    rename("decode_head.deconv_layers.0.weight", "decode_head.upsample_layers.0.convolution.weight"),
    rename("decode_head.deconv_layers.3.weight", "decode_head.upsample_layers.1.convolution.weight"),
    rename("decode_head.deconv_layers.6.weight", "decode_head.upsample_layers.2.convolution.weight"),
    rename("decode_head.deconv_layers.9.weight", "decode_head.upsample_layers.3.convolution.weight"),
    rename("decode_head.conv_layers.0.{weight,bias}", "decode_head.conv_layers.0.convolution.{}"),
    rename("decode_head.conv_layers.3.{weight,bias}", "decode_head.conv_layers.1.convolution.{}"),
    rename("decode_head.conv_seg.", "decode_head.predictor."),
});

inline constexpr auto segformer_for_semantic_segmentation = rules({
    rename("decode_head.linear_c", "decode_head.linear_projections"),
});

inline constexpr auto segformer_model =
    rules({
        rename("encoder.patch_embeddings.*.", "stages.*.patch_embeddings."),
        rename("encoder.block.*.", "stages.*.blocks."),
        rename("encoder.layer_norm.*", "stages.*.layer_norm"),
    }) +
    attention_self +
    rules({
        rename("attention.self.sr", "attention.sequence_reduction.sequence_reduction"),
        rename("attention.self.layer_norm", "attention.sequence_reduction.layer_norm"),
        rename("attention.output.dense", "attention.o_proj"),
        rename("mlp.dense{1,2}", "mlp.fc{}"),
        rename("layer_norm_1", "layernorm_before"),
        rename("layer_norm_2", "layernorm_after"),
    });

inline constexpr auto swin_backbone = rules({
    rename("^{encoder,embeddings}.", "swin.{}."),
});

inline constexpr auto tipsv2_dpt_for_depth_estimation =
    tipsv2_neck + rules({
                      rename("depth_head.project", "decoder.project"),
                      rename("depth_head.depth_head.", "decoder.head."),
                  });

inline constexpr auto tipsv2_dpt_for_normal_estimation =
    tipsv2_neck + rules({
                      rename("normals_head.project", "decoder.project"),
                      rename("normals_head.normals_head.", "decoder.head."),
                  });

inline constexpr auto tipsv2_dpt_for_semantic_segmentation =
    tipsv2_neck + rules({
                      rename("segmentation_head.project", "decoder.project"),
                      rename("segmentation_head.segmentation_head.", "decoder.head."),
                  });

inline constexpr auto tipsv2_text_model = rules({
    rename("^text_encoder.", ""),
    rename("ln_final.", "final_layer_norm."),
    rename("token_embedding.", "embeddings.token_embedding."),
    rename("transformer.resblocks.", "encoder.layers."),
    rename(".ln_{1,2}.", ".layer_norm{}."),
    rename(".attn.", ".self_attn."),
    rename(".mlp.c_fc.", ".mlp.fc1."),
    rename(".mlp.c_proj.", ".mlp.fc2."),
    split(".in_proj_weight").into(".q_proj.weight", ".k_proj.weight", ".v_proj.weight"),
    split(".in_proj_bias").into(".q_proj.bias", ".k_proj.bias", ".v_proj.bias"),
});

inline constexpr auto tipsv2_vision_model = rules({
    rename("^vision_encoder.", ""),
    rename("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    rename("{cls,mask}_token", "embeddings.{}_token"),
    rename("register_tokens", "embeddings.register_tokens"),
    rename("pos_embed", "embeddings.position_embeddings"),
    rename("norm.", "layernorm."),
    rename("blocks.", "encoder.layer."),
    rename(".attn.proj.", ".attention.o_proj."),
    rename(".ls{1,2}.gamma", ".layer_scale{}.lambda1"),
    rename(".mlp.c_fc.", ".mlp.fc1."),
    rename(".mlp.c_proj.", ".mlp.fc2."),
    rename(".mlp.w3.", ".mlp.down_proj."),
    split(".mlp.w12.weight").into(".mlp.gate_proj.weight", ".mlp.up_proj.weight"),
    split(".mlp.w12.bias").into(".mlp.gate_proj.bias", ".mlp.up_proj.bias"),
    split(".attn.qkv.weight").into(".attention.q_proj.weight", ".attention.k_proj.weight", ".attention.v_proj.weight"),
    split(".attn.qkv.bias").into(".attention.q_proj.bias", ".attention.k_proj.bias", ".attention.v_proj.bias"),
});

inline constexpr auto unlimited_ocr_sam_vision_encoder = rules({
    rename("blocks.*.norm{1,2}.", "layers.*.layer_norm{}."),
    rename("blocks.*.{attn,mlp}.", "layers.*.{}."),
    rename("patch_embed.proj.", "patch_embed.projection."),
    rename("neck.0.", "neck.conv1."),
    rename("neck.1.", "neck.layer_norm1."),
    rename("neck.2.", "neck.conv2."),
    rename("neck.3.", "neck.layer_norm2."),
    rename("net_2.", "proj.conv1."),
    rename("net_3.", "proj.conv2."),
});

inline constexpr auto unlimited_ocr_vision_encoder = rules({
    rename("transformer", "encoder"),
    split("qkv_proj.weight").into("q_proj.weight", "k_proj.weight", "v_proj.weight"),
    split("qkv_proj.bias").into("q_proj.bias", "k_proj.bias", "v_proj.bias"),
});

inline constexpr auto vit_msn_for_image_classification = rules({
    rename("^encoder.", "vit.encoder."),
});

inline constexpr auto altclip = rules({
    rename("layer.", "layers."),
});

inline constexpr auto dinov3_convnext = rules({
    rename("!{model.}stages", "model.stages"),
});

inline constexpr auto dinov3_vit = rules({
    rename("!{model.}layer.", "model.layer."),
});

inline constexpr auto pixio = rules({
                                  rename("encoder.layer.", "layers."),
                              }) +
                              vit +
                              rules({
                                  rename("norm1", "layernorm_before"),
                                  rename("norm2", "layernorm_after"),
                                  rename("^encoder.", "pixio."),
                              });

inline constexpr auto radio = rules({
    rename("radio_model.model.patch_generator.video_embedder", "embeddings.video_patch_projection"),
    rename("radio_model.model.patch_generator.embedder", "embeddings.patch_projection"),
    rename("radio_model.model.patch_generator.pos_embed", "embeddings.position_embedding"),
    rename("radio_model.model.patch_generator.cls_token.token", "embeddings.cls_register_token"),
    rename("radio_model.model.blocks", "encoder.layer"),
    rename("attn.proj", "attention.o_proj"),
    rename("radio_model.{input_conditioner,summary_idxs}", "{}"),
    split("attn.qkv").into("attention.q_proj", "attention.k_proj", "attention.v_proj"),
});

inline constexpr auto sam3_tracker = rules({
    rename("detector_model.vision_encoder.backbone.", "vision_encoder.backbone."),
    rename("tracker_neck.", "vision_encoder.neck."),
    rename("tracker_model.", ""),
});

inline constexpr auto sapiens2 = rules({
    rename("^cls_token", "embeddings.cls_token"),
    rename("^storage_tokens", "embeddings.register_tokens"),
    rename("^patch_embed.projection.", "embeddings.patch_embeddings."),
    rename("blocks.*.", "model.layer.*."),
    rename("attn.proj.", "attention.o_proj."),
    rename("attn.w{q,k,v}.", "attention.{}_proj."),
    rename("attn.{q,k}_norm.", "attention.{}_norm."),
    rename("attn.gamma.weight", "layer_scale1.lambda1"),
    rename("ffn.w3.", "mlp.down_proj."),
    rename(".ln{1,2}.", ".norm{}."),
    rename("^ln1.", "norm."),
    split("ffn.w12.weight").into("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    split("ffn.w12.bias").into("mlp.gate_proj.bias", "mlp.up_proj.bias"),
});

inline constexpr auto swin =
    attention_self + rules({
                         rename("attention.self.relative_position_bias_table",
                                "attention.relative_position_bias.relative_position_bias_table"),
                         rename("attention.output.dense", "attention.o_proj"),
                         rename("intermediate.dense", "mlp.fc1"),
                         rename("output.dense", "mlp.fc2"),
                     });

inline constexpr auto timm_wrapper = rules({
    rename("^!{timm_model.}", "timm_model."),
});

inline constexpr auto tipsv2 = rules({
    rename("{text,vision}_encoder", "{}_model"),
});

inline constexpr auto tipsv2_dpt = rules({
    rename("vision_encoder", "backbone"),
    rename("head.reassemble.readout_projects.*", "neck.reassemble_stage.readout_projects.*.layers.0"),
    rename("head.reassemble.out_projections.*.", "neck.reassemble_stage.layers.*.projection."),
    rename("head.reassemble.resize_layers.*.", "neck.reassemble_stage.layers.*.resize."),
    rename("head.fusion_blocks.*.out_conv.", "neck.fusion_stage.layers.*.projection."),
    rename("head.fusion_blocks.*.main_unit.conv{1,2}.", "neck.fusion_stage.layers.*.residual_layer2.convolution{}."),
    rename("head.fusion_blocks.*.residual_unit.conv{1,2}.",
           "neck.fusion_stage.layers.*.residual_layer1.convolution{}."),
    rename("head.convs", "neck.convs"),
    rename("head.project", "decoder.project"),
    rename("depth_head.depth_head.", "depth_decoder.head."),
    rename("normals_head.normals_head.", "normals_decoder.head."),
    rename("segmentation_head.segmentation_head.", "segmentation_decoder.head."),
});

inline constexpr auto videomae = rules({
    rename("attention.attention.q_bias", "attention.attention.query.bias"),
    rename("attention.attention.v_bias", "attention.attention.value.bias"),
});

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
