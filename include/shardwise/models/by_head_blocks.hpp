// SPDX-License-Identifier: Apache-2.0
// The blocks of our own plans: every cut is at a head, an expert's width or a vocabulary id, and uneven where it must
// be. A layer has one all-reduce after its attention (or recurrence) and one after its feed-forward. Paths are relative
// to the base model.
#pragma once
#include <cstddef>

#include "shardwise/models/block.hpp"

namespace shardwise {
inline namespace v0 {
namespace models::by_head {

// What the columns of a product are.
/// Query heads, which read key/value heads; these are copied where ranks share one.
inline constexpr style queries = colwise.units("num_attention_heads").reading("num_key_value_heads").uneven();
inline constexpr style keys_or_values = colwise.units("num_key_value_heads").read_by("num_attention_heads").uneven();
inline constexpr style from_queries = rowwise.units("num_attention_heads").reading("num_key_value_heads").uneven();
/// The same of a GatedDeltaNet.
inline constexpr style linear_values = colwise.units("linear_num_value_heads").reading("linear_num_key_heads").uneven();
inline constexpr style from_linear_values =
    rowwise.units("linear_num_value_heads").reading("linear_num_key_heads").uneven();
inline constexpr feature_group linear_key_heads =
    heads("linear_num_key_heads").read_by("linear_num_value_heads").of("linear_key_head_dim");
inline constexpr feature_group linear_value_heads =
    heads("linear_num_value_heads").reading("linear_num_key_heads").of("linear_value_head_dim");

// Ends.
inline constexpr auto embedding = block({{"embed_tokens", embedding_rowwise.uneven()}});
inline constexpr auto head = block({{"lm_head", colwise_gather_output.uneven()}});

// Attention.
inline constexpr auto attention = block({
    {"layers.*.self_attn.q_proj", queries},
    {"layers.*.self_attn.{k,v}_proj", keys_or_values},
    {"layers.*.self_attn.o_proj", from_queries},
});
/// q|k|v in one product.
inline constexpr auto fused_attention = block({
    {"layers.*.self_attn.qkv_proj", colwise
                                        .groups(heads("num_attention_heads").reading("num_key_value_heads"),
                                                heads("num_key_value_heads").read_by("num_attention_heads"),
                                                heads("num_key_value_heads").read_by("num_attention_heads"))
                                        .uneven()},
    {"layers.*.self_attn.o_proj", from_queries},
});
/// One value for each query head beside the softmax.
inline constexpr auto sinks = block({
    {"layers.*.self_attn.sinks", queries},
    {"layers.*.self_attn", local_params},
});
/// Norms of each head.
inline constexpr auto query_key_norm = block({
    {"layers.*.self_attn.{q,k}_norm", replicate("the norm of a head: each rank applies the whole scale to its heads")},
});
/// Norms over all heads: each rank has the scale of its own, and their squares are added up.
inline constexpr auto wide_query_key_norm = block({
    {"layers.*.self_attn.q_norm.weight", queries},
    {"layers.*.self_attn.k_norm.weight", keys_or_values},
    {"layers.*.self_attn.{q,k}_norm", all_reduce},
});

// GatedDeltaNet: each rank has the recurrence of its own value heads, and the key heads that these read.
inline constexpr auto recurrence = block({
    {"layers.*.linear_attn.conv1d.weight",
     colwise.convolution().groups(linear_key_heads, linear_key_heads, linear_value_heads).uneven()},
    {"layers.*.linear_attn.{A_log,dt_bias}", linear_values},
    {"layers.*.linear_attn.norm", replicate("the norm of a head: each rank applies the whole scale to its heads")},
    {"layers.*.linear_attn.out_proj", from_linear_values},
});
inline constexpr auto linear_attention = block({
    {"layers.*.linear_attn.in_proj_qkv",
     colwise.groups(linear_key_heads, linear_key_heads, linear_value_heads).uneven()},
    {"layers.*.linear_attn.in_proj_{z,b,a}", linear_values},
});
/// With its products joined: per key head q|k|v|z, and b|a.
inline constexpr auto fused_linear_attention = block({
    {"layers.*.linear_attn.in_proj_qkvz",
     colwise.groups(linear_key_heads, linear_key_heads, linear_value_heads, linear_value_heads).interleaved().uneven()},
    {"layers.*.linear_attn.in_proj_ba", colwise
                                            .groups(heads("linear_num_value_heads").reading("linear_num_key_heads"),
                                                    heads("linear_num_value_heads").reading("linear_num_key_heads"))
                                            .interleaved()
                                            .uneven()},
});

// Feed-forward.
inline constexpr auto mlp = block({
    {"layers.*.mlp.{gate,up}_proj", colwise.uneven()},
    {"layers.*.mlp.down_proj", rowwise.uneven()},
});
inline constexpr auto fused_mlp = block({
    {"layers.*.mlp.gate_up_proj", packed_colwise<2>.uneven()},
    {"layers.*.mlp.down_proj", rowwise.uneven()},
});

// Feed-forward with experts: what is added up in the module that holds them stays a partial sum, and that module makes
// the one reduction.
inline constexpr auto partial_mlp_here = block({
    {"{gate,up}_proj", colwise.uneven()},
    {"down_proj", rowwise_partial_output.uneven()},
});
/// All experts on every rank, each cut.
inline constexpr auto experts_here = block({
    {"experts.gate_up_proj", packed_colwise<2>.uneven()},
    {"experts.down_proj", rowwise.uneven()},
    {"experts", partial_output},
});
/// The experts lie transposed, [experts, in, out].
inline constexpr auto transposed_experts_here = block({
    {"experts.gate_up_proj", packed_rowwise<2>.uneven()},
    {"experts.down_proj", colwise.uneven()},
    {"experts", partial_output},
});
/// The same with gate and up interleaved, and biases: of the last one each rank adds its own columns.
inline constexpr auto interleaved_experts_here = block({
    {"experts.{gate_up_proj,gate_up_proj_bias}", rowwise.tiles(2).uneven()},
    {"experts.down_proj", colwise.uneven()},
    {"experts.down_proj_bias", rowwise.uneven()},
    {"experts", partial_output},
});
inline constexpr auto reduced_mlp = block({{"layers.*.mlp", all_reduce}});
inline constexpr auto reduced_feed_forward = block({{"layers.*.feed_forward", all_reduce}});
inline constexpr auto reduced_sparse_moe = block({{"layers.*.block_sparse_moe", all_reduce}});
inline constexpr block_view partial_mlp{partial_mlp_here, "layers.*.mlp"};
inline constexpr block_view experts{experts_here, "layers.*.mlp"};
inline constexpr block_view shared_expert{partial_mlp_here, "layers.*.mlp.shared_expert"};
inline constexpr block_view interleaved_experts{interleaved_experts_here, "layers.*.mlp"};
inline constexpr block_view sparse_experts{experts_here, "layers.*.block_sparse_moe"};
inline constexpr block_view partial_feed_forward{partial_mlp_here, "layers.*.feed_forward"};
inline constexpr block_view feed_forward_shared_expert{partial_mlp_here, "layers.*.feed_forward.shared_expert"};
inline constexpr block_view transposed_feed_forward_experts{transposed_experts_here, "layers.*.feed_forward"};

// Vision towers. Where a tower has fewer heads than there are ranks its attention runs whole, and nothing else does.
inline constexpr const char* too_few_heads = "fewer heads than ranks: this attention runs whole on every rank";
/// Of qwen3_5: q|k|v in one product.
inline constexpr auto qwen_tower = block({
    {"blocks.*.attn.qkv", colwise.groups(3).units("num_heads").uneven().or_whole(too_few_heads)},
    {"blocks.*.attn.proj", rowwise.units("num_heads").uneven().or_whole(too_few_heads)},
    {"blocks.*.mlp.linear_fc1", colwise.uneven()},
    {"blocks.*.mlp.linear_fc2", rowwise.uneven()},
    {"merger.linear_fc1", colwise.uneven()},
    {"merger.linear_fc2", rowwise.uneven()},
    {"{patch_embed,pos_embed}.**", replicate("a patch's features and its place: every rank needs the whole row")},
    {"blocks.*.{norm1,norm2}", replicate("a norm's scale: every rank has the whole hidden state")},
    {"merger.norm", replicate("a norm's scale: every rank has the whole hidden state")},
});
/// Of llama4 and, with `out_proj`, of gemma3: relative to the module that has the layers.
inline constexpr auto tower_layers = block({
    {"layers.*.self_attn.{q,k,v}_proj", colwise.units("num_attention_heads").uneven().or_whole(too_few_heads)},
    {"layers.*.self_attn.{o_proj,out_proj}", rowwise.units("num_attention_heads").uneven().or_whole(too_few_heads)},
    {"layers.*.mlp.fc1", colwise.uneven()},
    {"layers.*.mlp.fc2", rowwise.uneven()},
    {"layers.*.{input_layernorm,post_attention_layernorm,layer_norm1,layer_norm2}",
     replicate("a norm's scale: every rank has the whole hidden state")},
});
inline constexpr auto gemma3_ends = block({
    {"vision_tower.{embeddings,post_layernorm}.**",
     replicate("a patch's features and its place: every rank needs the whole row")},
    {"vision_tower.head.**", replicate("the pooling head, of which the text model makes no use")},
    {"multi_modal_projector.**", replicate("between a tower and the text model: it runs whole on every rank")},
});
inline constexpr auto llama4_ends = block({
    {"vision_model.vision_adapter.mlp.fc1", colwise.uneven()},
    {"vision_model.vision_adapter.mlp.fc2", rowwise.uneven()},
    {"vision_model.patch_embedding.linear", colwise_gather_output.uneven()},
    {"vision_model.{class_embedding,positional_embedding_vlm}",
     replicate("a patch's features and its place: every rank needs the whole row")},
    {"vision_model.{layernorm_pre,layernorm_post}", replicate("a norm's scale: every rank has the whole hidden state")},
    {"multi_modal_projector.linear_1", colwise_gather_output.uneven()},
});

}  // namespace models::by_head

namespace models {
/// A plan by head of a class with a head, whose base model sits under `prefix`. Each row may match nothing.
template <std::size_t N>
constexpr auto by_head_merged(const plan<N>& base, const char* prefix) {
  return composed(by_head::head, by_head::embedding.under(prefix), base.under(prefix)).optional();
}
}  // namespace models
}  // namespace v0
}  // namespace shardwise
