// SPDX-License-Identifier: Apache-2.0
// The decoder: layers of attention, full or linear, and an MLP or experts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attention.hpp"
#include "gated_delta.hpp"
#include "mlp.hpp"
#include "moe.hpp"

namespace generate {

class decoder_layer {
 public:
  decoder_layer(const context& c, const text_config& t, std::size_t index)
      : decoder_layer(c, t, index, t.prefix + ".layers." + std::to_string(index)) {}

  value operator()(value x, const rotation& turn, const memory& past, layer_memory& mine) const {
    const value in = attention_norm_(x);
    x = sum(x, attention_ ? (*attention_)(in, turn, past, mine) : (*linear_attention_)(in, past, mine));
    const value mid = mlp_norm_(x);
    return sum(x, experts_ ? (*experts_)(mid) : sw::expect_replicated((*mlp_)(mid), mlp_->path()));
  }

 private:
  decoder_layer(const context& c, const text_config& t, std::size_t index, const std::string& path)
      : attention_norm_(c, path + ".input_layernorm", t.hidden, t.norm_eps, t.norm_offset),
        mlp_norm_(c, path + ".post_attention_layernorm", t.hidden, t.norm_eps, t.norm_offset) {
    if (t.linear_layers[index]) {
      linear_attention_.emplace(c, t, path + ".linear_attn");
    } else {
      attention_.emplace(c, t, path + ".self_attn");
    }
    if (t.expert_layers[index]) {
      experts_.emplace(c, path + ".mlp", t.hidden, *t.experts);
    } else {
      mlp_.emplace(c, path + ".mlp", t.hidden, t.width, t.mlp_bias);
    }
  }

  rms_norm attention_norm_, mlp_norm_;
  std::optional<attention> attention_;
  std::optional<gated_delta> linear_attention_;
  std::optional<mlp> mlp_;
  std::optional<moe> experts_;
};

/// The part of a decoder that one rank runs: all of it, or one stage of a pipeline. The first stage has the embedding,
/// the last one the head, and the layers are dealt in order.
struct pipeline_stage {
  int index = 0, count = 1;
  bool is_first() const { return index == 0; }
  bool is_last() const { return index + 1 == count; }
  sw::interval layers_of(const text_config& t) const { return sw::chunk(t.linear_layers.size(), count, index); }
};

class text_model {
 public:
  text_model(const context& c, const text_config& t, const pipeline_stage& stage = {}) : rope_(t.rope, t.head_dim) {
    if (stage.is_first()) embedding_.emplace(c, t.prefix + ".embed_tokens", t.vocabulary, t.hidden);
    const sw::interval mine = stage.layers_of(t);
    for (std::size_t i = mine.begin; i < mine.end; ++i) layers_.emplace_back(c, t, i);
    if (stage.is_last()) {
      norm_.emplace(c, t.prefix + ".norm", t.hidden, t.norm_eps, t.norm_offset);
      head_.emplace(c, "lm_head", t.hidden, t.vocabulary);
    }
  }

  /// What enters the first layer, [batch * tokens, hidden]. Of the first stage. Collective.
  value embed(std::span<const std::int64_t> ids) const { return (*embedding_)(ids); }

  /// From what enters the first layer of the stage to what leaves its last one. The tokens are appended to `past`,
  /// which is of this stage. Collective.
  value through_layers(value x, const positions& at, memory& past) const {
    past.layers.resize(layers_.size());
    const rotation turn = rope_(at);
    for (std::size_t i = 0; i < layers_.size(); ++i) x = layers_[i](x, turn, past, past.layers[i]);
    past.length += at.size() / past.batch;
    return x;
  }

  /// Logits [batch * tokens, vocabulary], whole on every rank, of what left the last layer. Of the last stage.
  /// Collective.
  tensor logits(const value& x) const { return sw::expect_replicated((*head_)((*norm_)(x)), head_->path()).local(); }

 private:
  std::optional<embedding> embedding_;
  std::vector<decoder_layer> layers_;
  std::optional<rms_norm> norm_;
  std::optional<linear> head_;
  rope rope_;
};

}  // namespace generate
