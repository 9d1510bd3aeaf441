// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string_view>

namespace shardwise {
inline namespace v0 {

/// A string as a template argument. Read it as a member; never deduce through it: nvcc 13 cannot.
template <std::size_t N>
struct fixed_string {
  char chars[N + 1] = {};
  constexpr fixed_string() = default;
  consteval fixed_string(const char (&s)[N + 1]) {
    for (std::size_t i = 0; i < N; ++i) chars[i] = s[i];
  }
  consteval explicit fixed_string(std::string_view s) {
    for (std::size_t i = 0; i < N; ++i) chars[i] = s[i];
  }
  constexpr std::string_view view() const { return {chars, N}; }
};
template <std::size_t N>
fixed_string(const char (&)[N]) -> fixed_string<N - 1>;

}  // namespace v0
}  // namespace shardwise
