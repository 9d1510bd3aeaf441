// SPDX-License-Identifier: Apache-2.0
// An id and its logit as one number, of which the larger one is the better.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include "shardwise/model/dtype.hpp"
#include "shardwise/model/half.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// 0 is no id. Not for a NaN. -0 becomes +0.
using logits_key = std::uint64_t;

constexpr logits_key key_of(float logit, std::uint32_t id) {
  const auto bits = std::bit_cast<std::uint32_t>(logit + 0.0f);
  const std::uint32_t order = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return std::uint64_t{order} << 32 | (0xffffffffu - id);
}
constexpr std::uint32_t id_of(logits_key key) { return 0xffffffffu - static_cast<std::uint32_t>(key); }
constexpr float logit_of(logits_key key) {
  const auto order = static_cast<std::uint32_t>(key >> 32);
  return std::bit_cast<float>((order & 0x80000000u) != 0 ? order & 0x7fffffffu : ~order);
}

/// Element `i` of a row of logits.
template <dtype Type>
float logit_at(const std::byte* row, std::size_t i) {
  if constexpr (Type == dtype::f32) {
    float x;
    __builtin_memcpy(&x, row + i * sizeof x, sizeof x);
    return x;
  } else {
    std::uint16_t bits;
    __builtin_memcpy(&bits, row + i * sizeof bits, sizeof bits);
    return Type == dtype::bf16 ? from_bf16(bits) : from_f16(bits);
  }
}
template <dtype Type>
void read_logits(const std::byte* row, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = logit_at<Type>(row, i);
}
constexpr bool can_be_logits(dtype type) { return type == dtype::f32 || type == dtype::bf16 || type == dtype::f16; }
inline void read_logits(dtype type, const std::byte* row, std::size_t n, float* out) {
  if (type == dtype::f32) return read_logits<dtype::f32>(row, n, out);
  if (type == dtype::bf16) return read_logits<dtype::bf16>(row, n, out);
  read_logits<dtype::f16>(row, n, out);
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
