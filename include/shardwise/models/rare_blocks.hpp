// SPDX-License-Identifier: Apache-2.0
// The blocks of fewer families, and what is whole in all of them. Paths are relative to the base model.
#pragma once
#include "shardwise/models/block.hpp"
#include "shardwise/models/blocks.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::blocks {

// Parts of a block, relative to the module that has them.
inline constexpr auto heads_here = block({
    {"q_proj", colwise},
    {"k_proj", colwise},
    {"v_proj", colwise},
});
inline constexpr auto gated_mlp_here = block({
    {"gate_proj", colwise},
    {"up_proj", colwise},
    {"down_proj", rowwise},
});
inline constexpr auto experts_here = block({
    {"experts.gate_up_proj", packed_colwise<2>},
    {"experts.down_proj", rowwise},
    {"experts", moe_tp_experts},
});
/// The experts lie transposed, [experts, in, out]: what is rowwise here cuts the output features.
inline constexpr auto transposed_experts_here = block({
    {"experts.gate_up_proj", packed_rowwise<2>},
    {"experts.down_proj", colwise},
    {"experts", moe_tp_experts},
});
inline constexpr auto expert_parallel_here = block({
    {"experts.gate_up_proj", grouped_gemm},
    {"experts.down_proj", grouped_gemm},
    {"experts", ep_dispatch_experts},
});

// Attention.
/// One value for each head beside the softmax: the module that owns it sees its own heads'.
inline constexpr auto sinks = block({
    {"layers.*.self_attn.sinks", colwise},
    {"layers.*.self_attn", local_params},
});
inline constexpr block_view heads{heads_here, "layers.*.self_attn"};
inline constexpr auto dense_output = block({{"layers.*.self_attn.dense", rowwise}});
inline constexpr auto direct_query = block({{"layers.*.self_attn.q_proj", colwise}});
inline constexpr auto gate_of_heads = block({{"layers.*.self_attn.gate_proj", colwise}});
inline constexpr auto g_gate_of_heads = block({{"layers.*.self_attn.g_proj", colwise}});
inline constexpr auto gathered_g_gate = block({{"layers.*.self_attn.g_proj", colwise_gather_output}});
inline constexpr auto value_norm = block({{"layers.*.self_attn.v_norm", replicated_with_grad_allreduce}});
/// q|k|v in one product, which no plan of Hugging Face cuts by head: the product is shared out and gathered.
inline constexpr auto gathered_fused_attention = block({
    {"layers.*.self_attn.qkv_proj", colwise_gather_output},
    {"layers.*.self_attn.o_proj", rowwise_split_input},
});
/// As `latent_attention`, with a gate beside the queries in one product.
inline constexpr auto latent_attention_with_gate = block({
    {"layers.*.self_attn.q_gate_proj", colwise},
    {"layers.*.self_attn.kv_a_proj_with_mqa", mla_kv_a_proj},
    {"layers.*.self_attn.kv_b_proj", colwise},
    {"layers.*.self_attn.o_proj", rowwise},
});
/// Two latent attentions in each layer.
inline constexpr auto two_latent_attentions = block({
    {"layers.*.self_attn.*.q_b_proj", colwise},
    {"layers.*.self_attn.*.kv_a_proj_with_mqa", mla_kv_a_proj},
    {"layers.*.self_attn.*.kv_b_proj", colwise},
    {"layers.*.self_attn.*.o_proj", rowwise},
});
/// GatedDeltaNet with its products joined.
inline constexpr auto gathered_fused_linear_attention = block({
    {"layers.*.linear_attn.in_proj_qkvz", colwise_gather_output},
    {"layers.*.linear_attn.in_proj_ba", colwise_gather_output},
    {"layers.*.linear_attn.out_proj", colwise_gather_output},
});

