// SPDX-License-Identifier: Apache-2.0
// Arithmetic that steps need and that has no engine to do it, on host memory: for tests, examples and CPU engines.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "shardwise/model/tensor_view.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {

/// A vocabulary-parallel embedding's own arithmetic: row t of `out` [tokens, hidden] becomes the row of `ids[t]` in
/// this rank's `table` [rows, hidden], or zeros where another rank holds it. `rows`: which ids the table holds, of
/// `vocabulary`. Element types are equal; both are dense. Throws `placement_error` for an id outside the vocabulary.
inline void masked_lookup(std::span<const std::int64_t> ids, const interval& rows, std::size_t vocabulary,
                          const tensor_view& table, const tensor_view& out) {
  const std::size_t row_bytes = table.shape.last() * size_of(table.type);
  auto* to = static_cast<std::byte*>(out.data);
  for (std::size_t t = 0; t < ids.size(); ++t, to += row_bytes) {
    if (ids[t] < 0 || static_cast<std::size_t>(ids[t]) >= vocabulary) {
      detail::raise(
          placement_error("token id ", ids[t], " at position ", t, " is outside the vocabulary of ", vocabulary));
    }
    const auto id = static_cast<std::size_t>(ids[t]);
    if (row_bytes == 0) continue;
    if (id < rows.begin || id >= rows.end) {
      std::memset(to, 0, row_bytes);
    } else {
      std::memcpy(to, static_cast<const std::byte*>(table.data) + (id - rows.begin) * row_bytes, row_bytes);
    }
  }
}

}  // namespace v0
}  // namespace shardwise
