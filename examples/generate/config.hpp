// SPDX-License-Identifier: Apache-2.0
// What config.json says of a model, in the engine's words. What the engine does not know is refused by name: it would
// be silently wrong.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/config.hpp"

namespace generate {
namespace sw = shardwise;

struct rope_config {
  double theta = 10000;
  double rotated = 1;  ///< the part of a head that is rotated
  /// llama3: long wavelengths are stretched by `factor`, short ones are not.
  struct stretching {
    double factor, low, high, context;
  };
  std::optional<stretching> llama3;
  std::array<std::size_t, 3>
      sections{};  ///< mrope: frequencies for time, row and column; zeros: positions are one-dimensional
};

struct linear_attention_config {
  std::size_t key_heads, value_heads, key_dim, value_dim, taps;
};

struct experts_config {
  std::size_t count, per_token, width;
  bool normed;                   ///< the shares of the experts that a token asks add up to 1
  std::size_t shared_width = 0;  ///< of the expert that every token asks; 0: there is none
};

struct text_config {
  std::string prefix;  ///< of all parameters but the head's: "model"
  std::size_t vocabulary, hidden, heads, key_value_heads, head_dim, width = 0;
  float norm_eps;
  float norm_offset = 0;    ///< added to a norm's stored scale
  bool head_norms = false;  ///< q and k are normed head by head
  bool gated = false;       ///< q_proj also makes a gate of the attention's output
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  std::optional<std::size_t> window;  ///< a token sees so many, itself the last; else all before it
  std::vector<bool> linear_layers;    ///< one per layer: linear attention, or full
  std::vector<bool> expert_layers;    ///< one per layer: experts, or a plain MLP of `width`
  std::optional<linear_attention_config> linear_attention;
  std::optional<experts_config> experts;
  rope_config rope;
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

/// Reads one section of a config.json.
class config_reader {
 public:
  config_reader(const sw::checkpoint::config& c, std::string section) : config_(c), section_(std::move(section)) {}

  std::size_t size(std::string_view field) const { return checked(field, config_.required_integer(section_, field)); }
  std::size_t size(std::string_view field, std::size_t otherwise) const {
    const auto n = config_.integer(section_, field);
    return n ? checked(field, *n) : otherwise;
  }
  double number(std::string_view field, double otherwise) const {
    return config_.number(section_, field).value_or(otherwise);
  }
  bool flag(std::string_view field) const { return config_.boolean(section_, field).value_or(false); }
  std::string text(std::string_view field, std::string_view otherwise) const {
    return std::string(config_.text(section_, field).value_or(otherwise));
  }
  bool has(std::string_view field) const {
    return config_.state(section_, field) == sw::checkpoint::field_state::present;
  }
  bool null(std::string_view field) const {
    return config_.state(section_, field) == sw::checkpoint::field_state::null;
  }
  config_reader below(std::string_view field) const {
    return {config_, section_.empty() ? std::string(field) : section_ + "." + std::string(field)};
  }
  const sw::checkpoint::config& file() const { return config_; }
  const std::string& section() const { return section_; }

  [[noreturn]] void refuse(std::string_view field, std::string_view is, std::string_view known) const {
    throw sw::checkpoint_error(config_.where(), ": '", section_, section_.empty() ? "" : ".", field, "' is ", is,
                               ", and this engine knows only ", known);
  }
  void only(std::string_view field, std::string_view known) const {
    if (const std::string is = text(field, known); is != known) refuse(field, is, known);
  }
  void not_true(std::string_view field) const {
    if (flag(field)) refuse(field, "true", "false");
  }
  void absent(std::string_view field) const {
    if (has(field)) refuse(field, "there", "models without it");
  }

 private:
  std::size_t checked(std::string_view field, std::int64_t n) const {
    if (n < 1 || n > (std::int64_t{1} << 40)) refuse(field, std::to_string(n), "positive sizes");
    return static_cast<std::size_t>(n);
  }

