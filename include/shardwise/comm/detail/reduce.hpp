// SPDX-License-Identifier: Apache-2.0
// Reductions over the ranks' buffers on the host, in rank order: the same bits on every rank and in every run.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "shardwise/model/dtype.hpp"
#include "shardwise/model/half.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

constexpr bool can_reduce(dtype type) {
  switch (type) {
    case dtype::f64:
    case dtype::f32:
    case dtype::f16:
    case dtype::bf16:
    case dtype::i64:
    case dtype::i32:
    case dtype::u8: return true;
    default: return false;
  }
}

// How an element is stored, and in what it is accumulated.
template <class T>
struct plain_element {
  using stored = T;
  using accumulated = T;
  static constexpr T load(T x) { return x; }
  static constexpr T store(T x) { return x; }
};
struct f16_element {
  using stored = std::uint16_t;
  using accumulated = float;
  static constexpr float load(std::uint16_t x) { return from_f16(x); }
  static constexpr std::uint16_t store(float x) { return to_f16(x); }
};
struct bf16_element {
  using stored = std::uint16_t;
  using accumulated = float;
  static constexpr float load(std::uint16_t x) { return from_bf16(x); }
  static constexpr std::uint16_t store(float x) { return to_bf16(x); }
};

// Integers wrap around.
template <class T>
constexpr T add(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using bits = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<bits>(static_cast<bits>(a) + static_cast<bits>(b)));
  } else {
    return a + b;
  }
}
// A NaN wins, so that no rank's is lost.
template <class T>
constexpr T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a != a || a >= b ? a : b;
  } else {
    return a >= b ? a : b;
  }
}

// `source(r)`: rank r's elements. They are all read before `to` is written, so that `to` may be one of them. `Count` is
// a constant where it can be: g++ -O2 makes vector instructions of nothing else.
template <class Element, reduction Op, std::size_t Capacity, class Source, class Count>
void reduce_block(int ranks, const Source& source, Count count, std::byte* to) noexcept {
  using stored = typename Element::stored;
  const auto load = [](const std::byte* from, std::size_t i) {  // buffers need not be aligned
    stored x;
    std::memcpy(&x, from + i * sizeof x, sizeof x);
    return Element::load(x);
  };
  typename Element::accumulated result[Capacity];
  const std::byte* first = source(0);
  for (std::size_t i = 0; i < count; ++i) result[i] = load(first, i);
  for (int r = 1; r < ranks; ++r) {
    const std::byte* next = source(r);
    for (std::size_t i = 0; i < count; ++i) {
      result[i] = Op == reduction::sum ? add(result[i], load(next, i)) : larger(result[i], load(next, i));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const stored x = Element::store(result[i]);
    std::memcpy(to + i * sizeof x, &x, sizeof x);
  }
}

template <class Element, reduction Op, class Source>
void reduce_elements(int ranks, const Source& source, std::size_t count, std::byte* to) noexcept {
  constexpr std::size_t block = 512, bytes = sizeof(typename Element::stored);
  using whole_block = std::integral_constant<std::size_t, block>;
  for (std::size_t begin = 0; begin < count; begin += block) {
    const auto here = [&](int r) { return source(r) + begin * bytes; };
    if (count - begin >= block) {
      reduce_block<Element, Op, block>(ranks, here, whole_block{}, to + begin * bytes);
    } else {
      reduce_block<Element, Op, block>(ranks, here, count - begin, to + begin * bytes);
    }
  }
}

template <class Element, class Source>
void reduce_elements(int ranks, const Source& source, std::size_t count, reduction op, std::byte* to) noexcept {
  if (op == reduction::sum) return reduce_elements<Element, reduction::sum>(ranks, source, count, to);
  return reduce_elements<Element, reduction::max>(ranks, source, count, to);
}

/// `to` [count] becomes ((source(0) op source(1)) op source(2)) ..., where `source(r)` points to rank r's [count].
/// 16-bit floats are accumulated in float and rounded once. `type` is one that `can_reduce`.
template <class Source>
void reduce(int ranks, const Source& source, std::size_t count, dtype type, reduction op, std::byte* to) noexcept {
  switch (type) {
    case dtype::f64: return reduce_elements<plain_element<double>>(ranks, source, count, op, to);
    case dtype::f32: return reduce_elements<plain_element<float>>(ranks, source, count, op, to);
    case dtype::f16: return reduce_elements<f16_element>(ranks, source, count, op, to);
    case dtype::bf16: return reduce_elements<bf16_element>(ranks, source, count, op, to);
    case dtype::i64: return reduce_elements<plain_element<std::int64_t>>(ranks, source, count, op, to);
    case dtype::i32: return reduce_elements<plain_element<std::int32_t>>(ranks, source, count, op, to);
    case dtype::u8: return reduce_elements<plain_element<std::uint8_t>>(ranks, source, count, op, to);
    default: return;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
