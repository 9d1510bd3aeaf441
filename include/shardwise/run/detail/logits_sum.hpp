// SPDX-License-Identifier: Apache-2.0
// The sum of a softmax, over blocks of ids that are the same for any number of ranks.
#pragma once
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

inline constexpr std::size_t logits_block = 128;
inline constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// exp((logit - top) / temperature).
inline double softmax_weight(float logit, float top, double temperature) {
  return std::exp((static_cast<double>(logit) - static_cast<double>(top)) / temperature);
}

/// The largest logit of some ids, and the sum of their weights beside it.
struct softmax_sum {
  float top = minus_infinity;
  double sum = 0;
};

/// Of one block, or what is kept of it, in ascending order of ids.
inline softmax_sum sum_of_block(std::span<const float> logits, double temperature) {
  softmax_sum s;
  for (const float l : logits) s.top = l > s.top ? l : s.top;
  if (s.top == minus_infinity) return s;
  for (const float l : logits) s.sum += softmax_weight(l, s.top, temperature);
  return s;
}

/// Of all blocks, in ascending order. Not for an infinite logit.
inline softmax_sum sum_of_blocks(std::span<const softmax_sum> blocks, double temperature) {
  softmax_sum s;
  for (const softmax_sum& b : blocks) s.top = b.top > s.top ? b.top : s.top;
  for (const softmax_sum& b : blocks) {
    if (b.top != minus_infinity) s.sum += b.sum * softmax_weight(b.top, s.top, temperature);
  }
  return s;
}

/// What a rank tells of its ids for the sum: of each block that it has all of, the block's sum; of one that ends or
/// begins on another rank, the logits as they are, as only their order in the block makes the sum what it is.
struct block_pieces {
  interval head, blocks, tail;  ///< [ids), [ids of whole blocks), [ids)

  constexpr block_pieces(const interval& mine, std::size_t vocabulary) {
    const std::size_t up = (mine.begin + logits_block - 1) / logits_block * logits_block;
    const std::size_t from = up < mine.end ? up : mine.end;
    const std::size_t down = mine.end == vocabulary ? mine.end : mine.end / logits_block * logits_block;
    const std::size_t to = down < from ? from : down;
    head = {mine.begin, from};
    blocks = {from, to};
    tail = {to, mine.end};
  }
  constexpr std::size_t block_count() const { return (blocks.size() + logits_block - 1) / logits_block; }
  constexpr std::size_t words() const { return head.size() + tail.size() + words_of_block * block_count(); }

  static constexpr std::size_t words_of_block = 3;  // of 32 bits: the largest logit, and the sum
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