  const sw::checkpoint::config& config_;
  std::string section_;
};

// `rope_parameters`, or the older `rope_theta` beside `rope_scaling`. `r` is what the type has where nothing is said.
inline rope_config read_rope(const config_reader& c, rope_config r, bool partial, bool sections) {
  const config_reader rope = c.below(c.has("rope_scaling") ? "rope_scaling" : "rope_parameters");
  for (const char* layer_type : {"full_attention", "sliding_attention", "linear_attention"}) rope.absent(layer_type);
  r.theta = rope.number("rope_theta", c.number("rope_theta", r.theta));
  r.rotated = rope.number("partial_rotary_factor", c.number("partial_rotary_factor", partial ? 0.25 : 1));
  if (!partial && r.rotated != 1) rope.refuse("partial_rotary_factor", "not 1", "1 for this model type");
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "llama3") {
    const auto needed = [&](std::string_view field) { return rope.file().required_number(rope.section(), field); };
    const double context =
        c.number("original_max_position_embeddings",
                 rope.number("original_max_position_embeddings", c.number("max_position_embeddings", 2048)));
    r.llama3 = {needed("factor"), needed("low_freq_factor"), needed("high_freq_factor"), context};
  } else if (type != "default" && !(sections && type == "mrope")) {
    rope.refuse("rope_type", "'" + type + "'", "'default' and 'llama3'");
  }
  if (sections) {
    const auto s =
        rope.file().integers(rope.section(), "mrope_section").value_or(std::vector<std::int64_t>{11, 11, 10});
    if (s.size() != 3) rope.refuse("mrope_section", "a list of another length", "three numbers");
    for (std::size_t i = 0; i < 3; ++i) r.sections[i] = static_cast<std::size_t>(s[i]);
  }
  return r;
}

inline void read_layer_types(const config_reader& c, text_config& t, std::size_t layers, bool linear) {
  t.linear_layers.assign(layers, false);
  const auto types = c.file().texts(c.section(), "layer_types");
  if (!types) {
    const std::size_t interval = c.size("full_attention_interval", 4);
    for (std::size_t i = 0; linear && i < layers; ++i) t.linear_layers[i] = (i + 1) % interval != 0;
    return;
  }
  if (types->size() != layers) c.refuse("layer_types", "a list of another length than 'num_hidden_layers'", "one each");
  for (std::size_t i = 0; i < layers; ++i) {
    const std::string_view type = (*types)[i];
    t.linear_layers[i] = linear && type == "linear_attention";
    if (!t.linear_layers[i] && type != "full_attention") {
      c.refuse("layer_types", "'" + std::string(type) + "' in layer " + std::to_string(i),
               linear ? "'full_attention' and 'linear_attention'" : "'full_attention'");
    }
  }
}

// How many tokens each layer sees.
inline std::optional<std::size_t> read_window(const config_reader& c, std::string_view type) {
  const bool windowed = type == "mixtral" ? c.has("sliding_window") : c.flag("use_sliding_window");
  if (!windowed || c.null("sliding_window")) return std::nullopt;
  if (type == "mixtral" || type == "qwen3_moe") return c.size("sliding_window", 4096);
  if (c.has("sliding_window")) c.refuse("use_sliding_window", "true", "false");
  return std::nullopt;
}

inline experts_config read_experts(const config_reader& c, std::string_view type) {
  const std::string_view count = c.has("num_local_experts") ? "num_local_experts" : "num_experts";
  experts_config e{c.size(count), c.size("num_experts_per_tok"),
                   c.size(type == "mixtral" ? "intermediate_size" : "moe_intermediate_size"),
                   type != "qwen3_moe" || c.flag("norm_topk_prob")};
  if (e.per_token > e.count) {
    c.refuse("num_experts_per_tok", std::to_string(e.per_token), "at most '" + std::string(count) + "'");
  }
  if (type == "qwen3_5_moe_text") e.shared_width = c.size("shared_expert_intermediate_size");
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

inline text_config read_text(const config_reader& c, std::string_view type, std::string prefix) {
  const bool qwen3_5 = type == "qwen3_5_moe_text", qwen3_moe = type == "qwen3_moe", mixtral = type == "mixtral";
  text_config t;
  t.prefix = std::move(prefix);
  c.only("hidden_act", "silu");
  t.vocabulary = c.size("vocab_size");
  t.hidden = c.size("hidden_size");
  t.heads = c.size("num_attention_heads");
  t.key_value_heads = c.size("num_key_value_heads", t.heads);
  if (t.heads % t.key_value_heads != 0) {
    c.refuse("num_attention_heads", std::to_string(t.heads), "multiples of 'num_key_value_heads'");
  }
  t.head_dim = c.size("head_dim", t.hidden / t.heads);
  t.norm_eps = static_cast<float>(c.number("rms_norm_eps", mixtral ? 1e-5 : 1e-6));
  if (mixtral) t.rope.theta = 1e6;
  t.rope = read_rope(c, t.rope, qwen3_5, qwen3_5);
  t.window = read_window(c, type);

  t.head_norms = type == "qwen3" || qwen3_moe || qwen3_5;
  const bool bias = !mixtral && c.flag("attention_bias");
  t.qkv_bias = type == "qwen2" || bias;
  t.output_bias = type != "qwen2" && bias;
  t.mlp_bias = type == "llama" && c.flag("mlp_bias");
  read_layer_types(c, t, c.size("num_hidden_layers"), qwen3_5);
  t.expert_layers.assign(t.linear_layers.size(), qwen3_5 || mixtral);
  if (qwen3_moe) read_expert_layers(c, t);
  if (qwen3_5 || qwen3_moe || mixtral) t.experts = read_experts(c, type);
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

}  // namespace detail

/// Throws `checkpoint_error`, with file and field, for what is missing and for what this engine does not know.
inline model_config read_config(const sw::checkpoint::config& file) {
  const detail::config_reader root(file, "");
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
  } else if (m.type == "llama" || m.type == "qwen2" || m.type == "qwen3" || m.type == "qwen3_moe" ||
             m.type == "mixtral" || m.type == "qwen3_5_moe_text") {
    m.text = detail::read_text(root, m.type, "model");
  } else {
    root.refuse("model_type", "'" + m.type + "'",
                "llama, qwen2, qwen3, qwen3_moe, mixtral, qwen3_5_moe_text and qwen3_5_moe");
  }
  return m;
}

}  // namespace generate
