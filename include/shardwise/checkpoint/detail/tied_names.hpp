// SPDX-License-Identifier: Apache-2.0
// Which names are one storage, by config.json and the names alone.
#pragma once
#include <cstddef>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/words.hpp"
#include "shardwise/model/tree.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Language models whose head is tied where their config does not say `tie_word_embeddings`, in Hugging Face 5.23.0.
inline constexpr std::string_view tied_unless_said =
    "cohere cohere2 cohere2_moe cohere_compass_text ernie4_5 ernie4_5_moe gemma gemma2 gemma3_text gemma3n_text "
    "gemma4_text gemma4_unified_text granite_swa lfm2 lfm2_moe lfm3 minicpm3 smollm3 starcoder2 vaultgemma youtu";

/// Are head and embedding one storage, by the config alone?
inline bool says_tied(const checkpoint::config& config) {
  auto tied = config.boolean("", "tie_word_embeddings");
  if (!tied) tied = config.boolean("text_config", "tie_word_embeddings");  // older wrappers say it only there
  return tied.value_or(has_word(tied_unless_said, config.model_type()));
}

/// Of `tie_word_embeddings`: the head, and an encoder's and a decoder's embedding that are one with `shared`. Where the
/// file has both sides they are taken to be equal, as nothing is read.
class tied_names {
 public:
  tied_names(const std::vector<tensor_info>& rows, const checkpoint::config& config) : rows_(rows) {
    if (!says_tied(config)) return;
    std::vector<std::size_t> shared, embeddings, heads;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string_view name = rows[i].name;
      if (!is_own(name)) continue;
      if (is_called(name, "shared.weight")) shared.push_back(i);
      if (is_called(name, "embed_tokens.weight")) embeddings.push_back(i);
      if (is_called(name, "lm_head.weight") || is_called(name, "lm_head.out_proj.weight")) heads.push_back(i);
    }
    kept_ = only(shared);
    if (kept_ != none) {
      for (const std::size_t i : embeddings) take(i);
    } else {
      kept_ = embeddings.size() == 1 ? embeddings[0] : only_of_decoder(embeddings);
    }
    if (kept_ == none) return;
    for (const std::size_t i : heads) take(i);
    // A file that leaves the alias out is the rule; only a model with a head has one.
    guess_head_ = aliases_.empty() && heads.empty() && has_head(config);
  }

  bool is_alias(std::size_t i) const {
    for (const std::size_t a : aliases_) {
      if (a == i) return true;
    }
    return false;
  }
  /// Ties the names in a tree that has all rows but the aliases.
  void fill(tree& t) const {
    if (kept_ == none) return;
    for (const std::size_t i : aliases_) t.tie(rows_[kept_].name, rows_[i].name);
    if (guess_head_) t.tie(rows_[kept_].name, "lm_head.weight");
  }

 private:
  static constexpr std::size_t none = ~std::size_t{};

  static bool is_called(std::string_view name, std::string_view tail) {
    return name.ends_with(tail) && (name.size() == tail.size() || name[name.size() - tail.size() - 1] == '.');
  }
  // Not a layer's and not of an `mtp` head, which have copies in some checkpoints.
  static bool is_own(std::string_view name) {
    return !name.starts_with("mtp.") && name.find(".mtp.") == std::string_view::npos && !name.starts_with("layers.") &&
           name.find(".layers.") == std::string_view::npos;
  }
  static bool has_head(const checkpoint::config& config) {
    for (const std::string_view name : config.architectures()) {
      if (name.ends_with("ForCausalLM") || name.ends_with("ForConditionalGeneration")) return true;
    }
    return false;
  }
  static std::size_t only(const std::vector<std::size_t>& list) { return list.size() == 1 ? list[0] : none; }
  std::size_t only_of_decoder(const std::vector<std::size_t>& list) const {
    std::size_t found = none;
    for (const std::size_t i : list) {
      if (rows_[i].name.find("decoder.") == std::string_view::npos) continue;
      if (found != none) return none;
      found = i;
    }
    return found;
  }
  void take(std::size_t i) {
    if (rows_[i].type == rows_[kept_].type && rows_[i].shape == rows_[kept_].shape) aliases_.push_back(i);
  }

  const std::vector<tensor_info>& rows_;
  std::size_t kept_ = none;
  std::vector<std::size_t> aliases_;
  bool guess_head_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
