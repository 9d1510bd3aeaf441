// SPDX-License-Identifier: Apache-2.0
// How many columns each rank brings to a gather.
#pragma once
#include <cstddef>
#include <span>

#include "shardwise/error.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {

/// Ranks that one gather of the last dim may have.
inline constexpr int max_ranks = 1024;

namespace detail {

/// What each rank has of `columns` columns that lie side by side, cut so, `times` each: what `gather_last_dim` of a
/// communicator takes.
class rank_columns {
 public:
  rank_columns(const cut& how, std::size_t columns, int ranks, std::size_t times = 1) : ranks_(ranks) {
    if (ranks > max_ranks) raise(comm_error("a gather over ", ranks, " ranks; at most ", max_ranks, " are held"));
    for (int r = 0; r < ranks; ++r) counts_[r] = times * pieces_of(how, columns, ranks, r).size();
  }
  std::size_t operator[](int rank) const { return counts_[rank]; }
  operator std::span<const std::size_t>() const { return {counts_, static_cast<std::size_t>(ranks_)}; }

 private:
  int ranks_;
  std::size_t counts_[max_ranks];
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
