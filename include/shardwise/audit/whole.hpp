// SPDX-License-Identifier: Apache-2.0
// What a plan leaves whole on every rank without a word.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {
/// A matrix that no rule covers: it is whole on every rank, and nobody said so.
struct unruled_matrix {
  std::string_view name;  ///< lives as long as the sharding
  std::size_t bytes = 0;
  double share = 0;  ///< of the bytes of all parameters
};

/// The parameters with two or more dims that no rule covers and that hold more than `threshold` of the model's bytes,
/// in the order of the model. Norms and the like are not worth a row.
inline detail::list<unruled_matrix> unruled_matrices(const sharding& s, double threshold = 0.01) {
  std::size_t total = 0;
  for (const sharded_parameter& p : s) total += p.shape.elements() * size_of(p.type);
  detail::list<unruled_matrix> found;
  for (const sharded_parameter& p : s) {
    const std::size_t bytes = p.shape.elements() * size_of(p.type);
    const double share = total == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(total);
    if (!p.covered() && p.shape.dims() >= 2 && share > threshold) found.push({p.name, bytes, share});
  }
  return found;
}

}  // namespace v0
}  // namespace shardwise
