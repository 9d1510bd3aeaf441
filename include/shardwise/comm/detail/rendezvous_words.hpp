// SPDX-License-Identifier: Apache-2.0
// What the errors of all rendezvous have in common: how a call and a list of ranks are spelled.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shardwise {
inline namespace v0 {
namespace detail {

/// One call of a rendezvous: what all ranks must agree on.
struct rendezvous_call {
  bool is_barrier = false;
  std::int32_t root = 0;
  std::uint64_t bytes = 0;
  std::uint32_t number = 0;  ///< from 1

  bool operator==(const rendezvous_call&) const = default;

  /// "broadcast of 128 bytes from rank 0 (call 3)"
  std::string text() const {
    const std::string place = " (call " + std::to_string(number) + ")";
    if (is_barrier) return "barrier" + place;
    return "broadcast of " + std::to_string(bytes) + " bytes from rank " + std::to_string(root) + place;
  }
};

/// "rank 2 called ..., rank 0 called ...: ..."
inline std::string mismatch_text(int rank, const std::string& theirs, const std::string& ours) {
  return "rank " + std::to_string(rank) + " called " + theirs + ", rank 0 called " + ours +
         ": every rank must make the same calls with the same sizes, in the same order";
}

/// "rank 2", "ranks 1, 2 and 3", "ranks 0, ... and 12 more"
inline std::string ranks_text(const std::vector<int>& ranks) {
  constexpr std::size_t most = 16;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size() && i < most; ++i) {
    if (i != 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  if (ranks.size() > most) text += " and " + std::to_string(ranks.size() - most) + " more";
  return text;
}

/// Bytes that came from elsewhere, fit to be printed.
inline std::string printable(std::string_view text) {
  std::string safe(text);
  for (char& c : safe) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return safe;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
