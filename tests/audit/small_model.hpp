// SPDX-License-Identifier: Apache-2.0
// A decoder small enough to reckon by hand: two layers, 4 heads of 2 features, 2 of keys and values, hidden size 8,
// 16 words. BF16. 1240 elements: 1216 in matrices, 24 in norms.
#pragma once
#include <string>

#include "shardwise/model/tree.hpp"
#include "shardwise/plan/plan.hpp"

inline shardwise::tree small_model() {
  namespace sw = shardwise;
  sw::tree t;
  const auto add = [&t](const std::string& name, const sw::tensor_shape& shape) {
    t.add(name, sw::dtype::bf16, shape);
  };
  add("embed_tokens.weight", {16, 8});
  for (const char* layer : {"layers.0.", "layers.1."}) {
    const std::string l = layer;
    add(l + "self_attn.q_proj.weight", {8, 8});
    add(l + "self_attn.k_proj.weight", {4, 8});
    add(l + "self_attn.v_proj.weight", {4, 8});
    add(l + "self_attn.o_proj.weight", {8, 8});
    add(l + "mlp.gate_up_proj.weight", {24, 8});
    add(l + "mlp.down_proj.weight", {8, 12});
    add(l + "norm.weight", {8});
  }
  add("norm.weight", {8});
  add("lm_head.weight", {16, 8});
  t.config("", "num_attention_heads", 4).config("", "num_key_value_heads", 2).config("", "hidden_size", 8);
  return t;
}

inline constexpr auto small_plan = shardwise::plan({
    {"embed_tokens", shardwise::embedding_rowwise},
    {"layers.*.self_attn.q_proj", shardwise::colwise.units("num_attention_heads")},
    {"layers.*.self_attn.{k,v}_proj", shardwise::colwise.units("num_key_value_heads")},
    {"layers.*.self_attn.o_proj", shardwise::rowwise.units("num_attention_heads")},
    {"layers.*.mlp.gate_up_proj", shardwise::packed_colwise<2>},
    {"layers.*.mlp.down_proj", shardwise::rowwise},
    {"layers.*.norm", shardwise::replicate("a norm")},
    {"norm", shardwise::replicate("a norm")},
    {"lm_head", shardwise::colwise_gather_output},
});
