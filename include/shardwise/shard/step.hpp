// SPDX-License-Identifier: Apache-2.0
// What one module does at run time beside its own arithmetic.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
struct step_maker;
}

/// A module's step under a sharding: which placement its input needs, what its own arithmetic yields, and the
/// collective that makes its output of that. A plain value; take it once from the sharding (`sharding::step`), which
/// alone makes one, and keep it.
struct step {
  std::string_view module;  ///< the module's path, for errors; lives as long as the sharding
  style how{};
  int tp = 1;
  cut features{};          ///< how the dim is cut that the step gathers, splits or looks up
  std::size_t extent = 0;  ///< the size of that dim, whole; 0 where the step needs none

  /// What the module's input must be.
  constexpr placement input() const { return changes() ? how.facts().input : replicated{}; }
  /// What the module's own arithmetic must have yielded when `run` is called.
  constexpr placement local() const { return changes() ? how.facts().local : replicated{}; }
  /// What `run` makes of it.
  constexpr placement output() const { return changes() ? how.facts().output : replicated{}; }
  constexpr collective then() const { return changes() ? how.facts().then : collective::none; }
  constexpr bool splits_input() const { return changes() && how.facts().splits_input; }

  /// Rank `rank`'s pieces of the dim: its columns of a gather, its chunk of a split input, its rows of a vocabulary.
  constexpr intervals pieces(int rank) const { return pieces_of(features, extent, tp, rank); }
  /// The rows of a vocabulary that `rank` holds: its own of a vocabulary-parallel embedding, and all that there may be,
  /// [0, the largest number), where the table is not cut by rows.
  constexpr interval rows(int rank) const {
    if (how.kind != style_kind::embedding_rowwise) return {0, ~std::size_t{}};
    const intervals i = pieces(rank);
    return i.count == 0 ? interval{extent, extent} : i.at[0];
  }

 private:
  friend class sharding;
  friend struct detail::step_maker;
  constexpr step() = default;
  constexpr bool changes() const { return how.has_module_half(); }
};

}  // namespace v0
}  // namespace shardwise
