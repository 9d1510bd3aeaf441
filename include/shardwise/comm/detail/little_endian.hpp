// SPDX-License-Identifier: Apache-2.0
// Numbers as bytes, the lowest first: how they travel between ranks, whatever their machines are.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Into all of `to`, 8 bytes at most.
inline void write_little_endian(std::span<std::byte> to, std::uint64_t x) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::byte>(x >> (8 * i));
}
/// Of all of `from`.
inline std::uint64_t read_little_endian(std::span<const std::byte> from) {
  std::uint64_t x = 0;
  for (std::size_t i = 0; i < from.size(); ++i) x |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
  return x;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
