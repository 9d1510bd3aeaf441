// SPDX-License-Identifier: Apache-2.0
// Text and numbers in SVG and HTML.
#pragma once
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>

#include "shardwise/detail/json_writer.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// `text` between tags or in a quoted attribute: names in files are nobody's promise.
inline std::string xml_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    const char c = text[0];
    if (n == 0 || (n == 1 && static_cast<unsigned char>(c) < 0x20)) {
      out += "\xef\xbf\xbd";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

/// A coordinate, to a hundredth, in whatever locale the program runs.
inline std::string coordinate(double x) {
  char digits[40];
  const auto done = std::to_chars(digits, digits + sizeof digits, x, std::chars_format::fixed, 2);
  std::string out(digits, done.ptr);
  while (out.back() == '0') out.pop_back();
  if (out.back() == '.') out.pop_back();
  return out == "-0" ? "0" : out;
}

/// The end of a name that is longer than `most`, from a dot on: "...mlp.down_proj".
inline std::string clipped(std::string_view name, std::size_t most) {
  if (name.size() <= most || most < 2) return std::string(name);
  std::string_view tail = name.substr(name.size() - (most - 1));
  if (const std::size_t dot = tail.find('.'); dot != std::string_view::npos && dot + 1 < tail.size() / 2) {
    tail.remove_prefix(dot + 1);
  }
  while (!tail.empty() && (static_cast<unsigned char>(tail[0]) & 0xc0) == 0x80) tail.remove_prefix(1);
  return "\xe2\x80\xa6" + std::string(tail);
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
