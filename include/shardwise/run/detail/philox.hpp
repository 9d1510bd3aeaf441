// SPDX-License-Identifier: Apache-2.0
// Random numbers without a state: a function of a key and a counter.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace shardwise {
inline namespace v0 {
namespace detail {

struct philox_words {
  std::uint32_t of[4];
  friend constexpr bool operator==(const philox_words&, const philox_words&) = default;
};

/// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
constexpr philox_words philox(philox_words x, std::uint64_t key) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * x.of[0], b = std::uint64_t{0xCD9E8D57} * x.of[2];
    x = {{static_cast<std::uint32_t>(b >> 32) ^ x.of[1] ^ k0, static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ x.of[3] ^ k1, static_cast<std::uint32_t>(a)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return x;
}

/// The random number of one id: see `logits::sample`.
class gumbel {
 public:
  constexpr gumbel(std::uint64_t seed, std::uint64_t position, std::uint32_t id) {
    const philox_words x =
        philox({{id, static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32), 0}}, seed);
    bits_ = std::uint64_t{x.of[0]} << 32 | x.of[1];
  }
  /// No less than `value()`, and found without a logarithm: 1 - u >= 2^-(n + 1), where n is the number of leading ones,
  /// and -log(u) >= 1 - u.
  double bound() const { return (std::countl_one(bits_) + 1) * 0.6931472; }
  double value() const { return -std::log(-std::log((static_cast<double>(bits_ >> 12) + 0.5) * 0x1p-52)); }

 private:
  std::uint64_t bits_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
