// SPDX-License-Identifier: Apache-2.0
// Models and plans small enough to reckon by hand, to be changed by each test in one place.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/audit/audit.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/plan/import.hpp"

namespace test {
namespace sw = shardwise;

/// Names and shapes; a `*` in a name is two layers.
struct shapes {
  std::vector<std::pair<std::string, sw::tensor_shape>> list;
  std::vector<std::pair<std::string, std::int64_t>> config;
  std::vector<std::pair<std::string, std::string>> ties;

  /// Adds a parameter, or gives the one of this name another shape.
  shapes& with(std::string_view name, const sw::tensor_shape& shape) {
    for (auto& [known, s] : list) {
      if (known == name) return s = shape, *this;
    }
    list.emplace_back(name, shape);
    return *this;
  }
  shapes& without(std::string_view name) {
    std::erase_if(list, [&](const auto& row) { return row.first == name; });
    return *this;
  }
  shapes& number(std::string_view field, std::int64_t n) {
    for (auto& [known, value] : config) {
      if (known == field) return value = n, *this;
    }
    config.emplace_back(field, n);
    return *this;
  }
  shapes& tie(std::string_view kept, std::string_view alias) {
    ties.emplace_back(kept, alias);
    return *this;
  }

  sw::tree tree() const {
    sw::tree t;
    for (const auto& [name, shape] : list) {
      const std::size_t star = name.find('*');
      if (star == std::string::npos) {
        t.add(name, sw::dtype::bf16, shape);
        continue;
      }
      for (const char* layer : {"0", "1"}) t.add(std::string(name).replace(star, 1, layer), sw::dtype::bf16, shape);
    }
    for (const auto& [field, n] : config) {
      const std::size_t dot = field.find('.');
      const bool root = dot == std::string::npos;
      t.config(root ? "" : field.substr(0, dot), root ? field : field.substr(dot + 1), n);
    }
    for (const auto& [kept, alias] : ties) t.tie(kept, alias);
    return t;
  }
};

/// A plan in Hugging Face's words.
struct rows {
  std::vector<std::pair<std::string, std::string>> list;

  rows& with(std::string_view pattern, std::string_view style) {
    for (auto& [known, s] : list) {
      if (known == pattern) return s = style, *this;
    }
    list.emplace_back(pattern, style);
    return *this;
  }
  rows& without(std::string_view pattern) {
    std::erase_if(list, [&](const auto& row) { return row.first == pattern; });
    return *this;
  }
  sw::audit_report audit(const shapes& model, int tp, const sw::audit_options& options = {}) const {
    sw::imported_plan plan;
    for (const auto& [pattern, style] : list) plan.add(pattern, style);
    return sw::audit(plan, model.tree(), tp, options);
  }
};

/// 8 heads of 8, 4 of keys and values, hidden size 64, 96 features between, 4 experts of 32, 1000 words.
inline shapes decoder() {
  shapes m;
  m.with("model.embed_tokens.weight", {1000, 64});
  const auto layer = [&m](std::string_view name, const sw::tensor_shape& shape) {
    m.with("model.layers.*." + std::string(name), shape);
  };
  layer("self_attn.q_proj.weight", {64, 64});
  layer("self_attn.k_proj.weight", {32, 64});
  layer("self_attn.v_proj.weight", {32, 64});
  layer("self_attn.o_proj.weight", {64, 64});
  layer("self_attn.q_norm.weight", {8});
  layer("mlp.gate_proj.weight", {96, 64});
  layer("mlp.up_proj.weight", {96, 64});
  layer("mlp.down_proj.weight", {64, 96});
  layer("moe.experts.gate_up_proj", {4, 64, 64});
  layer("moe.experts.down_proj", {4, 64, 32});
  layer("input_layernorm.weight", {64});
  m.with("model.norm.weight", {64}).with("lm_head.weight", {1000, 64});
  m.number("num_attention_heads", 8).number("num_key_value_heads", 4).number("head_dim", 8);
  m.number("vocab_size", 1000).number("num_experts", 4).number("num_experts_per_tok", 1);
  return m;
}

/// The plan that is right for it.
inline rows right_plan() {
  rows p;
  p.with("lm_head", "colwise_gather_output").with("model.embed_tokens", "embedding_rowwise");
  for (const char* name :
       {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"}) {
    p.with("model.layers.*." + std::string(name), "colwise");
  }
  p.with("model.layers.*.self_attn.o_proj", "rowwise").with("model.layers.*.mlp.down_proj", "rowwise");
  p.with("model.layers.*.moe.experts.gate_up_proj", "packed_colwise");
  p.with("model.layers.*.moe.experts.down_proj", "rowwise").with("model.layers.*.moe.experts", "moe_tp_experts");
  return p;
}

}  // namespace test
