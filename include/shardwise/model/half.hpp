// SPDX-License-Identifier: Apache-2.0
// The two 16-bit floats as bits, to and from float.
#pragma once
#include <cstdint>

namespace shardwise {
inline namespace v0 {
namespace detail {

// To 16 bits every function rounds to nearest, ties to even; what is too large becomes infinite, and a NaN stays a
// (quiet) NaN. From 16 bits all values are exact.

constexpr float from_bf16(std::uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}

constexpr std::uint16_t to_bf16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

constexpr float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return __builtin_bit_cast(float, sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {  // zero, or subnormal: a multiple of 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return __builtin_bit_cast(float, sign | (exponent + 112) << 23 | fraction << 13);
}

constexpr std::uint16_t to_f16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const auto with_sign = [&](std::uint32_t half) { return static_cast<std::uint16_t>(sign | half); };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00u | (magnitude >> 13 & 0x3ffu));
  if (magnitude >= 0x477ff000u) return with_sign(0x7c00u);  // from 65520 on, halfway to what does not exist
  if (magnitude <= 0x33000000u) return sign;                // up to 2^-25, half of the smallest
  std::uint32_t kept = 0, rest = 0, half_way = 0;
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in steps of 2^-24
    const std::uint32_t shift = 126 - (magnitude >> 23);
    const std::uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
    kept = fraction >> shift;
    rest = fraction & ((1u << shift) - 1);
    half_way = 1u << (shift - 1);
  } else {
    const std::uint32_t rebiased = magnitude - (112u << 23);
    kept = rebiased >> 13;
    rest = rebiased & 0x1fffu;
    half_way = 0x1000u;
  }
  if (rest > half_way || (rest == half_way && (kept & 1u) != 0)) ++kept;  // may carry into the exponent, rightly
  return with_sign(kept);
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
