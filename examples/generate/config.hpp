// SPDX-License-Identifier: Apache-2.0
// What config.json says of a model, in the engine's words.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config_reader.hpp"
#include "rope_config.hpp"
#include "shardwise/checkpoint/config.hpp"

namespace generate {

struct linear_attention_config {
  std::size_t key_heads, value_heads, key_dim, value_dim, taps;
};

struct experts_config {
  std::size_t count, per_token, width;
  bool normed;                   ///< the shares of the experts that a token asks add up to 1
  std::size_t shared_width = 0;  ///< of the expert that every token asks; 0: there is none
  /// gpt-oss has its own: (up + 1) * gate * sigmoid(alpha * gate), both kept within `limit`; gate and up of a feature
  /// lie side by side, weights are stored [experts, in, out], and each product has a bias, the router's too.
  struct clamped {
    float alpha, limit;
  };
  std::optional<clamped> own{};
};

/// Which norms a layer has, by their names; null: none.
struct layer_norms {
  const char *before_attention = "input_layernorm", *after_attention = nullptr;
  const char *before_mlp = "post_attention_layernorm", *after_mlp = nullptr;
};
/// What of q and k is normed.
enum class query_norm : std::uint8_t { none, each_head, all_heads };
enum class activation : std::uint8_t { silu, gelu_tanh };

struct text_config {
  std::string prefix;  ///< of all parameters but the head's: "model"
  std::size_t vocabulary, hidden, heads, key_value_heads, head_dim, width = 0;
  float norm_eps;
  float norm_offset = 0;  ///< added to a norm's stored scale
  layer_norms norms;
  query_norm query_norms = query_norm::none;
  bool gated = false;  ///< q_proj also makes a gate of the attention's output
  bool sinks = false;  ///< each head has a score that takes its share of the softmax, and gives no value
  bool fused = false;  ///< q, k and v are one product, gate and up of the MLP another
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  activation act = activation::silu;
  float score_scale;                  ///< what attention scores are multiplied by
  float embedding_scale = 1;          ///< what embeddings are multiplied by
  std::optional<float> cap;           ///< logits are bent into (-cap, cap)
  std::optional<std::size_t> window;  ///< in a layer with a window a token sees so many, itself the last
  std::vector<bool> windowed_layers;  ///< one per layer: with a window, or all tokens before it are seen
  std::vector<bool> linear_layers;    ///< one per layer: linear attention, or full
  std::vector<bool> expert_layers;    ///< one per layer: experts, or a plain MLP of `width`
  std::optional<linear_attention_config> linear_attention;
  std::optional<experts_config> experts;
  rope_config rope;
  std::optional<rope_config> windowed_rope;  ///< of the layers with a window, where it is another
};

struct vision_config {
  std::size_t layers, hidden, heads, width, channels, patch, frames, merge, positions, out;
  double rope_theta;
};

struct model_config {
  std::string type;
  text_config text;
  std::optional<vision_config> vision;
  std::int64_t image_token = -1, video_token = -1;
};

namespace detail {

// What layers of a model without `layer_types` are; the type of layer i.
inline std::string_view usual_layer_type(const config_reader& c, std::string_view type, std::size_t i) {
  if (type == "qwen3_5_moe_text" && (i + 1) % c.size("full_attention_interval", 4) != 0) return "linear_attention";
  if (type == "gpt_oss" && i % 2 == 0) return "sliding_attention";
  if (type == "gemma3_text" && (i + 1) % c.size("sliding_window_pattern", 6) != 0) return "sliding_attention";
  return "full_attention";
}

inline void read_layer_types(const config_reader& c, std::string_view type, text_config& t) {
  const std::size_t layers = c.size("num_hidden_layers");
  const auto types = c.file().texts(c.section(), "layer_types");
  const std::string_view other = type == "qwen3_5_moe_text"                   ? "linear_attention"
                                 : type == "gpt_oss" || type == "gemma3_text" ? "sliding_attention"
                                                                              : "";
  if (types && types->size() != layers) {
    c.refuse("layer_types", "a list of another length than 'num_hidden_layers'", "one each");
  }
  for (std::size_t i = 0; i < layers; ++i) {
    const std::string_view is = types ? (*types)[i] : usual_layer_type(c, type, i);
    t.linear_layers.push_back(is == "linear_attention");
    t.windowed_layers.push_back(is == "sliding_attention");
    if (is == "full_attention" || (!other.empty() && is == other)) continue;
    c.refuse("layer_types", "'" + std::string(is) + "' in layer " + std::to_string(i),
             other.empty() ? "'full_attention'" : "'full_attention' and '" + std::string(other) + "'");
  }
}

// How many tokens each layer sees: those with a window, which are all where no layer says so of itself.
inline void read_window(const config_reader& c, std::string_view type, text_config& t) {
  if (type == "gpt_oss" || type == "gemma3_text") {
    if (c.null("sliding_window")) c.refuse("sliding_window", "null", "a window for the layers that have one");
    t.window = c.size("sliding_window", type == "gpt_oss" ? 128 : 4096);
    return;
  }
  const bool by_itself = type == "mixtral" || type == "phi3";
  const bool windowed = by_itself ? c.has("sliding_window") : c.flag("use_sliding_window");
  if (!windowed || c.null("sliding_window")) return;
  if (!by_itself && type != "qwen3_moe") {
    if (c.has("sliding_window")) c.refuse("use_sliding_window", "true", "false");
    return;
  }
  t.window = c.size("sliding_window", 4096);
  t.windowed_layers.assign(t.windowed_layers.size(), true);
}

inline experts_config read_experts(const config_reader& c, std::string_view type) {
  const std::string_view count = c.has("num_local_experts") ? "num_local_experts" : "num_experts";
  const bool own = type == "gpt_oss";
  experts_config e{c.size(count), c.size("num_experts_per_tok"),
                   c.size(type == "mixtral" || own ? "intermediate_size" : "moe_intermediate_size"),
                   type != "qwen3_moe" || c.flag("norm_topk_prob")};
  if (e.per_token > e.count) {
    c.refuse("num_experts_per_tok", std::to_string(e.per_token), "at most '" + std::string(count) + "'");
  }
  if (type == "qwen3_5_moe_text") e.shared_width = c.size("shared_expert_intermediate_size");
  if (own) {
    e.own = {static_cast<float>(c.number("swiglu_alpha", 1.702)), static_cast<float>(c.number("swiglu_limit", 7))};
  }
  return e;
}

// Every `decoder_sparse_step`-th layer has experts, but for those of `mlp_only_layers`.
inline void read_expert_layers(const config_reader& c, text_config& t) {
  const std::size_t step = c.size("decoder_sparse_step", 1);
  for (std::size_t i = 0; i < t.expert_layers.size(); ++i) t.expert_layers[i] = (i + 1) % step == 0;
  for (const std::int64_t i : c.file().integers(c.section(), "mlp_only_layers").value_or(std::vector<std::int64_t>())) {
    if (i >= 0 && static_cast<std::size_t>(i) < t.expert_layers.size()) {
      t.expert_layers[static_cast<std::size_t>(i)] = false;
    }
  }
}

inline void read_ropes(const config_reader& c, std::string_view type, text_config& t) {
  if (type == "gemma3_text") {
    two_ropes both = read_two_ropes(c, 1e6, 1e4);
    t.rope = std::move(both.full);
    t.windowed_rope = std::move(both.windowed);
    return;
  }
  const bool qwen3_5 = type == "qwen3_5_moe_text", phi3 = type == "phi3";
  rope_config usual;
  if (type == "mixtral") usual.theta = 1e6;
  if (qwen3_5) usual.rotated = 0.25;
  if (type == "gpt_oss") {
    usual.theta = 150000;
    if (!c.has("rope_scaling") && !c.has("rope_parameters")) {
      usual.yarn = {32, 32, 1, 4096, false};
      usual.magnitude = 0.1 * std::log(32.0) + 1;
    }
  }
  t.rope = read_rope(c, usual, {qwen3_5 || phi3, qwen3_5, phi3});
  const auto pairs = static_cast<std::size_t>(static_cast<double>(t.head_dim) * t.rope.rotated) / 2;
  if (t.rope.longrope && (t.rope.longrope->shorter.size() != pairs || t.rope.longrope->longer.size() != pairs)) {
    c.refuse("rope_parameters", "of another number of factors", std::to_string(pairs) + " for these heads");
  }
}

// What gemma3 has beside the others.
inline void read_gemma3(const config_reader& c, text_config& t) {
  c.not_true("use_bidirectional_attention");
  if (c.has("attn_logit_softcapping")) c.refuse("attn_logit_softcapping", "there", "null: Gemma 3 makes no use of it");
  t.act = activation::gelu_tanh;
  t.norm_offset = 1;
  t.norms = {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"};
  t.score_scale = static_cast<float>(1 / std::sqrt(c.number("query_pre_attn_scalar", 256)));
  t.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(t.hidden)));
  if (c.has("final_logit_softcapping")) t.cap = static_cast<float>(c.number("final_logit_softcapping", 0));
}

inline text_config read_text(const config_reader& c, std::string_view type, std::string prefix) {
  const bool qwen3_5 = type == "qwen3_5_moe_text", qwen3_moe = type == "qwen3_moe", mixtral = type == "mixtral";
  const bool gpt_oss = type == "gpt_oss", phi3 = type == "phi3", gemma3 = type == "gemma3_text",
             olmo2 = type == "olmo2";
  text_config t;
  t.prefix = std::move(prefix);
  if (gemma3) {
    c.only("hidden_activation", "gelu_pytorch_tanh");
  } else {
    c.only("hidden_act", "silu");
  }
  t.vocabulary = c.size("vocab_size");
  t.hidden = c.size("hidden_size");
  t.heads = c.size("num_attention_heads");
  t.key_value_heads = c.size("num_key_value_heads", t.heads);
  if (t.heads % t.key_value_heads != 0) {
    c.refuse("num_attention_heads", std::to_string(t.heads), "multiples of 'num_key_value_heads'");
  }
  t.head_dim = c.size("head_dim", gemma3 ? 256 : gpt_oss ? 64 : t.hidden / t.heads);
  t.norm_eps = static_cast<float>(c.number("rms_norm_eps", mixtral || gpt_oss || phi3 || olmo2 ? 1e-5 : 1e-6));
  t.score_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(t.head_dim)));
  read_layer_types(c, type, t);
  read_window(c, type, t);
  read_ropes(c, type, t);

  if (type == "qwen3" || qwen3_moe || qwen3_5 || gemma3) t.query_norms = query_norm::each_head;
  if (olmo2) {
    t.query_norms = query_norm::all_heads;
    t.norms = {nullptr, "post_attention_layernorm", nullptr, "post_feedforward_layernorm"};
  }
  const bool bias =
      !mixtral && !phi3 &&
      (gpt_oss ? c.file().boolean(c.section(), "attention_bias").value_or(true) : c.flag("attention_bias"));
  t.qkv_bias = type == "qwen2" || bias;
  t.output_bias = type != "qwen2" && bias;
  t.mlp_bias = type == "llama" && c.flag("mlp_bias");
  t.sinks = gpt_oss;
  t.fused = phi3;
  t.expert_layers.assign(t.linear_layers.size(), qwen3_5 || mixtral || gpt_oss);
  if (qwen3_moe) read_expert_layers(c, t);
  if (qwen3_5 || qwen3_moe || mixtral || gpt_oss) t.experts = read_experts(c, type);
  if (gemma3) read_gemma3(c, t);
  if (!qwen3_5) {
    t.width = c.size("intermediate_size");
    return t;
  }
  t.norm_offset = 1;
  t.gated = true;
  t.linear_attention = {c.size("linear_num_key_heads"), c.size("linear_num_value_heads"), c.size("linear_key_head_dim"),
                        c.size("linear_value_head_dim"), c.size("linear_conv_kernel_dim")};
  if (t.linear_attention->value_heads % t.linear_attention->key_heads != 0) {
    c.refuse("linear_num_value_heads", std::to_string(t.linear_attention->value_heads),
             "multiples of 'linear_num_key_heads'");
  }
  return t;
}

