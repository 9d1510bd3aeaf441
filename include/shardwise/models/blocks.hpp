// SPDX-License-Identifier: Apache-2.0
// The blocks that plans of most model families are composed of. Paths are relative to the base model. The rarer ones
// are in rare_blocks.hpp.
#pragma once
#include "shardwise/models/block.hpp"

namespace shardwise {
inline namespace v0 {
namespace models {

/// The version of Hugging Face transformers whose plans these are.
inline constexpr const char* transformers_version = "5.23.0";

namespace blocks {

// Attention.
inline constexpr auto attention = plan({
    {"layers.*.self_attn.q_proj", colwise},
    {"layers.*.self_attn.k_proj", colwise},
    {"layers.*.self_attn.v_proj", colwise},
    {"layers.*.self_attn.o_proj", rowwise},
});
/// Norms of each head: a rank applies the whole scale to the heads that it has.
inline constexpr auto query_key_norm = plan({
    {"layers.*.self_attn.q_norm", replicated_with_grad_allreduce},
    {"layers.*.self_attn.k_norm", replicated_with_grad_allreduce},
});
/// Norms that run over the heads of all ranks: q, k and v are gathered before them.
inline constexpr auto gathered_attention = plan({
    {"layers.*.self_attn.q_proj", colwise_gather_output},
    {"layers.*.self_attn.k_proj", colwise_gather_output},
    {"layers.*.self_attn.v_proj", colwise_gather_output},
    {"layers.*.self_attn.o_proj", rowwise_split_input},
});
/// Multi-head latent attention: the way up from the latents is cut by head, the way down is whole.
inline constexpr auto latent_attention = plan({
    {"layers.*.self_attn.q_b_proj", colwise},
    {"layers.*.self_attn.kv_a_proj_with_mqa", mla_kv_a_proj},
    {"layers.*.self_attn.kv_b_proj", colwise},
    {"layers.*.self_attn.o_proj", rowwise},
});
/// GatedDeltaNet: the products are shared out, the recurrence runs whole on every rank.
inline constexpr auto gathered_linear_attention = plan({
    {"layers.*.linear_attn.in_proj_qkv", colwise_gather_output},
    {"layers.*.linear_attn.in_proj_z", colwise_gather_output},
    {"layers.*.linear_attn.in_proj_b", colwise_gather_output},
    {"layers.*.linear_attn.in_proj_a", colwise_gather_output},
    {"layers.*.linear_attn.out_proj", colwise_gather_output},
});

// Feed-forward.
inline constexpr auto mlp = plan({
    {"layers.*.mlp.gate_proj", colwise},
    {"layers.*.mlp.up_proj", colwise},
    {"layers.*.mlp.down_proj", rowwise},
});
/// All experts on every rank, each cut: gate|up in two groups.
inline constexpr auto experts = plan({
    {"layers.*.mlp.experts.gate_up_proj", packed_colwise<2>},
    {"layers.*.mlp.experts.down_proj", rowwise},
    {"layers.*.mlp.experts", moe_tp_experts},
});
inline constexpr auto shared_expert = plan({
    {"layers.*.mlp.shared_expert.gate_proj", colwise},
    {"layers.*.mlp.shared_expert.up_proj", colwise},
    {"layers.*.mlp.shared_expert.down_proj", rowwise},
});
inline constexpr auto shared_experts = plan({
    {"layers.*.mlp.shared_experts.gate_proj", colwise},
    {"layers.*.mlp.shared_experts.up_proj", colwise},
    {"layers.*.mlp.shared_experts.down_proj", rowwise},
});
/// Expert parallelism: each rank holds whole experts, and tokens go to them.
inline constexpr auto expert_parallel = plan({
    {"layers.*.mlp.experts.gate_up_proj", grouped_gemm},
    {"layers.*.mlp.experts.down_proj", grouped_gemm},
    {"layers.*.mlp.experts", ep_dispatch_experts},
});

inline constexpr auto embedding = plan({{"embed_tokens", embedding_rowwise}});
inline constexpr auto head = plan({{"lm_head", colwise_gather_output}});

// What Hugging Face leaves whole, said.
inline constexpr auto whole_norms = plan({
    {"layers.*.{input,post_attention}_layernorm", replicate("a norm's scale: every rank has the whole hidden state")},
    {"norm", replicate("a norm's scale: every rank has the whole hidden state")},
});
inline constexpr auto whole_feed_forward_norms = plan({
    {"layers.*.{pre,post}_feedforward_layernorm", replicate("a norm's scale: every rank has the whole hidden state")},
});
inline constexpr auto whole_router = plan({
    {"layers.*.mlp.gate", replicate("the router: every rank needs all scores")},
    {"layers.*.mlp.shared_expert_gate", replicate("one row: the gate of the shared expert")},
});
inline constexpr auto whole_recurrence = plan({
    {"layers.*.linear_attn.{conv1d,norm}", replicate("the recurrence runs whole on every rank")},
    {"layers.*.linear_attn.{A_log,dt_bias}", replicate("the recurrence runs whole on every rank")},
});

/// A tower without a plan, beside the text model.
inline constexpr auto whole_vision = plan({
    {"visual.**", replicate("the vision tower has no plan: it runs whole on every rank")},
});

}  // namespace blocks

/// As Hugging Face merges a plan: the head class's rule, then the base model's under its prefix, the embedding first.
template <std::size_t N>
constexpr auto merged(const plan<N>& base, const char* prefix) {
  return composed(blocks::head, blocks::embedding.under(prefix), base.under(prefix)).as_hugging_face();
}

}  // namespace models
}  // namespace v0
}  // namespace shardwise
