// SPDX-License-Identifier: Apache-2.0
// The names of one rule of a conversion: which tensors it takes, and what they are called afterwards.
#pragma once
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/detail/fragment.hpp"
#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A tensor that a rule takes: the `number`-th of the `from`-th name.
struct taken_name {
  std::size_t number = 0, from = 0, tensor = 0, skipped = 0;  // `skipped`: bytes of the name above `within`
  fragment::found place;
};

/// The names of a rule as fragments: which it takes, and what they become. Throws `plan_error` for names that make no
/// sense together.
struct rule_names {
  explicit rule_names(const checkpoint::conversion& rule) {
    using enum checkpoint::conversion::verb_t;
    for (const std::string_view text : rule.from) from.emplace_back(text);
    for (const std::string_view text : rule.to) to.emplace_back(text);
    const char* wrong = nullptr;
    const auto needs = [&](bool is, const char* text) {
      if (!is && wrong == nullptr) wrong = text;
    };
    const bool many_to = rule.verb == split || rule.verb == deinterleave || rule.verb == stack;
    const bool many_from = rule.verb == stack || rule.verb == concat || rule.verb == interleave;
    needs(!from.empty() && (many_from || from.size() == 1), "a name to convert from");
    needs(rule.verb == refuse ? to.empty() : !to.empty() && (many_to || to.size() == 1), "a name to convert into");
    for (const fragment& f : from) needs(!f.text().empty(), "names that are not empty");
    if (wrong == nullptr && rule.verb != refuse) {
      // A number that the names which are made do not have is what the tensors are counted by.
      for (const fragment& t : to) {
        t.check_made();
        needs(t.numbers() == to[0].numbers() && t.texts() <= from[0].texts() && t.choices() <= from[0].choices(),
              "stars and braces that were found");
      }
      const std::size_t left = from[0].numbers() - std::min(from[0].numbers(), to[0].numbers());
      counted = left == 1;
      const bool may = rule.verb == concat && from.size() == 1, must = rule.verb == stack || rule.verb == one_of;
      needs(from[0].numbers() >= to[0].numbers() && left <= 1 && (left == 0 || may || must) && (left == 1 || !must),
            "each '*' in both names, but for one that is counted by a stack");
      for (const fragment& f : from) {
        needs(f.numbers() == from[0].numbers() && f.texts() == from[0].texts() && f.choices() == from[0].choices(),
              "the same stars and braces in all names");
      }
      needs(rule.shares.count == 0 || rule.shares.count == to.size(), "a share for each name");
      needs(rule.verb != interleave || from.size() > 1, "several names to take in turns");
      needs(rule.tile != 0, "a tile of one element or more");
      needs(rule.halved <= to.size(), "no more halved names than there are");
    }
    if (wrong != nullptr) {
      raise(plan_error("the conversion of ", in_quotes(rule.from.count == 0 ? std::string_view() : rule.from.at[0]),
                       " into ", in_quotes(rule.to.count == 0 ? std::string_view() : rule.to.at[0]), " needs ", wrong));
    }
  }

  std::optional<taken_name> find(std::string_view name, const checkpoint::conversion& rule) const {
    taken_name m;
    if (!rule.within.empty()) {
      // "model.vision_tower": names under it, or under "vision_tower"; "model": all names, with or without it.
      const std::size_t dot = std::min(rule.within.find('.'), rule.within.size() - 1);
      const std::string_view below = rule.within.substr(dot + 1);
      if (under(name, rule.within)) {
        m.skipped = rule.within.size() + 1;
      } else if (!below.empty() && under(name, below)) {
        m.skipped = below.size() + 1;
      } else if (!below.empty()) {
        return std::nullopt;
      }
    }
    for (std::size_t k = 0; k < from.size(); ++k) {
      auto found = from[k].find(name.substr(m.skipped));
      if (!found) continue;
      m.place = std::move(*found);
      m.from = k;
      if (counted) m.number = m.place.numbers.back();
      return m;
    }
    return std::nullopt;
  }
  static bool under(std::string_view name, std::string_view path) {
    return name.size() > path.size() && name.starts_with(path) && name[path.size()] == '.';
  }
  // The `k`-th name that is made of a tensor.
  std::string made(const taken_name& m, std::string_view name, std::size_t k) const {
    std::string out(name.substr(0, m.skipped + m.place.begin));
    out += to[k].with(m.place);
    out += name.substr(m.skipped + m.place.end);
    return out;
  }

  std::vector<fragment> from, to;
  bool counted = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