inline vision_config read_vision(const config_reader& c) {
  c.only("hidden_act", "gelu_pytorch_tanh");
  const config_reader rope = c.below("rope_parameters");
  if (const std::string type = rope.text("rope_type", "axial"); type != "axial" && type != "default") {
    rope.refuse("rope_type", "'" + type + "'", "'axial'");
  }
  vision_config v;
  v.layers = c.size("depth");
  v.hidden = c.size("hidden_size");
  v.heads = c.size("num_heads");
  v.width = c.size("intermediate_size");
  v.channels = c.size("in_channels", 3);
  v.patch = c.size("patch_size");
  v.frames = c.size("temporal_patch_size", 2);
  v.merge = c.size("spatial_merge_size", 2);
  v.positions = c.size("num_position_embeddings");
  v.out = c.size("out_hidden_size");
  v.rope_theta = rope.number("rope_theta", c.number("rope_theta", 10000));
  if (v.hidden % v.heads != 0 || v.hidden / v.heads % 4 != 0) {
    c.refuse("num_heads", std::to_string(v.heads), "heads of a multiple of 4 elements");
  }
  return v;
}

/// The language models that stand alone.
inline constexpr std::string_view text_families[] = {
    "llama", "qwen2", "qwen3", "qwen3_moe", "mixtral", "gpt_oss", "phi3", "gemma3_text", "olmo2", "qwen3_5_moe_text"};

}  // namespace detail

