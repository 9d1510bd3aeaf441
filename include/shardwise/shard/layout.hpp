// SPDX-License-Identifier: Apache-2.0
// What the dims of an engine's parameters are made of. A plan says where to cut; a layout says what may not be cut in
// two.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/match/match.hpp"

namespace shardwise {
inline namespace v0 {

/// The output features of a weight are dim n-2 (dim 0 of a vector), the input features the last dim.
enum class feature_axis : std::uint8_t { out, in };

/// What one axis of a parameter is made of: `out_features.groups(2)`, `in_features.units("num_attention_heads")`.
struct feature_layout {
  feature_axis axis;
  style made_of = colwise;  // of a style only the groups and the unit

  /// This many groups laid side by side: gate|up is 2, q|k|v is 3.
  constexpr feature_layout groups(int n) const { return {axis, made_of.groups(n)}; }
  /// Groups of unequal size: heads(...) for each. See `style::groups`.
  template <class... Groups>
  constexpr feature_layout groups(const feature_group& first, const feature_group& second,
                                  const Groups&... rest) const {
    return {axis, made_of.groups(first, second, rest...)};
  }
  constexpr feature_layout interleaved() const { return {axis, made_of.interleaved()}; }
  /// As many equal units (in each group) as this field of the config says: whole heads.
  constexpr feature_layout units(const char* config_field) const { return {axis, made_of.units(config_field)}; }
};
inline constexpr feature_layout out_features{feature_axis::out};
inline constexpr feature_layout in_features{feature_axis::in};

struct layout_row {
  rule named{};
  feature_axis axis = feature_axis::out;
  constexpr layout_row() = default;
  constexpr layout_row(const char* pattern, const feature_layout& l) : named(pattern, l.made_of), axis(l.axis) {}
};

/// Any layout, seen without its size.
class layout_view {
 public:
  constexpr layout_view() = default;
  constexpr layout_view(const layout_row* first, std::size_t count) : first_(first), count_(count) {}
  constexpr const layout_row* begin() const { return first_; }
  constexpr const layout_row* end() const { return first_ + count_; }
  constexpr bool empty() const { return count_ == 0; }

  /// What `axis` of the parameter at `path` is made of: the most literal row wins; without one, single elements in one
  /// group.
  constexpr style of(const detail::segments& path, feature_axis axis) const {
    style found{};
    int best = -1;
    for (const layout_row& row : *this) {
      if (row.axis != axis) continue;
      const match_level at = detail::matches_parameter(row.named, path);
      if (at == match_level::none || detail::score_of(row.named, at) <= best) continue;
      best = detail::score_of(row.named, at);
      found = row.named.how;
    }
    return found;
  }

 private:
  const layout_row* first_ = nullptr;
  std::size_t count_ = 0;
};

/// `layout({{"**.self_attn.{k,v}_proj", out_features.units("num_key_value_heads")}, ...})`: an engine says it once, and
/// gives it to `shard` with every plan. Where a plan leaves such an axis cut, its units are dealt whole or the plan is
/// refused, and its groups must be the plan's.
template <std::size_t N>
struct layout {
  layout_row rows[N]{};
  constexpr layout(const layout_row (&r)[N]) {
    for (std::size_t i = 0; i < N; ++i) rows[i] = r[i];
  }
  constexpr operator layout_view() const { return {rows, N}; }
};
template <std::size_t N>
layout(const layout_row (&)[N]) -> layout<N>;

}  // namespace v0
}  // namespace shardwise
