// SPDX-License-Identifier: Apache-2.0
// The one writer of JSON: of the audit's reports, of the tool's answers, of exported plans.
#pragma once
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace shardwise {
inline namespace v0 {
namespace detail {

/// How many bytes the UTF-8 character at the start of `text` has; 0 where there is none that is valid.
constexpr std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Longer than need be, half of a pair of UTF-16, beyond the last character.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
  return n;
}

/// Writes one JSON text, without blanks: `w.begin_object().member("tp", 8).key("ranks").begin_array()...`. The caller
/// ends what he begins, and gives each member of an object a key; commas and escapes are the writer's. The text is
/// valid whatever the strings hold: what is no UTF-8 in them is written as U+FFFD. Numbers are read back as the same
/// value; one that is not finite is null.
class json_writer {
 public:
  json_writer& begin_object() { return begin('{'); }
  json_writer& end_object() { return end('}'); }
  json_writer& begin_array() { return begin('['); }
  json_writer& end_array() { return end(']'); }

  json_writer& key(std::string_view name) {
    separate();
    quoted(name);
    text_ += ':';
    separated_ = true;
    return *this;
  }
  json_writer& value(std::string_view s) {
    separate();
    quoted(s);
    return *this;
  }
  json_writer& value(const char* s) { return value(std::string_view(s)); }
  json_writer& value(const std::string& s) { return value(std::string_view(s)); }
  json_writer& value(bool b) { return word(b ? "true" : "false"); }
  json_writer& value(std::integral auto n) {
    char digits[24];
    const auto done = std::to_chars(digits, digits + sizeof digits, n);
    return word({digits, static_cast<std::size_t>(done.ptr - digits)});
  }
  json_writer& value(double x) {
    if (!std::isfinite(x)) return null();
    char digits[40];
    const auto done = std::to_chars(digits, digits + sizeof digits, x);
    return word({digits, static_cast<std::size_t>(done.ptr - digits)});
  }
  json_writer& null() { return word("null"); }
  /// A value that is JSON already: another writer's text.
  json_writer& raw(std::string_view json) { return word(json); }

  /// A member of an object.
  template <class Value>
  json_writer& member(std::string_view name, const Value& v) {
    return key(name).value(v);
  }

  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  json_writer& begin(char bracket) {
    separate();
    text_ += bracket;
    separated_ = true;
    return *this;
  }
  json_writer& end(char bracket) {
    text_ += bracket;
    separated_ = false;
    return *this;
  }
  json_writer& word(std::string_view s) {
    separate();
    text_ += s;
    return *this;
  }
  void separate() {
    if (!separated_) text_ += ',';
    separated_ = false;
  }
  void quoted(std::string_view s) {
    constexpr std::string_view hex = "0123456789abcdef";
    text_ += '"';
    while (!s.empty()) {
      const std::size_t n = utf8_length(s);
      const auto c = static_cast<unsigned char>(s[0]);
      if (n == 0) {
        text_ += "\xef\xbf\xbd";
      } else if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += s[0];
      } else if (c == '\n') {
        text_ += "\\n";
      } else if (c < 0x20 || c == 0x7f) {
        text_ += "\\u00";
        text_ += hex[c / 16];
        text_ += hex[c % 16];
      } else {
        text_ += s.substr(0, n);
      }
      s.remove_prefix(n == 0 ? 1 : n);
    }
    text_ += '"';
  }

  std::string text_;
  bool separated_ = true;  // nothing stands before the next value that a comma would part it from
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
