// SPDX-License-Identifier: Apache-2.0
// How errors of checkpoints spell names, shapes and lists out of files that nobody has vouched for.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "shardwise/model/shape.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A name in quotes: control characters become '?', and what is longer than 200 bytes is clipped.
inline std::string in_quotes(std::string_view name) {
  constexpr std::size_t most = 200;
  std::string text = "'";
  for (char c : name.substr(0, most)) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  text += name.size() > most ? "...'" : "'";
  return text;
}

/// "[2, 3]"
inline std::string shape_text(const tensor_shape& s) {
  std::string text = "[";
  for (std::size_t d = 0; d < s.dims(); ++d) {
    if (d != 0) text += ", ";
    text += std::to_string(s[d]);
  }
  return text + ']';
}

/// "'a', 'b' and 3 more": up to eight are named.
inline std::string name_list(std::span<const std::string_view> names) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) {
    if (i != 0) text += ", ";
    text += in_quotes(names[i]);
  }
  if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  return text;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
