// SPDX-License-Identifier: Apache-2.0
// Ranks that would not make the same collectives do not start.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "shardwise/comm/detail/little_endian.hpp"
#include "shardwise/comm/rendezvous.hpp"
#include "shardwise/error.hpp"
#include "shardwise/shard/manifest.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {

// How manifests travel: numbers of 64 bits, one after the other.
inline void write_word(std::span<std::byte> to, std::size_t index, std::uint64_t n) {
  write_little_endian(to.subspan(8 * index, 8), n);
}
inline std::uint64_t read_word(std::span<const std::byte> from, std::size_t index) {
  return read_little_endian(from.subspan(8 * index, 8));
}

// What a rank says of its manifest: the fingerprint of all and the number of lines.
struct manifest_summary {
  std::uint64_t high = 0, low = 0, lines = 0;
  friend bool operator==(const manifest_summary&, const manifest_summary&) = default;
};

template <rendezvous R>
manifest_summary summary_of(R& ranks, const manifest_summary& mine, int root) {
  std::byte bytes[24];
  write_word(bytes, 0, mine.high);
  write_word(bytes, 1, mine.low);
  write_word(bytes, 2, mine.lines);
  ranks.broadcast(bytes, root);
  return {read_word(bytes, 0), read_word(bytes, 1), read_word(bytes, 2)};
}

// The fingerprints of `root`'s lines, in messages that no rendezvous takes for garbage.
template <rendezvous R>
std::vector<std::byte> lines_of(R& ranks, const manifest& mine, std::uint64_t lines, int root) {
  constexpr std::size_t message = 4096;
  std::vector<std::byte> all(static_cast<std::size_t>(lines) * 16);
  for (std::size_t i = 0; ranks.rank() == root && i < mine.size(); ++i) {
    const fingerprint f = mine.of_line(i);
    write_word(all, 2 * i, f.high());
    write_word(all, 2 * i + 1, f.low());
  }
  for (std::size_t at = 0; at < all.size(); at += message) {
    ranks.broadcast(std::span(all).subspan(at, all.size() - at < message ? all.size() - at : message), root);
  }
  return all;
}

// Line `i` of `root`, as text.
template <rendezvous R>
std::string_view line_of(R& ranks, const manifest& mine, std::size_t i, int root, std::span<std::byte> buffer) {
  for (std::byte& b : buffer) b = std::byte{};
  if (ranks.rank() == root) {
    error line;
    if (i < mine.size()) {
      mine.append_line(i, line);
    } else {
      line.append(std::string_view("no line more"));
    }
    const std::string_view text = line.text().substr(0, buffer.size() - 1);
    for (std::size_t c = 0; c < text.size(); ++c) buffer[c] = static_cast<std::byte>(text[c]);
  }
  ranks.broadcast(buffer, root);
  const std::string_view text(reinterpret_cast<const char*>(buffer.data()), buffer.size());
  return text.substr(0, text.find('\0'));
}

}  // namespace detail

/// Compares what the ranks are about to run: their plans, their parameters' dtypes, shapes and cuts, the number of
/// ranks that they were sharded for, the version of the library, and the collectives that follow from all that.
/// Collective: every rank of `ranks`, which are those of one tensor parallel group, calls it before its first
/// collective.
///
/// Where they are not the same every rank throws the same `comm_error`, which names the first rank that differs from
/// rank 0, and in what. What `ranks` throws is passed on: it waits no longer than its deadline. While all is well a
/// rank hears 24 bytes of each other.
template <rendezvous R>
void require_same_schedule(R& ranks, const manifest& mine) {
  const fingerprint f = mine.of_all();
  const detail::manifest_summary my_summary{f.high(), f.low(), mine.size()};
  detail::manifest_summary first, other;
  int who = 0, different = 0;
  for (int r = 0; r < ranks.size(); ++r) {
    const detail::manifest_summary heard = detail::summary_of(ranks, my_summary, r);
    if (r == 0) first = heard;
    if (heard == first || different++ != 0) continue;
    other = heard;
    who = r;
  }
  if (different == 0) return;

  // From here on all ranks know the same, and find the same line.
  const std::vector<std::byte> a = detail::lines_of(ranks, mine, first.lines, 0);
  const std::vector<std::byte> b = detail::lines_of(ranks, mine, other.lines, who);
  std::size_t line = 0;
  while (16 * line < a.size() && 16 * line < b.size() &&
         detail::read_word(a, 2 * line) == detail::read_word(b, 2 * line) &&
         detail::read_word(a, 2 * line + 1) == detail::read_word(b, 2 * line + 1)) {
    ++line;
  }
  std::byte text_a[800], text_b[800];
  const std::string_view of_first = detail::line_of(ranks, mine, line, 0, text_a);
  const std::string_view of_other = detail::line_of(ranks, mine, line, who, text_b);
  comm_error e("rank ", who, " would not run what rank 0 runs: rank 0 has ", of_first, "; rank ", who, " has ",
               of_other);
  if (different > 1) {
    e.append(std::string_view("; "));
    e.append(different - 1);
    e.append(std::string_view(" more differ from rank 0"));
  }
  e.append(std::string_view(". Start all ranks with the same plan, checkpoint, size and version of shardwise"));
  detail::raise(e);
}
/// The same of a sharding, whose activations are of the weights' dtype.
template <rendezvous R>
void require_same_schedule(R& ranks, const sharding& s) {
  const schedule steps = schedule_of(s);
  require_same_schedule(ranks, manifest(s, steps));
}

}  // namespace v0
}  // namespace shardwise
