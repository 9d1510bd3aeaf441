// SPDX-License-Identifier: Apache-2.0
// Lists of words in one text, separated by blanks.
#pragma once
#include <cstddef>
#include <string_view>

namespace shardwise {
inline namespace v0 {
namespace detail {

/// f(word) for each word of the list.
template <class F>
constexpr void for_words(std::string_view words, F f) {
  while (!words.empty()) {
    const std::size_t blank = words.find(' ');
    f(words.substr(0, blank));
    words.remove_prefix(blank == std::string_view::npos ? words.size() : blank + 1);
  }
}
constexpr bool has_word(std::string_view words, std::string_view word) {
  bool has = false;
  for_words(words, [&](std::string_view w) { has |= w == word; });
  return has;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
