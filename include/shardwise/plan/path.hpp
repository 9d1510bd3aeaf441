// SPDX-License-Identifier: Apache-2.0
// Dotted names and patterns, split once into segments. Segments point into the text that they were split from.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "shardwise/detail/digits.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {

inline constexpr std::size_t max_segments = 12;
inline constexpr std::size_t max_segment_bytes = 255;

namespace detail {

// Refusals. Called in a constant expression, the name of the function is the compiler's message; at run time it throws.
[[noreturn]] inline void a_path_has_more_than_12_segments(std::string_view path) {
  raise(plan_error("the name '", path, "' has more than ", max_segments,
                   " segments, which is the most that a path may have"));
}
[[noreturn]] inline void a_segment_is_longer_than_255_bytes(std::string_view path) {
  raise(plan_error("the name '", path, "' has a segment of more than ", max_segment_bytes, " bytes"));
}

// Segments are short: two loads that overlap are less than a call.
template <class Word>
bool same_ends(const char* a, const char* b, std::size_t n) {
  Word first_a, first_b, last_a, last_b;
  __builtin_memcpy(&first_a, a, sizeof(Word));
  __builtin_memcpy(&first_b, b, sizeof(Word));
  __builtin_memcpy(&last_a, a + n - sizeof(Word), sizeof(Word));
  __builtin_memcpy(&last_b, b + n - sizeof(Word), sizeof(Word));
  return ((first_a ^ first_b) | (last_a ^ last_b)) == 0;
}
constexpr bool same_bytes(const char* a, const char* b, std::size_t n) {
  if (!std::is_constant_evaluated()) {
    if (n > 16) return __builtin_memcmp(a, b, n) == 0;
    if (n >= 8) return same_ends<std::uint64_t>(a, b, n);
    if (n >= 4) return same_ends<std::uint32_t>(a, b, n);
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

/// One segment of a dotted name or pattern.
struct segment {
  enum kind_t : std::uint8_t { literal, star, deep, choice };  // `a`  `*`  `**`  `a{b,c}d`
  const char* text = "";
  std::uint32_t key = 0;  // what two names differ in first: length, first, last and middle byte
  kind_t kind = literal;
  bool number = false;  // Hugging Face writes a star for it

  constexpr segment() = default;
  constexpr segment(const char* s, std::size_t n) : text(s), key(make_key(s, n)) {}
  constexpr std::size_t size() const { return key & 0xff; }
  constexpr std::string_view view() const { return {text, size()}; }
  constexpr bool is_star() const { return size() == 1 && text[0] == '*'; }

  static constexpr std::uint32_t make_key(const char* s, std::size_t n) {
    if (n == 0) return 0;
    const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(s[i])); };
    return static_cast<std::uint32_t>(n) | byte(0) << 8 | byte(n - 1) << 16 | byte(n / 2) << 24;
  }
};
constexpr bool same(const segment& a, const segment& b) {
  return a.key == b.key && same_bytes(a.text, b.text, a.size());
}

struct segments {
  segment at[max_segments]{};
  std::size_t count = 0;

  constexpr void push(const segment& s, std::string_view path) {
    if (count == max_segments) a_path_has_more_than_12_segments(path);
    at[count++] = s;
  }
  constexpr void push_all(const segments& tail, std::string_view path) {
    for (std::size_t i = 0; i < tail.count; ++i) push(tail.at[i], path);
  }
};

/// Appends the segments of `text`. "" has none.
constexpr void split(std::string_view text, segments& out) {
  const char* s = text.data();
  const std::size_t n = text.size();
  if (n == 0) return;
  for (std::size_t begin = 0, i = 0; i <= n; ++i) {
    if (i < n && s[i] != '.') continue;
    if (i - begin > max_segment_bytes) a_segment_is_longer_than_255_bytes(text);
    out.push({s + begin, i - begin}, text);
    begin = i + 1;
  }
}

/// Marks the numbers that Hugging Face replaces by a star: `re.sub(r"\.\d+(\.|$)", …)` eats the closing dot, so that of
/// two numbers in a row only the first is starred, and a leading number stays.
constexpr void mark_numbers(segments& path) {
  bool dot_eaten = true;
  for (std::size_t i = 0; i < path.count; ++i) {
    segment& s = path.at[i];
    s.number = !dot_eaten && is_number(s.text, s.size());
    dot_eaten = s.number;
  }
}

/// The segments of a name, as both kinds of matching read it.
constexpr segments split_name(std::string_view name) {
  segments s;
  split(name, s);
  mark_numbers(s);
  return s;
}

/// The name of what owns it; "" for a name without a dot.
constexpr std::string_view module_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

/// Is this the bias of a module?
constexpr bool is_bias(std::string_view name) { return name == "bias" || name.ends_with(".bias"); }

/// The length of the dotted text of `s`, and its bytes into `out`.
constexpr std::size_t length_of(const segments& s) {
  std::size_t n = s.count == 0 ? 0 : s.count - 1;
  for (std::size_t i = 0; i < s.count; ++i) n += s.at[i].size();
  return n;
}
constexpr void write_path(const segments& s, char* out) {
  for (std::size_t i = 0; i < s.count; ++i) {
    if (i != 0) *out++ = '.';
    for (char c : s.at[i].view()) *out++ = c;
  }
}
/// The dotted text of a path, for as long as this lives.
class joined_path {
 public:
  explicit joined_path(const segments& s) : size_(length_of(s)) { write_path(s, text_); }
  std::string_view view() const { return {text_, size_}; }

 private:
  char text_[max_segments * (max_segment_bytes + 1)];
  std::size_t size_;
};

/// For errors: the dotted text of a path is appended.
inline void append_path(error& e, const segments& s) {
  for (std::size_t i = 0; i < s.count; ++i) {
    if (i != 0) e.append(std::string_view("."));
    e.append(s.at[i].view());
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
