// SPDX-License-Identifier: Apache-2.0
// Puts the plans of a model class together out of its parts, as Hugging Face merges them.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/detail/words.hpp"
#include "shardwise/models/bases.hpp"
#include "shardwise/models/by_head.hpp"
#include "shardwise/models/classes.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

inline constexpr std::size_t max_class_parts = std::size(models::model_class{}.parts);

/// The base models of a class; null where a part is not there.
struct class_bases {
  const models::base_model* at[max_class_parts]{};
  friend constexpr bool operator==(const class_bases&, const class_bases&) = default;
};

inline const models::base_model* find_base(std::string_view model_type) {
  for (const models::base_model& b : models::bases::table) {
    if (has_word(b.model_types, model_type)) return &b;
  }
  return nullptr;
}

/// Rules under a prefix, "" for none; of one pattern the last says how, as in a dictionary.
class composition {
 public:
  void add(const models::block_view& block, const char* prefix, bool as_hugging_face) {
    for (std::size_t i = 0; i < block.size(); ++i) {
      rule r = block[i];
      for (const char* in : {block.prefix(), prefix}) {
        if (*in != '\0') r.put_under(split_pattern(in));
      }
      r.optional = true;
      if (as_hugging_face) {
        r.matching = dialect::hugging_face;
        r.how.divided = division::chunk;
      }
      if (rule* known = find(r)) {
        known->how = r.how;
      } else {
        rules_.push(r);
      }
    }
  }
  template <std::size_t N>
  void add(const models::block_view (&blocks)[N], const char* prefix, bool as_hugging_face) {
    for (const models::block_view& block : blocks) add(block, prefix, as_hugging_face);
  }
  plan_view view() const { return {rules_.data(), rules_.size()}; }

 private:
  rule* find(const rule& r) {
    for (rule& known : rules_) {
      if (known.same_pattern(r)) return &known;
    }
    return nullptr;
  }
  list<rule> rules_;
};

/// Hugging Face's tensor-parallel plan: the rows of the class, then those of each base model, its embedding first.
inline void compose_tensor_parallel(composition& out, const models::model_class& c, const class_bases& bases) {
  out.add(c.head, "", true);
  for (std::size_t i = 0; i < max_class_parts; ++i) {
    const models::base_model* base = bases.at[i];
    if (base == nullptr || base->tensor_parallel[0].size() == 0) continue;
    const models::class_part& part = c.parts[i];
    if (base->embeds && !part.has_head) out.add(models::blocks::embedding, part.prefix, true);
    out.add(base->tensor_parallel, part.prefix, true);
  }
}
/// Hugging Face's expert-parallel plan.
inline void compose_expert_parallel(composition& out, const models::model_class& c, const class_bases& bases) {
  for (std::size_t i = 0; i < max_class_parts; ++i) {
    if (bases.at[i] != nullptr) out.add(bases.at[i]->expert_parallel, c.parts[i].prefix, true);
  }
}
/// What the tensor-parallel plan leaves whole. Where a part holds the towers, their rows say enough.
inline void compose_whole(composition& out, const models::model_class& c, const class_bases& bases) {
  for (std::size_t i = 0; i < max_class_parts; ++i) {
    if (bases.at[i] == nullptr) continue;
    const std::string_view prefix = c.parts[i].prefix;
    out.add(bases.at[i]->whole, c.parts[i].prefix, false);
    if (c.towers == nullptr || prefix != c.towers) out.add(models::blocks::whole_everywhere, c.parts[i].prefix, false);
  }
  if (c.towers != nullptr) {
    out.add(models::blocks::whole_towers, c.towers, false);
    out.add(models::blocks::whole_towers, "", false);
  }
  if (c.head.size() == 0) out.add(models::blocks::whole_head, "", false);
}

inline const models::by_head_class* find_by_head(std::string_view architecture, std::string_view model_type) {
  for (const models::by_head_class& c : models::by_head::table) {
    if (c.architecture == architecture && c.model_type == model_type) return &c;
  }
  return nullptr;
}
/// Our own plan, with a row for everything.
inline void compose_by_head(composition& out, const models::by_head_class& c) {
  out.add(models::by_head::head, "", false);
  out.add(models::by_head::embedding, c.text, false);
  out.add(c.text_model, c.text, false);
  out.add(c.others, "", false);
  out.add(models::blocks::whole_everywhere, c.text, false);
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
