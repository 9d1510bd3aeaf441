// SPDX-License-Identifier: Apache-2.0
// Reductions over the ranks' buffers on the host, in rank order: the same bits on every rank and in every run.
#pragma once
#include <algorithm>
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

template <class Element, reduction Op, class Source>
void reduce_elements(int ranks, const Source& source, std::size_t count, std::byte* to) noexcept {
  using stored = typename Element::stored;
  using accumulated = typename Element::accumulated;
  constexpr std::size_t block = 512;
  accumulated result[block];
  const auto load = [](const std::byte* at) {  // buffers need not be aligned
    stored x;
    std::memcpy(&x, at, sizeof x);
    return Element::load(x);
  };
  for (std::size_t begin = 0; begin < count; begin += block) {
    const std::size_t n = std::min(block, count - begin);
    // A block is read from every rank before it is written, so that `to` may be one of them.
    const std::byte* first = source(0) + begin * sizeof(stored);
    for (std::size_t i = 0; i < n; ++i) result[i] = load(first + i * sizeof(stored));
    for (int r = 1; r < ranks; ++r) {
      const std::byte* next = source(r) + begin * sizeof(stored);
      for (std::size_t i = 0; i < n; ++i) {
        const accumulated x = load(next + i * sizeof(stored));
        result[i] = Op == reduction::sum ? add(result[i], x) : larger(result[i], x);
      }
    }
    std::byte* out = to + begin * sizeof(stored);
    for (std::size_t i = 0; i < n; ++i) {
      const stored x = Element::store(result[i]);
      std::memcpy(out + i * sizeof x, &x, sizeof x);
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
