// SPDX-License-Identifier: Apache-2.0
// What each rank tells the others of its logits: how many words, for which policy.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>

#include "shardwise/run/detail/logits_sum.hpp"
#include "shardwise/run/logits_policy.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// How sample with top_p, but without top_k, gets to know the best ids of which nobody knows yet how many are needed:
/// 64 of each rank with the first message, and four times as many with each that follows.
constexpr interval nucleus_round(std::size_t round, std::size_t widest) {
  std::size_t begin = 0, size = 64;
  for (std::size_t i = 0; i < round; ++i) {
    begin += size;
    size *= 4;
  }
  return {std::min(begin, widest), std::min(begin + size, widest)};
}

/// The message of a row, in words of 32 bits: the lowest id that is a NaN, or none; then the rank's best ids; or its
/// best id after the random numbers, and its score; logits that are asked for by id; then what the sum needs.
struct logits_message {
  static constexpr std::size_t words_of_key = 2, words_of_score = 4;
  std::size_t best = 0;   // ids
  std::size_t by_id = 0;  // logits
  bool score = false, sum = false;

  /// Of `columns` ids of each rank.
  constexpr logits_message(const logits_policy& wanted, std::size_t rows, std::size_t widest) {
    const sampling& how = wanted.how;
    switch (wanted.kind) {
      case logits_kind::argmax: best = 1; break;
      case logits_kind::top_k: best = std::min(wanted.k, widest); break;
      case logits_kind::log_softmax:
        by_id = rows == 0 ? 0 : wanted.ids.size() / rows;
        sum = true;
        break;
      case logits_kind::sample:
        if (how.temperature == 0) {
          best = 1;
        } else if (how.top_k != 0) {
          best = std::min(how.top_k, widest);
        } else if (how.top_p < 1) {
          best = nucleus_round(0, widest).size();
          sum = true;
        } else {
          score = true;
        }
        break;
      case logits_kind::gather: break;
    }
  }
  /// Does a row ask for more until it has enough?
  constexpr bool has_rounds() const { return sum && by_id == 0 && best != 0; }

  constexpr std::size_t words_before_sum() const {
    return 1 + words_of_key * best + (score ? words_of_score : 0) + by_id;
  }
  /// All ranks' messages are as long as the longest.
  constexpr std::size_t words(std::span<const interval> columns, std::size_t vocabulary) const {
    std::size_t longest = 0;
    for (const interval& mine : columns) {
      if (sum) longest = std::max(longest, block_pieces(mine, vocabulary).words());
    }
    return words_before_sum() + longest;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
