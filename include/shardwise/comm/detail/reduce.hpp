// SPDX-License-Identifier: Apache-2.0
// Sums and maxima over ranks, in rank order: the same bits on every rank and on every run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "shardwise/error.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/model/half.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

// How an element type is stored, and the type in which it is reduced. Buffers may be unaligned.
template <class T>
struct plain_element {
  using value = T;
  static constexpr std::size_t bytes = sizeof(T);
  static T load(const std::byte* at) {
    T v;
    std::memcpy(&v, at, sizeof v);
    return v;
  }
  static void store(std::byte* at, T v) { std::memcpy(at, &v, sizeof v); }
};
// 16-bit floats are added as float and rounded once, at the end.
template <float (*From)(std::uint16_t), std::uint16_t (*To)(float)>
struct half_element {
  using value = float;
  static constexpr std::size_t bytes = 2;
  static float load(const std::byte* at) { return From(plain_element<std::uint16_t>::load(at)); }
  static void store(std::byte* at, float v) { plain_element<std::uint16_t>::store(at, To(v)); }
};

template <class T>
T add(T a, T b) {
  if constexpr (std::is_integral_v<T>) {  // wraps around, as on a GPU
    using bits = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<bits>(static_cast<bits>(a) + static_cast<bits>(b)));
  } else {
    return a + b;
  }
}
// A NaN on any rank is the maximum: it must not vanish.
template <class T>
T larger(T a, T b) {
  if constexpr (!std::is_integral_v<T>) {
    if (a != a) return a;
    if (b != b) return b;
  }
  return a < b ? b : a;
}

template <class Element>
void reduce_elements(std::span<const std::byte* const> sends, std::size_t first, std::size_t count, reduction op,
                     std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = (first + i) * Element::bytes;
    auto value = Element::load(sends[0] + at);
    for (std::size_t r = 1; r < sends.size(); ++r) {
      const auto next = Element::load(sends[r] + at);
      value = op == reduction::sum ? add(value, next) : larger(value, next);
    }
    Element::store(to + i * Element::bytes, value);
  }
}

constexpr bool can_reduce(dtype t) {
  return t == dtype::f64 || t == dtype::f32 || t == dtype::f16 || t == dtype::bf16 || t == dtype::i64 ||
         t == dtype::i32 || t == dtype::u8;
}

/// Elements [first, first + count) of the reduction of all ranks' `sends`, into `to` [count].
inline void reduce(std::span<const std::byte* const> sends, std::size_t first, std::size_t count, dtype type,
                   reduction op, std::byte* to) {
  switch (type) {
    case dtype::f64: return reduce_elements<plain_element<double>>(sends, first, count, op, to);
    case dtype::f32: return reduce_elements<plain_element<float>>(sends, first, count, op, to);
    case dtype::f16: return reduce_elements<half_element<from_f16, to_f16>>(sends, first, count, op, to);
    case dtype::bf16: return reduce_elements<half_element<from_bf16, to_bf16>>(sends, first, count, op, to);
    case dtype::i64: return reduce_elements<plain_element<std::int64_t>>(sends, first, count, op, to);
    case dtype::i32: return reduce_elements<plain_element<std::int32_t>>(sends, first, count, op, to);
    case dtype::u8: return reduce_elements<plain_element<std::uint8_t>>(sends, first, count, op, to);
    default:
      raise(comm_error("elements of type ", name_of(type),
                       " cannot be reduced; f64, f32, f16, bf16, i64, i32 and u8 can"));
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
