// SPDX-License-Identifier: Apache-2.0
// A path as a template argument that each compiler prints readably: g++ prints a string argument as text, clang and
// nvcc print it as numbers, and print a pack of characters as characters.
#pragma once
#include <cstddef>
#include <utility>

#include "shardwise/detail/fixed_string.hpp"
#include "shardwise/model/schema.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
template <std::size_t N>
consteval fixed_string<N> text_of(const segments& s) {
  fixed_string<N> t;
  write_path(s, t.chars);
  return t;
}
}  // namespace detail

#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)

template <fixed_string Path>
struct parameter;
template <fixed_string Path>
struct pattern;

namespace detail {
template <class Model, std::size_t I>
using parameter_named = parameter<text_of<length_of(schema<Model>.path(I))>(schema<Model>.path(I))>;
template <const auto& Plan, std::size_t I>
using pattern_named = pattern<text_of<length_of(Plan.rules[I].pattern)>(Plan.rules[I].pattern)>;
}  // namespace detail

#else

template <char...>
struct parameter;
template <char...>
struct pattern;

namespace detail {
template <class Model, std::size_t I>
struct parameter_at {
  static constexpr auto text = text_of<length_of(schema<Model>.path(I))>(schema<Model>.path(I));
  template <std::size_t... K>
  static auto spell(std::index_sequence<K...>) -> parameter<text.chars[K]...>;
  using type = decltype(spell(std::make_index_sequence<sizeof(text.chars) - 1>{}));
};
template <const auto& Plan, std::size_t I>
struct pattern_at {
  static constexpr auto text = text_of<length_of(Plan.rules[I].pattern)>(Plan.rules[I].pattern);
  template <std::size_t... K>
  static auto spell(std::index_sequence<K...>) -> pattern<text.chars[K]...>;
  using type = decltype(spell(std::make_index_sequence<sizeof(text.chars) - 1>{}));
};
template <class Model, std::size_t I>
using parameter_named = typename parameter_at<Model, I>::type;
template <const auto& Plan, std::size_t I>
using pattern_named = typename pattern_at<Plan, I>::type;
}  // namespace detail

#endif

}  // namespace v0
}  // namespace shardwise