// Feed-forward.
inline constexpr auto plain_mlp = block({
    {"layers.*.mlp.up_proj", colwise},
    {"layers.*.mlp.down_proj", rowwise},
});
inline constexpr auto fc_mlp = block({
    {"layers.*.mlp.fc1", colwise},
    {"layers.*.mlp.fc2", rowwise},
});
inline constexpr auto conv_mlp = block({
    {"layers.*.mlp.c_fc", colwise},
    {"layers.*.mlp.c_proj", rowwise},
});
/// gate|up in one product, shared out and gathered.
inline constexpr auto gathered_fused_mlp = block({
    {"layers.*.mlp.gate_up_proj", colwise_gather_output},
    {"layers.*.mlp.down_proj", rowwise_split_input},
});
inline constexpr block_view two_mlps{gated_mlp_here, "layers.*.mlps.*"};
inline constexpr block_view feed_forward{gated_mlp_here, "layers.*.feed_forward"};
inline constexpr block_view feed_forward_shared_expert{gated_mlp_here, "layers.*.feed_forward.shared_expert"};

// Experts, by where they lie.
inline constexpr block_view layer_experts{experts_here, "layers.*"};
inline constexpr block_view layer_expert_parallel{expert_parallel_here, "layers.*"};
inline constexpr block_view sparse_experts{experts_here, "layers.*.block_sparse_moe"};
inline constexpr block_view sparse_expert_parallel{expert_parallel_here, "layers.*.block_sparse_moe"};
inline constexpr block_view feed_forward_experts{experts_here, "layers.*.feed_forward"};
inline constexpr block_view feed_forward_expert_parallel{expert_parallel_here, "layers.*.feed_forward"};
inline constexpr block_view text_experts{experts_here, "layers.*.mlp.text_moe"};
inline constexpr block_view text_expert_parallel{expert_parallel_here, "layers.*.mlp.text_moe"};
inline constexpr block_view vision_experts{experts_here, "layers.*.mlp.vision_moe"};
inline constexpr block_view vision_expert_parallel{expert_parallel_here, "layers.*.mlp.vision_moe"};
inline constexpr block_view block_experts{experts_here, "blocks.*.mlp"};
inline constexpr block_view block_expert_parallel{expert_parallel_here, "blocks.*.mlp"};
inline constexpr block_view transposed_experts{transposed_experts_here, "layers.*.mlp"};
inline constexpr block_view transposed_feed_forward_experts{transposed_experts_here, "layers.*.feed_forward"};
/// gate and up lie interleaved, so that a plain cut keeps each pair together.
inline constexpr auto interleaved_experts = block({
    {"layers.*.mlp.experts.gate_up_proj", colwise},
    {"layers.*.mlp.experts.down_proj", rowwise},
    {"layers.*.mlp.experts", moe_tp_experts},
});
inline constexpr auto expert_parallel_biases = block({
    {"layers.*.mlp.experts.gate_up_proj_bias", grouped_gemm},
    {"layers.*.mlp.experts.down_proj_bias", grouped_gemm},
});

// Of one family each.
inline constexpr auto beam_gate_bias = block({
    {"layers.*.self_attn.gate_bias", colwise},
    {"layers.*.self_attn", local_params},
});
inline constexpr auto doge_mixture = block({
    {"layers.*.self_attn.dt_proj", rowwise},
    {"layers.*.mlp.router_gate", colwise_gather_output},
    {"layers.*.mlp.down_embed", embedding_rowwise},
    {"layers.*.mlp.up_embed", embedding_rowwise},
});
inline constexpr auto dots3_rope_norm =
    block({{"layers.*.self_attn.k_rope_only_layernorm", replicated_with_grad_allreduce}});
