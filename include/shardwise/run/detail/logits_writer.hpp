// SPDX-License-Identifier: Apache-2.0
// What a rank tells the others of its logits.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>

#include "shardwise/run/detail/logits_key.hpp"
#include "shardwise/run/detail/logits_message.hpp"
#include "shardwise/run/detail/logits_sum.hpp"
#include "shardwise/run/detail/logits_terms.hpp"
#include "shardwise/run/detail/philox.hpp"
#include "shardwise/run/logits_memory.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// An id with its score: its logit over the temperature, and its random number.
struct drawn {
  double score = 0;
  logits_key key = 0;  // 0: none was drawn yet

  void offer(logits_key k, std::uint64_t position, const sampling& how) {
    const float logit = logit_of(k);
    if (logit == minus_infinity) return;
    const double z = static_cast<double>(logit) / how.temperature;
    const gumbel g(how.seed, position, id_of(k));
    if (key != 0 && z + g.bound() < score) return;
    take({z + g.value(), k});
  }
  void take(const drawn& other) {
    if (other.key == 0) return;
    if (key == 0 || other.score > score || (other.score == score && id_of(other.key) < id_of(key))) *this = other;
  }
};

/// Writes the messages of rank `rank`, which has `logits`.
class logits_writer {
 public:
  logits_writer(const logits_terms& t, logits_scratch& w) : t_(t), w_(w) {}

  /// Of one row: its first message.
  void first(int rank, const host_logits& logits, dtype type, std::size_t row, std::span<std::uint32_t> out) {
    write_row(row, read(rank, logits, type, row), out);
  }
  /// Of one row: its best ids from place `places.begin` on.
  void more(int rank, const host_logits& logits, dtype type, std::size_t row, const interval& places,
            std::span<std::uint32_t> out) {
    write_keys(read(rank, logits, type, row), places, out);
  }

 private:
  // This rank's logits of a row, in `w_.row`; which ids they are of.
  const interval& read(int rank, const host_logits& logits, dtype type, std::size_t row) {
    const interval& mine = w_.columns[static_cast<std::size_t>(rank)];
    w_.row.resize(t_.widest);
    read_logits(type, logits.row(row), mine.size(), w_.row.data());
    return mine;
  }
  static std::uint32_t id32(std::size_t id) { return static_cast<std::uint32_t>(id); }
  static void put(std::uint32_t* to, std::uint64_t x) { std::memcpy(to, &x, sizeof x); }
  static void put(std::uint32_t* to, double x) { std::memcpy(to, &x, sizeof x); }
  void write_row(std::size_t row, const interval& mine, std::span<std::uint32_t> out) {
    std::fill(out.begin(), out.end(), 0);
    out[0] = logits_terms::none;
    for (std::size_t i = mine.size(); i-- > 0;) {
      if (w_.row[i] != w_.row[i]) out[0] = id32(mine.begin + i);
    }
    if (out[0] != logits_terms::none) return;  // no other word is looked at
    write_keys(mine, {0, t_.shape.best}, out.subspan(1, logits_message::words_of_key * t_.shape.best));
    if (t_.shape.score) {
      drawn best;
      for (std::size_t i = 0; i < mine.size(); ++i)
        best.offer(key_of(w_.row[i], id32(mine.begin + i)), t_.positions[row], t_.wanted.how);
      put(&out[1], best.key);
      put(&out[3], best.score);
    }
    for (std::size_t i = 0; i < t_.shape.by_id; ++i) {
      const auto id = static_cast<std::size_t>(t_.wanted.ids[row * t_.shape.by_id + i]);
      if (id >= mine.begin && id < mine.end)
        out[t_.shape.words_before_sum() - t_.shape.by_id + i] = std::bit_cast<std::uint32_t>(w_.row[id - mine.begin]);
    }
    if (t_.shape.sum) write_sum(mine, out.subspan(t_.shape.words_before_sum()));
  }
  // The best ids from place `places.begin` on, best first; 0 where there is none.
  void write_keys(const interval& mine, const interval& places, std::span<std::uint32_t> out) {
    if (places.size() == 0) return;
    w_.keys.clear();
    if (places.end == 1) {  // without a sort
      logits_key best = 0;
      for (std::size_t i = 0; i < mine.size(); ++i) best = std::max(best, key_of(w_.row[i], id32(mine.begin + i)));
      w_.keys.push_back(best);
    } else {
      for (std::size_t i = 0; i < mine.size(); ++i) w_.keys.push_back(key_of(w_.row[i], id32(mine.begin + i)));
      const auto at = [&](std::size_t i) {
        return w_.keys.begin() + static_cast<std::ptrdiff_t>(std::min(i, w_.keys.size()));
      };
      if (at(places.end) != w_.keys.end())
        std::nth_element(w_.keys.begin(), at(places.end), w_.keys.end(), std::greater<>());
      if (places.begin != 0 && at(places.begin) != w_.keys.end())
        std::nth_element(w_.keys.begin(), at(places.begin), at(places.end), std::greater<>());
      std::sort(at(places.begin), at(places.end), std::greater<>());
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::size_t place = places.begin + i;
      put(&out[i * logits_message::words_of_key], place < w_.keys.size() ? w_.keys[place] : logits_key{0});
    }
  }
  void write_sum(const interval& mine, std::span<std::uint32_t> out) {
    const block_pieces pieces(mine, t_.vocabulary);
    const auto logits_of = [&](const interval& ids) {
      return std::span<const float>(w_.row.data() + (ids.begin - mine.begin), ids.size());
    };
    std::size_t at = 0;
    const auto as_they_are = [&](const interval& ids) {
      for (const float l : logits_of(ids)) out[at++] = std::bit_cast<std::uint32_t>(l);
    };
    as_they_are(pieces.head);
    for (std::size_t b = pieces.blocks.begin; b < pieces.blocks.end; b += logits_block) {
      const softmax_sum s = sum_of_block(logits_of({b, std::min(b + logits_block, pieces.blocks.end)}), t_.temperature);
      out[at] = std::bit_cast<std::uint32_t>(s.top);
      put(&out[at + 1], s.sum);
      at += block_pieces::words_of_block;
    }
    as_they_are(pieces.tail);
  }

  const logits_terms& t_;
  logits_scratch& w_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
