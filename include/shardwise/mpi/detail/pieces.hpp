// SPDX-License-Identifier: Apache-2.0
// A piece of a buffer for each rank, as MPI_Ialltoallw wants them.
#pragma once
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "shardwise/mpi/detail/layout.hpp"

namespace shardwise {
inline namespace v0 {
namespace mpi {
namespace detail {

/// Pieces of `sizes` elements, without gaps. An offset that is no `int` is a part of the type.
struct pieces {
  pieces(std::span<const std::size_t> sizes, dtype type, std::size_t largest) {
    std::size_t offset = 0;
    for (const std::size_t n : sizes) {
      layout block = layout::block(n, type, largest);
      if (offset > largest && n != 0) {
        kept.push_back(block.displaced(offset));
        at.push_back(0);
      } else {
        kept.push_back(std::move(block));
        at.push_back(n != 0 ? static_cast<int>(offset) : 0);
      }
      counts.push_back(kept.back().count());
      types.push_back(kept.back().type());
      offset += n * size_of(type);
    }
  }
  std::vector<layout> kept;
  std::vector<int> counts, at;
  std::vector<MPI_Datatype> types;
};

}  // namespace detail
}  // namespace mpi
}  // namespace v0
}  // namespace shardwise
