// SPDX-License-Identifier: Apache-2.0
// The rules of vision and audio models and of towers, after Hugging Face 5.23.0.
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

inline constexpr auto mlp_fc = rules({
    rename("layers.*.fc{1,2}", "layers.*.mlp.fc{}"),
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

inline constexpr auto conditional_detr_for_segmentation = rules({
    rename("bbox_attention.{q,k}_linear", "bbox_attention.{}_proj"),
    rename("mask_head.lay1", "mask_head.conv1.conv"),
    rename("mask_head.gn1", "mask_head.conv1.norm"),
    rename("mask_head.lay2", "mask_head.conv2.conv"),
    rename("mask_head.gn2", "mask_head.conv2.norm"),
    rename("mask_head.adapter1", "mask_head.fpn_stages.0.fpn_adapter"),
    rename("mask_head.lay3", "mask_head.fpn_stages.0.refine.conv"),
    rename("mask_head.gn3", "mask_head.fpn_stages.0.refine.norm"),
    rename("mask_head.adapter2", "mask_head.fpn_stages.1.fpn_adapter"),
    rename("mask_head.lay4", "mask_head.fpn_stages.1.refine.conv"),
    rename("mask_head.gn4", "mask_head.fpn_stages.1.refine.norm"),
    rename("mask_head.adapter3", "mask_head.fpn_stages.2.fpn_adapter"),
    rename("mask_head.lay5", "mask_head.fpn_stages.2.refine.conv"),
    rename("mask_head.gn5", "mask_head.fpn_stages.2.refine.norm"),
    rename("mask_head.out_lay", "mask_head.output_conv"),
});

inline constexpr auto conditional_detr_model =
    rules({
        rename("backbone.conv_encoder", "backbone"),
        rename("{self,encoder}_attn.out_proj", "{}_attn.o_proj"),
    }) +
    mlp_fc +
    rules({
        rename("decoder.layers.*.sa_qcontent_proj", "decoder.layers.*.self_attn.q_content_proj"),
        rename("decoder.layers.*.sa_qpos_proj", "decoder.layers.*.self_attn.q_pos_proj"),
        rename("decoder.layers.*.sa_kcontent_proj", "decoder.layers.*.self_attn.k_content_proj"),
        rename("decoder.layers.*.sa_kpos_proj", "decoder.layers.*.self_attn.k_pos_proj"),
        rename("decoder.layers.*.sa_v_proj", "decoder.layers.*.self_attn.v_proj"),
        rename("decoder.layers.*.ca_qcontent_proj", "decoder.layers.*.encoder_attn.q_content_proj"),
        rename("decoder.layers.*.ca_qpos_proj", "decoder.layers.*.encoder_attn.q_pos_proj"),
        rename("decoder.layers.*.ca_kcontent_proj", "decoder.layers.*.encoder_attn.k_content_proj"),
        rename("decoder.layers.*.ca_kpos_proj", "decoder.layers.*.encoder_attn.k_pos_proj"),
        rename("decoder.layers.*.ca_v_proj", "decoder.layers.*.encoder_attn.v_proj"),
        rename("decoder.layers.*.ca_qpos_sine_proj", "decoder.layers.*.encoder_attn.q_pos_sine_proj"),
    });

inline constexpr auto detr_model = rules({
                                       rename("backbone.conv_encoder", "backbone"),
                                       rename("out_proj", "o_proj"),
                                   }) +
                                   mlp_fc;

inline constexpr auto dinov2_model =
    attention_attention + rules({
                              split("mlp.weights_in.weight").into("mlp.gate_proj.weight", "mlp.up_proj.weight"),
                              split("mlp.weights_in.bias").into("mlp.gate_proj.bias", "mlp.up_proj.bias"),
                              rename("mlp.weights_out", "mlp.down_proj"),
                          });

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

inline constexpr auto rf_detr_for_instance_segmentation = rules({
    rename("^!{segmentation_head}", "model."),
    rename("segmentation_head.query_features_block.layers.0", "query_features_block.mlp.fc1"),
    rename("segmentation_head.query_features_block.layers.2", "query_features_block.mlp.fc2"),
    rename("segmentation_head.query_features_block.norm_in", "query_features_block.norm"),
    rename("segmentation_head.blocks.*.norm", "blocks.*.layernorm"),
    rename("segmentation_head.blocks.*.dwconv", "blocks.*.depthwise_conv"),
    rename("segmentation_head.blocks.*.pwconv1", "blocks.*.pointwise_conv"),
    rename("segmentation_head.{spatial,query}_features_proj", "{}_features_proj"),
    rename("segmentation_head.bias", "segmentation_bias"),
});

inline constexpr auto rf_detr_for_object_detection = rules({
    rename("^", "model."),
});

inline constexpr auto rf_detr_model =
    rules({
        rename("backbone.0.encoder.encoder", "backbone.backbone"),
        rename("backbone.0.projector", "backbone.projector"),
        rename("projector.stages.0.0.cv1.conv", "projector.projector_layer.conv1.conv"),
        rename("projector.stages.0.0.cv1.bn", "projector.projector_layer.conv1.norm"),
        rename("projector.stages.0.0.cv2.conv", "projector.projector_layer.conv2.conv"),
        rename("projector.stages.0.0.cv2.bn", "projector.projector_layer.conv2.norm"),
        rename("projector.stages.0.1", "projector.layer_norm"),
        rename("projector.stages.0.0.m.*.cv1.conv", "projector.projector_layer.bottlenecks.*.conv1.conv"),
        rename("projector.stages.0.0.m.*.cv1.bn", "projector.projector_layer.bottlenecks.*.conv1.norm"),
        rename("projector.stages.0.0.m.*.cv2.conv", "projector.projector_layer.bottlenecks.*.conv2.conv"),
        rename("projector.stages.0.0.m.*.cv2.bn", "projector.projector_layer.bottlenecks.*.conv2.norm"),
        rename("transformer.decoder", "decoder"),
        rename("decoder.layers.*.norm1", "decoder.layers.*.self_attn_layer_norm"),
        rename("decoder.layers.*.norm2", "decoder.layers.*.cross_attn_layer_norm"),
        rename("decoder.layers.*.linear{1,2}", "decoder.layers.*.mlp.fc{}"),
        rename("decoder.layers.*.norm3", "decoder.layers.*.layer_norm"),
        rename("decoder.norm", "decoder.layernorm"),
        rename("^transformer.enc_{output_norm,output}", "enc_{}"),
        rename("transformer.enc_out_{class,bbox}_embed", "enc_out_{}_embed"),
        rename("refpoint_embed.weight", "reference_point_embed.weight"),
    }) +
    attention_attention +
    rules({
        rename("self_attn.out_proj", "self_attn.o_proj"),
        split("self_attn.in_proj_bias").into("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
        split("self_attn.in_proj_weight")
            .into("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
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

inline constexpr auto d_fine = rules({
    rename("out_proj", "o_proj"),
    rename("layers.*.fc1", "layers.*.mlp.layers.0"),
    rename("layers.*.fc2", "layers.*.mlp.layers.1"),
    rename("encoder.encoder.*.layers", "encoder.aifi.*.layers"),
});

inline constexpr auto deformable_detr = rules({
                                            rename("backbone.conv_encoder", "backbone"),
                                            rename("self_attn.out_proj", "self_attn.o_proj"),
                                        }) +
                                        mlp_fc;

inline constexpr auto dinov3_convnext = rules({
    rename("!{model.}stages", "model.stages"),
});

inline constexpr auto dinov3_vit = rules({
    rename("!{model.}layer.", "model.layer."),
});

inline constexpr auto lw_detr = rules({
    rename("attention.attention.query", "attention.q_proj"),
    rename("attention.attention.key", "attention.k_proj"),
    rename("attention.attention.value", "attention.v_proj"),
    rename("attention.output", "attention.o_proj"),
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

inline constexpr auto rt_detr = rules({
                                    rename("out_proj", "o_proj"),
                                }) +
                                mlp_fc +
                                rules({
                                    rename("encoder.encoder.*.layers", "encoder.aifi.*.layers"),
                                });

inline constexpr auto pp_doclayout_v4 =
    rules({
        rename("decoder_roor_order_head.", "decoder.successor_order_head.proj."),
        rename("decoder_roor_global_pointer.", "decoder.successor_order_head.global_pointer."),
        rename("decoder_order_head.", "decoder.relative_order_head.proj."),
        rename("decoder_global_pointer.", "decoder.relative_order_head.global_pointer."),
        rename("s2r_fusion.a", "decoder.relative_order_head.s2r_fusion.closure_weight"),
        rename("out_proj", "o_proj"),
    }) +
    mlp_fc +
    rules({
        rename("encoder.encoder.*.layers", "encoder.aifi.*.layers"),
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

inline constexpr auto timesfm2_5 = rules({
    rename("ff0", "fc1"),
    rename("ff1", "fc2"),
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

inline constexpr auto yolos = rules({
    rename("encoder.mid_position_embeddings", "encoder.interpolation.mid_position_embeddings"),
});

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