inline constexpr auto ernie_vision_blocks = block({
    {"blocks.*.mlp.fc1", colwise},
    {"blocks.*.mlp.fc2", rowwise},
});
inline constexpr auto gemma4_vision_layers = block({
    {"encoder.layers.*.self_attn.q_proj.linear", colwise},
    {"encoder.layers.*.self_attn.k_proj.linear", colwise},
    {"encoder.layers.*.self_attn.v_proj.linear", colwise},
    {"encoder.layers.*.self_attn.q_norm", replicated_with_grad_allreduce},
    {"encoder.layers.*.self_attn.k_norm", replicated_with_grad_allreduce},
    {"encoder.layers.*.self_attn.o_proj.linear", rowwise},
    {"encoder.layers.*.mlp.gate_proj.linear", colwise},
    {"encoder.layers.*.mlp.up_proj.linear", colwise},
    {"encoder.layers.*.mlp.down_proj.linear", rowwise},
});
inline constexpr auto gpt_neox_layers = block({
    {"layers.*.attention.query_key_value", colwise},
    {"layers.*.attention.dense", rowwise},
    {"layers.*.mlp.dense_h_to_4h", colwise},
    {"layers.*.mlp.dense_4h_to_h", rowwise},
});
inline constexpr auto inkling_shared_sum = block({{"layers.*.mlp.shared_experts", all_reduce}});
inline constexpr auto inkling_whole_embedding = block({{"embed_tokens", replicate}});
inline constexpr auto inkling_head = block({{"lm_head", rowwise_split_input}});
inline constexpr auto llama4_projector = block({{"multi_modal_projector.linear_1", colwise_gather_output}});
inline constexpr auto llama4_heads =
    block({{"lm_head", colwise_gather_output}, {"language_model.lm_head", colwise_gather_output}});
inline constexpr block_view llama4_vision_layers{attention, "model"};
inline constexpr auto llama4_vision_ends = block({
    {"vision_adapter.mlp.fc1", colwise},
    {"vision_adapter.mlp.fc2", rowwise},
    {"patch_embedding.linear", colwise_gather_output},
});
inline constexpr auto longcat_identity = block({{"layers.*.mlp.experts.identity_expert", moe_identity_expert}});
inline constexpr auto muse_adapter = block({
    {"vision_adapter.fc1", colwise},
    {"vision_adapter.fc2", rowwise},
    {"vision_projection", colwise_gather_output},
});
inline constexpr auto muse_assistant_encoder = block({{"encoder.fc", rowwise_split_input}});
inline constexpr auto muse_spark_latent_experts = block({
    {"layers.*.mlp.pre_expert_proj", rowwise_split_input},
    {"layers.*.mlp.post_expert_proj", rowwise_split_input},
});
inline constexpr auto muse_spark_expert_norm =
    block({{"layers.*.mlp.experts.post_expert_norm", replicated_with_grad_allreduce}});
inline constexpr auto muse_vision_attention = block({
    {"layers.*.attn.q_proj", colwise},
    {"layers.*.attn.k_proj", colwise},
    {"layers.*.attn.v_proj", colwise},
    {"layers.*.attn.proj", rowwise},
    {"patch_embedder.patch_embedding", colwise_gather_output},
});
/// The experts have no gate.
inline constexpr auto nemotron_mixer = block({
    {"embeddings", embedding_rowwise},
    {"layers.*.mixer.experts.up_proj", colwise},
    {"layers.*.mixer.experts.down_proj", rowwise},
    {"layers.*.mixer.experts", moe_tp_experts},
});
inline constexpr auto nemotron_expert_parallel = block({
    {"layers.*.mixer.experts.up_proj", grouped_gemm},
    {"layers.*.mixer.experts.down_proj", grouped_gemm},
    {"layers.*.mixer.experts", ep_dispatch_experts},
});
inline constexpr auto neomme_output = block({
    {"layers.*.self_attn.output_projection.gate_proj", colwise},
    {"layers.*.self_attn.output_projection.o_proj", rowwise},
});
inline constexpr block_view omni_head{head, "thinker"};
inline constexpr auto pi0_head = block({{"action_out_proj", colwise_gather_output}});
inline constexpr auto qwen4_hyper_connections = block({
    {"layers.*.self_attn.indexer.index_qk_proj", colwise_gather_output},
    {"layers.*.attn_hyper_connection.input_mix_weight_down", rowwise_split_input},
    {"layers.*.mlp_hyper_connection.input_mix_weight_down", rowwise_split_input},
    {"hyper_connection_mixer.input_mix_weight_down", rowwise_split_input},
    {"layers.*.ple.ple_embedding.ngram_embedding", embedding_colwise},
});
inline constexpr auto t5_head = block({{"lm_head.out_proj", colwise_gather_output}});

}  // namespace models::blocks
}  // namespace v0
}  // namespace shardwise
