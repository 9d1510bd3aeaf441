// SPDX-License-Identifier: Apache-2.0
// What a model keeps between two tokens, as far as names, shapes and config numbers tell: keys and values, latents,
// states of linear attention.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/survey.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Bytes kept for one sequence on the rank that holds most, as a function of the number of ranks.
class cache_model {
 public:
  /// `layer_types`: of config.json, or empty; `context`: tokens of a sequence.
  cache_model(const survey& s, std::size_t context, dtype type, const std::vector<std::string>& layer_types)
      : survey_(s), context_(context), type_(type) {
    windows_of(layer_types);
    const auto& parameters = s.parameters();
    bool fused = false, cross = false, unknown = false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const parameter_class& p = parameters[i];
      const std::string_view module = s.modules()[p.module].name;
      if (outside_the_decoder(p.name)) continue;
      if (leaf_of(p.name) == "A_log") {
        add_state(i, unknown);
        continue;
      }
      if (leaf_of(p.name) != "weight" || p.shape.dims() < 2) continue;
      if (leaf_of(module).ends_with("conv1d")) {
        kept_.push_back(
            {i, p.shape[0], p.shape.elements() / std::max<std::size_t>(p.shape[0], 1) * size_of(type), p.count, true});
        continue;
      }
      if (p.shape.dims() != 2) continue;
      const role what = role_of(leaf_of(module));
      if (what == role::none) continue;
      if (module.find("cross") != std::string_view::npos || module.find("encoder_attn") != std::string_view::npos) {
        cross = true;
        continue;
      }
      std::size_t features = p.shape[0];
      if (what == role::fused) {
        fused = true;
        features = 2 * fused_half(p.first);
        if (features == 0) {
          unknown = true;
          continue;
        }
      }
      latent_ |= what == role::latent;
      if (what == role::key && !has_values_beside(p)) features *= 2;
      attention_ |= true;
      kept_.push_back({i, features, size_of(type), 0, false});
    }
    count_tokens();
    say(fused, cross, unknown);
  }

  /// Bytes for one sequence.
  std::size_t bytes(int tp) const {
    std::size_t n = 0;
    for (const kept& k : kept_) n += local_features(k, tp) * k.bytes_each * k.times;
    return n;
  }
  /// What was taken for granted, and what was not counted.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  enum class role : std::uint8_t { none, key, value, latent, fused };
  // `features` things, dealt out as the parameter is, each of `bytes_each`, `times` over.
  struct kept {
    std::size_t parameter, features, bytes_each, times;
    bool state;
  };

  static role role_of(std::string_view module) {
    struct row {
      std::string_view name;
      role what;
    };
    constexpr row rows[] = {{"k_proj", role::key},
                            {"v_proj", role::value},
                            {"key_proj", role::key},
                            {"value_proj", role::value},
                            {"wk", role::key},
                            {"wv", role::value},
                            {"key", role::key},
                            {"value", role::value},
                            {"kv_a_proj_with_mqa", role::latent},
                            {"qkv_proj", role::fused},
                            {"query_key_value", role::fused},
                            {"qkv", role::fused},
                            {"Wqkv", role::fused},
                            {"c_attn", role::fused},
                            {"att_proj", role::fused},
                            {"attn_qkv", role::fused}};
    for (const row& r : rows) {
      if (r.name == module) return r.what;
    }
    return role::none;
  }
  // Towers that read an image or a sound keep nothing.
  static bool outside_the_decoder(std::string_view name) {
    for (const std::string_view word : {"visual.", "vision", "audio", "image", "encoder."}) {
      const std::size_t at = name.find(word);
      if (at != std::string_view::npos && (at == 0 || name[at - 1] == '.' || name[at - 1] == '_')) return true;
    }
    return false;
  }

  std::size_t number(std::string_view path, std::string_view a, std::string_view b, std::string_view c = {}) const {
    for (const std::string_view field : {a, b, c}) {
      if (field.empty()) continue;
      const std::int64_t* n = survey_.model().find_number(path, field);
      if (n != nullptr && *n > 0) return static_cast<std::size_t>(*n);
    }
    return 0;
  }
  // Features of the keys in a fused projection; 0 where the config does not say.
  std::size_t fused_half(std::string_view path) const {
    const std::size_t heads = number(path, "num_attention_heads", "n_head", "num_heads");
    std::size_t kv = number(path, "num_key_value_heads", "num_kv_heads", "multi_query_group_num");
    if (kv == 0) kv = heads;
    std::size_t width = number(path, "head_dim", "kv_channels");
    if (width == 0 && heads != 0) width = number(path, "hidden_size", "n_embd", "d_model") / heads;
    return kv * width;
  }
  bool has_values_beside(const parameter_class& key) const {
    const auto& modules = survey_.modules();
    for (const module_class& m : modules) {
      if (m.above == modules[key.module].above && role_of(leaf_of(m.name)) == role::value) return true;
    }
    return false;
  }
  void add_state(std::size_t i, bool& unknown) {
    const parameter_class& p = survey_.parameters()[i];
    std::size_t of_one = 0;
    if (p.shape.dims() == 2) {
      of_one = p.shape[1];
    } else {
      of_one = number(p.first, "linear_key_head_dim", "mamba_head_dim", "mamba_d_head") *
               number(p.first, "linear_value_head_dim", "ssm_state_size", "mamba_d_state");
      if (of_one == 0) of_one = number(p.first, "head_dim", "") * number(p.first, "state_size", "");
    }
    if (of_one == 0 || p.shape.dims() == 0) {
      unknown = true;
      return;
    }
    state_ = true;
    kept_.push_back({i, p.shape[0], of_one * size_of(dtype::f32), p.count, true});
  }

  // How many tokens each layer keeps.
  void windows_of(const std::vector<std::string>& layer_types) {
    for (const std::string& type : layer_types) {
      std::size_t window = 0;
      if (type == "sliding_attention") window = any_number("sliding_window");
      if (type == "chunked_attention") window = any_number("attention_chunk_size");
      windowed_ |= window != 0 && window < context_;
      tokens_.push_back(window != 0 ? std::min(window, context_) : context_);
    }
  }
  std::size_t any_number(std::string_view field) const {
    if (survey_.model().size() == 0) return 0;
    const std::size_t root = number("", field, "");
    return root != 0 ? root : number(survey_.model()[0].name, field, "");
  }
  // The first number in a name is its layer's.
  std::size_t tokens_of(std::string_view name) const {
    while (!name.empty() && !tokens_.empty()) {
      const std::size_t dot = name.find('.');
      const std::string_view segment = name.substr(0, dot);
      if (is_number(segment.data(), segment.size()) && segment.size() < 7) {
        std::size_t layer = 0;
        for (const char c : segment) layer = layer * 10 + static_cast<std::size_t>(c - '0');
        return layer < tokens_.size() ? tokens_[layer] : context_;
      }
      if (dot == std::string_view::npos) break;
      name.remove_prefix(dot + 1);
    }
    return context_;
  }
  void count_tokens() {
    std::vector<std::size_t> tokens(survey_.parameters().size());
    const tree& model = survey_.model();
    if (tokens_.empty()) {
      for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = survey_.parameters()[i].count * context_;
    } else {
      for (std::size_t i = 0; i < model.size(); ++i) tokens[survey_.class_of(i)] += tokens_of(model[i].name);
    }
    for (kept& k : kept_) {
      if (!k.state) k.times = tokens[k.parameter];
    }
  }

  std::size_t local_features(const kept& k, int tp) const {
    const parameter_class& p = survey_.parameters()[k.parameter];
    const cut& c = p.what.how;
    // Cut on another dim, or gathered again: every rank has all of it.
    if (c.whole() || c.dim != 0 || survey_.then(p.module) != collective::none || p.shape[0] == 0) return k.features;
    const std::size_t most = most_of(c, p.shape[0], tp);
    return (k.features * most + p.shape[0] - 1) / p.shape[0];
  }

  void say(bool fused, bool cross, bool unknown) {
    const std::string type(name_of(type_));
    if (latent_) {
      notes_.push_back("cache: latent attention keeps its latent and the rotated key, in " + type +
                       ", whole on every rank; an engine that keeps expanded keys and values needs more");
    } else if (attention_) {
      notes_.push_back("cache: keys and values in " + type + " of every attention layer found by its projections" +
                       (fused ? ", their widths from the config" : ""));
    } else {
      notes_.push_back("cache: no attention projection was recognised, so no keys and values are counted");
    }
    if (windowed_) {
      notes_.push_back("cache: layers of sliding or chunked attention keep no more than their window");
    } else if (attention_ && tokens_.empty() && any_number("sliding_window") != 0) {
      notes_.push_back(
          "cache: the config has a sliding_window; which layers use it was not given (layer_types), so all "
          "keep the whole context");
    }
    if (state_) notes_.push_back("cache: recurrent states in F32, and the inputs of their convolutions");
    if (cross) notes_.push_back("cache: keys and values of cross attention are not counted");
    if (unknown) notes_.push_back("cache: some layers' state is not known from the config, and not counted");
  }

  const survey& survey_;
  std::size_t context_;
  dtype type_;
  std::vector<std::size_t> tokens_;
  std::vector<kept> kept_;
  std::vector<std::string> notes_;
  bool attention_ = false, latent_ = false, state_ = false, windowed_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
