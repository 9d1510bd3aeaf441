// SPDX-License-Identifier: Apache-2.0
// Rules one after the other, as values that are put together: `experts + rules({rename("a", "b")})`.
#pragma once
#include <cstddef>

#include "shardwise/checkpoint/conversion.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// Rules in the order in which they are applied, each to what the one before left. A contiguous range, as
/// `std::span<const conversion>` takes it.
template <std::size_t N>
struct conversion_list {
  conversion at[N]{};
  constexpr const conversion* begin() const { return at; }
  constexpr const conversion* end() const { return at + N; }
  constexpr std::size_t size() const { return N; }
};

template <std::size_t N, std::size_t M>
constexpr conversion_list<N + M> operator+(const conversion_list<N>& a, const conversion_list<M>& b) {
  conversion_list<N + M> sum;
  for (std::size_t i = 0; i < N; ++i) sum.at[i] = a.at[i];
  for (std::size_t i = 0; i < M; ++i) sum.at[N + i] = b.at[i];
  return sum;
}

namespace convert {
template <std::size_t N>
constexpr conversion_list<N> rules(const conversion (&all)[N]) {
  conversion_list<N> list;
  for (std::size_t i = 0; i < N; ++i) list.at[i] = all[i];
  return list;
}
}  // namespace convert

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
