// SPDX-License-Identifier: Apache-2.0
#include "shardwise/model/half.hpp"

#include <cmath>
#include <cstdint>
#include <limits>

#include "catch.hpp"

using shardwise::detail::from_bf16;
using shardwise::detail::from_f16;
using shardwise::detail::to_bf16;
using shardwise::detail::to_f16;

static_assert(to_bf16(1.0f) == 0x3f80 && from_bf16(0x3f80) == 1.0f);
static_assert(to_f16(1.0f) == 0x3c00 && from_f16(0x3c00) == 1.0f);
static_assert(from_f16(0x7bff) == 65504.0f && from_f16(0x0001) == 0x1p-24f && from_f16(0x8400) == -0x1p-14f);

namespace {

constexpr std::uint16_t step(std::uint16_t bits) { return static_cast<std::uint16_t>(bits + 1); }

// Rounding from first principles: between two neighbours the nearer one, at the middle the even one.
template <class To, class From>
void check_rounding(To to, From from, std::uint16_t largest) {
  std::size_t wrong = 0;
  for (std::uint16_t low = 0; low < largest; ++low) {
    const float a = from(low), b = from(step(low));
    const auto middle = static_cast<float>((static_cast<double>(a) + static_cast<double>(b)) / 2);
    const std::uint16_t even = low % 2 == 0 ? low : step(low);
    wrong += to(a) != low;
    wrong += to(middle) != even;
    wrong += to(std::nextafterf(middle, 0.0f)) != low;
    wrong += to(std::nextafterf(middle, b)) != step(low);
    wrong += to(-a) != (low | 0x8000);
    wrong += to(-std::nextafterf(middle, b)) != (step(low) | 0x8000);
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("every f16 and what lies between two of them rounds to nearest, ties to even") {
  check_rounding(to_f16, from_f16, 0x7bff);
}

TEST_CASE("every bf16 and what lies between two of them rounds to nearest, ties to even") {
  check_rounding(to_bf16, from_bf16, 0x7f7f);
}

TEST_CASE("what is too large for 16 bits becomes infinite, and what is too small zero") {
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(to_f16(65519.996f) == 0x7bff);
  CHECK(to_f16(65520.0f) == 0x7c00);
  CHECK(to_f16(1e30f) == 0x7c00);
  CHECK(to_f16(-infinity) == 0xfc00);
  CHECK(from_f16(0xfc00) == -infinity);
  CHECK(to_f16(0x1p-25f) == 0);
  CHECK(to_f16(std::nextafterf(0x1p-25f, 1.0f)) == 1);
  CHECK(to_f16(-1e-30f) == 0x8000);
  CHECK(to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(to_bf16(-infinity) == 0xff80);
  CHECK(from_bf16(0x7f80) == infinity);
}

TEST_CASE("a NaN stays a NaN, with any payload") {
  for (std::uint32_t payload : {1u, 0x1000u, 0x1fffu, 0x7fffffu}) {
    for (std::uint32_t sign : {0u, 0x80000000u}) {
      const float nan = __builtin_bit_cast(float, sign | 0x7f800000u | payload);
      CHECK(std::isnan(from_f16(to_f16(nan))));
      CHECK(std::isnan(from_bf16(to_bf16(nan))));
    }
  }
  CHECK(std::isnan(from_f16(0x7c01)));
  CHECK(std::isnan(from_bf16(0xff81)));
}