/// Throws `checkpoint_error`, with file and field, for what is missing and for what this engine does not know.
inline model_config read_config(const sw::checkpoint::config& file) {
  const config_reader root(file, "");
  root.absent("quantization_config");
  model_config m;
  m.type = std::string(file.model_type());
  if (m.type == "qwen3_5_moe") {
    m.text = detail::read_text(root.below("text_config"), "qwen3_5_moe_text", "model.language_model");
    m.vision = detail::read_vision(root.below("vision_config"));
    if (m.vision->out != m.text.hidden) {
      root.below("vision_config").refuse("out_hidden_size", std::to_string(m.vision->out), "the text's 'hidden_size'");
    }
    m.image_token = file.required_integer("", "image_token_id");
    m.video_token = file.integer("", "video_token_id").value_or(-1);
  } else if (std::find(std::begin(detail::text_families), std::end(detail::text_families), m.type) !=
             std::end(detail::text_families)) {
    m.text = detail::read_text(root, m.type, "model");
  } else {
    root.refuse("model_type", "'" + m.type + "'",
                "llama, qwen2, qwen3, qwen3_moe, mixtral, gpt_oss, phi3, gemma3_text, olmo2, qwen3_5_moe_text and "
                "qwen3_5_moe");
  }
  return m;
}

}  // namespace generate
