// SPDX-License-Identifier: Apache-2.0
// Which module's output is which module's input, by the names that model code usually has.
#pragma once
#include <string_view>

#include "shardwise/detail/words.hpp"

namespace shardwise {
inline namespace v0 {

/// Of the modules (or bare parameters) of one parent: the output of each of `producers`, a list separated by blanks, is
/// after attention or an activation the input of `consumer`.
struct edge {
  enum kind_t : unsigned char { attention, gated, plain };
  kind_t kind = plain;
  std::string_view producers, consumer;
};

/// The edges of the model families that we know. A parent that has other names is looked at less closely.
inline constexpr edge usual_edges[] = {
    {edge::attention,
     "q_proj k_proj v_proj q_b_proj kv_b_proj q_gate_proj g_proj gate_proj qkv_proj qkv query_key_value", "o_proj"},
    {edge::attention, "q_proj k_proj v_proj qkv_proj qkv query_key_value Wqkv", "dense"},
    {edge::attention,
     "q_proj k_proj v_proj qkv_proj qkv Wqkv c_attn in_proj_qkv in_proj_z in_proj_b in_proj_a in_proj_qkvz in_proj_ba",
     "out_proj"},
    {edge::attention, "q_proj k_proj v_proj qkv_proj qkv", "proj"},
    {edge::attention, "q_proj k_proj v_proj qkv_proj qkv Wqkv", "Wo"},
    {edge::attention, "wq wk wv wqkv q k v", "wo"},
    {edge::attention, "wq wk wv q k v", "o"},
    {edge::attention, "c_attn", "c_proj"},
    {edge::gated, "gate_proj up_proj gate_up_proj", "down_proj"},
    {edge::gated, "w1 w3 w13", "w2"},
    {edge::gated, "wi wi_0 wi_1", "wo"},
    {edge::gated, "input_linear", "output_linear"},
    {edge::plain, "fc1", "fc2"},
    {edge::plain, "linear_fc1", "linear_fc2"},
    {edge::plain, "linear_1", "linear_2"},
    {edge::plain, "lin1", "lin2"},
    {edge::plain, "dense_h_to_4h", "dense_4h_to_h"},
    {edge::plain, "c_fc", "c_proj"},
    {edge::plain, "fc_in", "fc_out"},
};

}  // namespace v0
}  // namespace shardwise
