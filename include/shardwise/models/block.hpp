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

template <std::size_t N>
struct placed_block;

/// `block({{"pattern", style}, ...})`: rows that are split where they are used.
template <std::size_t N>
struct block {
  block_row rows[N]{};
  static constexpr std::size_t capacity = N;

  constexpr block(const block_row (&given)[N]) {
    for (std::size_t i = 0; i < N; ++i) rows[i] = given[i];
  }
  /// The same rows relative to a module: "layers.*.mlp". The block has static storage.
  constexpr placed_block<N> under(const char* module) const { return {*this, module}; }
};
template <std::size_t N>
block(const block_row (&)[N]) -> block<N>;

/// A block under a module.
template <std::size_t N>
struct placed_block {
  const block<N>& of;
  const char* module;
  static constexpr std::size_t capacity = N;
};

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

namespace detail {
template <std::size_t M, std::size_t N>
constexpr void add_rows(plan<M>& to, const plan<N>& part) {
  for (const rule& r : part) to.add(r);
}
template <std::size_t M, std::size_t N>
constexpr void add_rows(plan<M>& to, const models::block<N>& part) {
  for (const models::block_row& r : part.rows) to.add(rule(r.pattern, r.how));
}
template <std::size_t M, std::size_t N>
constexpr void add_rows(plan<M>& to, const models::placed_block<N>& part) {
  const segments in_front = split_pattern(part.module);
  for (const models::block_row& row : part.of.rows) {
    rule r(row.pattern, row.how);
    r.put_under(in_front);
    to.add(r);
  }
}
}  // namespace detail

namespace models {
/// `composed(block, block.under("module"), plan, ...)`: one plan of all their rows. A plan of a sum, `a + b + c`, is
/// the same, and copies its rows at every `+`.
template <class... Parts>
constexpr auto composed(const Parts&... parts) {
  plan<(Parts::capacity + ...)> out;
  (detail::add_rows(out, parts), ...);
  return out;
}
}  // namespace models
}  // namespace v0
}  // namespace shardwise
