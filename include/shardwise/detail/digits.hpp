// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace shardwise {
inline namespace v0 {
namespace detail {

// The zero of each run of ten decimal digits in Unicode 14 beyond ASCII: Python's `\d` takes them all, and Hugging Face
// stars numbers in names with it.
inline constexpr std::uint32_t unicode_zeros[] = {
    0x660,   0x6F0,   0x7C0,   0x966,   0x9E6,   0xA66,   0xAE6,   0xB66,   0xBE6,   0xC66,   0xCE6,
    0xD66,   0xDE6,   0xE50,   0xED0,   0xF20,   0x1040,  0x1090,  0x17E0,  0x1810,  0x1946,  0x19D0,
    0x1A80,  0x1A90,  0x1B50,  0x1BB0,  0x1C40,  0x1C50,  0xA620,  0xA8D0,  0xA900,  0xA9D0,  0xA9F0,
    0xAA50,  0xABF0,  0xFF10,  0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450,
    0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0,
    0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0};

/// Is the UTF-8 text nothing but decimal digits, and at least one?
constexpr bool is_number(const char* s, std::size_t n) {
  if (n == 0) return false;
  for (std::size_t i = 0; i < n;) {
    const auto byte = [&](std::size_t k) { return static_cast<std::uint32_t>(static_cast<unsigned char>(s[i + k])); };
    if (byte(0) < 0x80) {
      if (s[i] < '0' || s[i] > '9') return false;
      ++i;
      continue;
    }
    const std::size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : byte(0) >= 0xC0 ? 2 : 0;
    if (length == 0 || i + length > n) return false;
    std::uint32_t code = byte(0) & (0x7Fu >> length);
    for (std::size_t k = 1; k < length; ++k) code = code << 6 | (byte(k) & 0x3Fu);
    bool digit = false;
    for (std::uint32_t zero : unicode_zeros) digit |= code >= zero && code < zero + 10;
    if (!digit) return false;
    i += length;
  }
  return true;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
