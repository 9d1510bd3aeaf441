// SPDX-License-Identifier: Apache-2.0
// Names of parameters and modules as the audit writes them, with stars for numbers.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "shardwise/detail/digits.hpp"
#include "shardwise/plan/rule.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The name with a star for each number: of a layer, of an expert.
inline std::string starred(std::string_view name) {
  std::string out;
  out.reserve(name.size());
  for (std::size_t begin = 0, i = 0; i <= name.size(); ++i) {
    if (i != name.size() && name[i] != '.') continue;
    if (begin != 0) out += '.';
    const std::string_view segment = name.substr(begin, i - begin);
    is_number(segment.data(), segment.size()) ? out += '*' : out += segment;
    begin = i + 1;
  }
  return out;
}
/// The last segment.
constexpr std::string_view leaf_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}
inline std::string dotted(std::string_view module, std::string_view leaf) {
  return module.empty() ? std::string(leaf) : std::string(module) + "." + std::string(leaf);
}
inline std::string pattern_text(const rule& r) {
  std::string text(length_of(r.pattern), ' ');
  write_path(r.pattern, text.data());
  return text;
}

/// Does it tell names apart that differ in their numbers only? One without a number matches all of them or none.
inline bool names_a_number(const rule& r) {
  bool any = false;
  for (std::size_t i = 0; i < r.pattern.count; ++i) {
    const segment& s = r.pattern.at[i];
    const auto look = [&any](const segment& text) { any |= is_number(text.text, text.size()); };
    if (s.kind == segment::literal) look(s);
    if (s.kind == segment::choice) each_choice(s, look);
  }
  return any;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
