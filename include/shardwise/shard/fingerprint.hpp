// SPDX-License-Identifier: Apache-2.0
// A hash that is the same on every machine.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shardwise {
inline namespace v0 {

/// FNV-1a of 128 bits over the bytes of what is appended: strings and characters as they are, integers in decimal.
/// Finds what differs by mistake; it is no defence against who wants two to be alike.
class fingerprint {
 public:
  constexpr void append(std::string_view text) {
    for (const char c : text) append(c);
  }
  constexpr void append(char c) {
    low_ ^= static_cast<unsigned char>(c);
    times_prime();
  }
  template <std::unsigned_integral N>
  requires(sizeof(N) > 1) constexpr void append(N n) {
    char digits[20];
    std::size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + n % 10);
      n /= 10;
    } while (n != 0);
    append(std::string_view(digits + at, sizeof digits - at));
  }

  constexpr std::uint64_t high() const { return high_; }
  constexpr std::uint64_t low() const { return low_; }
  friend constexpr bool operator==(const fingerprint&, const fingerprint&) = default;

 private:
  // The prime is 2^88 + 0x13b.
  constexpr void times_prime() {
    constexpr std::uint64_t small = 0x13b, half = 0xffffffff;
    const std::uint64_t bottom = (low_ & half) * small, top = (low_ >> 32) * small + (bottom >> 32);
    high_ = high_ * small + (top >> 32) + (low_ << 24);
    low_ = top << 32 | (bottom & half);
  }
  std::uint64_t high_ = 0x6c62272e07bb0142, low_ = 0x62b821756295c58d;
};

}  // namespace v0
}  // namespace shardwise
