// SPDX-License-Identifier: Apache-2.0
// A block of rows as text: what a table of many families is made of without splitting every pattern at compile time.
#pragma once
#include <cstddef>

#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {
namespace models {

/// A row that is not split into segments yet. Its constructor is for nvcc, which deduces no `block` of aggregates.
struct block_row {
  const char* pattern = "";
  style how{};
  constexpr block_row() = default;
  constexpr block_row(const char* as_written, style s) : pattern(as_written), how(s) {}
};

/// `block({{"pattern", style}, ...})`: rows that are split where they are used.
template <std::size_t N>
struct block {
  block_row rows[N]{};

  constexpr block(const block_row (&given)[N]) {
    for (std::size_t i = 0; i < N; ++i) rows[i] = given[i];
  }
  /// The same as a plan, for one that is a constant: `blocks::attention + blocks::sinks.as_plan()`.
  constexpr plan<N> as_plan() const {
    plan<N> p;
    for (const block_row& r : rows) p.add(rule(r.pattern, r.how));
    return p;
  }
};
template <std::size_t N>
block(const block_row (&)[N]) -> block<N>;

/// A plan or a block, seen without its size, perhaps under a prefix. Both have static storage.
class block_view {
 public:
  constexpr block_view() = default;
  template <std::size_t N>
  constexpr block_view(const plan<N>& p, const char* prefix = "") : rules_(p.rules), count_(p.count), prefix_(prefix) {}
  template <std::size_t N>
  constexpr block_view(const block<N>& b, const char* prefix = "") : rows_(b.rows), count_(N), prefix_(prefix) {}

  constexpr std::size_t size() const { return count_; }
  constexpr const char* prefix() const { return prefix_; }
  constexpr rule operator[](std::size_t i) const {
    return rules_ != nullptr ? rules_[i] : rule(rows_[i].pattern, rows_[i].how);
  }

 private:
  const rule* rules_ = nullptr;
  const block_row* rows_ = nullptr;
  std::size_t count_ = 0;
  const char* prefix_ = "";
};

}  // namespace models
}  // namespace v0
}  // namespace shardwise
