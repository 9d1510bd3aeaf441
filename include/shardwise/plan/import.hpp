// SPDX-License-Identifier: Apache-2.0
// Plans made at run time of pattern and style texts, as Hugging Face writes them: {"layers.*.mlp.up_proj": "colwise"}.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
struct style_name {
  std::string_view name;
  style how;
};
// Names that the table of styles does not have: short ones with groups, and those that Hugging Face has renamed.
inline constexpr style_name other_style_names[] = {
    {"packed_colwise", packed_colwise<2>},
    {"packed_rowwise", packed_rowwise<2>},
    {"colwise_rep", colwise_gather_output},
    {"rowwise_rep", rowwise_split_input},
    {"local_colwise", colwise},
    {"local_rowwise", rowwise},
    {"local_packed_rowwise", packed_rowwise<2>},
};

// How many letters apart two words are, for "did you mean"; words over 63 letters are far from everything.
constexpr std::size_t distance(std::string_view a, std::string_view b) {
  constexpr std::size_t longest = 64;
  if (a.size() >= longest || b.size() >= longest) return longest;
  std::size_t row[longest] = {};
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      const std::size_t grown = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      row[j] = replaced < grown ? replaced : grown;
    }
  }
  return row[b.size()];
}
}  // namespace detail

/// The style that a text names: a name of the table of styles, one that Hugging Face has renamed (`colwise_rep`), or
/// `replicate(why)`. Throws `plan_error`, with the nearest name and all known ones, for any other. The reason points
/// into `text`.
inline style parse_style(std::string_view text) {
  for (const style_facts& f : style_table) {
    if (f.name == text) {
      style s;
      s.kind = f.kind;
      return s;
    }
  }
  for (const detail::style_name& n : detail::other_style_names) {
    if (n.name == text) return n.how;
  }
  constexpr std::string_view open = "replicate(";
  if (text.starts_with(open) && text.ends_with(")") && text.size() > open.size() + 1) {
    style s = replicate;
    s.reason = text.substr(open.size(), text.size() - open.size() - 1);
    return s;
  }
  std::string_view nearest;
  std::size_t best = ~std::size_t{};
  if (text == "ep_router") {
    detail::raise(
        plan_error("'ep_router' was removed by Hugging Face: the router is whole, replicate(why), and the experts "
                   "say how they are cut"));
  }
  plan_error e("unknown style '", text, "'");
  const auto consider = [&](std::string_view name) {
    const std::size_t d = detail::distance(text, name);
    if (d < best) {
      best = d;
      nearest = name;
    }
  };
  for (const style_facts& f : style_table) consider(f.name);
  for (const detail::style_name& n : detail::other_style_names) consider(n.name);
  if (best <= 4) {
    e.append(std::string_view("; did you mean '"));
    e.append(nearest);
    e.append(std::string_view("'?"));
  }
  e.append(std::string_view(best <= 4 ? " Known styles: replicate(why)" : "; known styles: replicate(why)"));
  for (const style_facts& f : style_table) {
    e.append(std::string_view(", "));
    e.append(f.name);
  }
  e.append(std::string_view(", packed_colwise, packed_rowwise"));
  detail::raise(e);
}

/// A plan that owns its rules. Rows are cut as Hugging Face cuts; a pattern that holds `**` or `{` is matched by our
/// rules, every other by Hugging Face's, where `*` stands for a number between dots.
class imported_plan {
 public:
  /// Adds a row. Throws `plan_error` for an unknown style, a malformed pattern, or a pattern that is there with another
  /// style.
  imported_plan& add(std::string_view pattern, std::string_view style_text) {
    const bool ours = pattern.find("**") != std::string_view::npos || pattern.find('{') != std::string_view::npos;
    rule r(texts_.keep(pattern), parse_style(texts_.keep(style_text)),
           ours ? dialect::shardwise : dialect::hugging_face);
    r.how.divided = division::chunk;
    for (const rule& known : rules_) {
      if (!known.same_pattern(r)) continue;
      detail::same_pattern_needs_same_style(r.text, known, r);
      return *this;
    }
    rules_.push(r);
    return *this;
  }

  std::size_t size() const { return rules_.size(); }
  operator plan_view() const { return {rules_.data(), rules_.size()}; }

 private:
  detail::text_store texts_;
  detail::list<rule> rules_;
};

}  // namespace v0
}  // namespace shardwise
