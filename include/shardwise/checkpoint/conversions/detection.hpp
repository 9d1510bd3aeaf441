// SPDX-License-Identifier: Apache-2.0
// The rules of models that find objects in images, after Hugging Face 5.23.0.
#pragma once
#include "shardwise/checkpoint/conversions/vision.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {

inline constexpr auto mlp_fc = rules({
    rename("layers.*.fc{1,2}", "layers.*.mlp.fc{}"),
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

inline constexpr auto lw_detr = rules({
    rename("attention.attention.query", "attention.q_proj"),
    rename("attention.attention.key", "attention.k_proj"),
    rename("attention.attention.value", "attention.v_proj"),
    rename("attention.output", "attention.o_proj"),
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

inline constexpr auto yolos = rules({
    rename("encoder.mid_position_embeddings", "encoder.interpolation.mid_position_embeddings"),
});

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
