// SPDX-License-Identifier: Apache-2.0
// Where the elements of a tensor are over the ranks: three states, as types for the compiler and as one value for run
// time.
#pragma once

namespace shardwise {
inline namespace v0 {

/// Reductions that collectives know.
struct sum {};
struct max {};
enum class reduction : unsigned char { sum, max };

/// The same elements on every rank.
struct replicated {};
/// Each rank holds its own piece of dim `Dim`; -1 is the last.
template <int Dim>
struct sharded {};
/// Each rank holds a tensor of the whole shape; the value is their sum (or maximum).
template <class Op = sum>
struct partial {};

/// A placement as a value. Converts from the three types, so that `placement p = sharded<-1>{}` reads as one would say
/// it.
struct placement {
  enum kind_t : unsigned char { replicated, sharded, partial } kind = replicated;
  int dim = -1;                   ///< of `sharded` only; -1 is the last
  reduction op = reduction::sum;  ///< of `partial` only

  constexpr placement() = default;
  constexpr placement(shardwise::replicated) {}
  template <int Dim>
  constexpr placement(shardwise::sharded<Dim>) : kind(sharded), dim(Dim) {}
  constexpr placement(shardwise::partial<shardwise::sum>) : kind(partial) {}
  constexpr placement(shardwise::partial<shardwise::max>) : kind(partial), op(reduction::max) {}

  friend constexpr bool operator==(const placement&, const placement&) = default;

  /// The word that errors use.
  constexpr const char* name() const {
    switch (kind) {
      case sharded: return dim == -1 ? "sharded on its last dim" : dim == 0 ? "sharded on dim 0" : "sharded";
      case partial: return op == reduction::sum ? "a partial sum" : "a partial maximum";
      default: return "replicated";
    }
  }
};

}  // namespace v0
}  // namespace shardwise
