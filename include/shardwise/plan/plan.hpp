// SPDX-License-Identifier: Apache-2.0
// A plan: one value that reads like a table.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/plan/rule.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
[[noreturn]] inline void the_same_pattern_has_two_styles(const char*, const rule& a, const rule& b) {
  plan_error e("the same pattern has two styles, ", a.how.name(), " and ", b.how.name(), ": ");
  append_path(e, b.pattern);
  e.append(std::string_view("; keep one, or say the second in .with({...})"));
  raise(e);
}
// The pattern is handed on as text so that clang prints it with the call.
constexpr void same_pattern_needs_same_style(const char* pattern_as_written, const rule& a, const rule& b) {
  if (a.how != b.how) the_same_pattern_has_two_styles(pattern_as_written, a, b);
}
}  // namespace detail

/// Rows that a plan may have: 16 bits hold which one owns a parameter.
inline constexpr std::size_t max_rules = 65535;

/// Any plan, seen without its size: rules that somebody else keeps alive. Plans have static storage as a rule.
class plan_view {
 public:
  constexpr plan_view() = default;
  constexpr plan_view(const rule* first, std::size_t count) : first_(first), count_(count) {}
  constexpr const rule* begin() const { return first_; }
  constexpr const rule* end() const { return first_ + count_; }
  constexpr std::size_t size() const { return count_; }
  constexpr const rule& operator[](std::size_t i) const { return first_[i]; }

 private:
  const rule* first_ = nullptr;
  std::size_t count_ = 0;
};

/// `plan({{"pattern", style}, ...})`. N is an upper bound: equal rows merge.
///
/// The same pattern twice with different styles is refused where the plan is built: it does not compile where the plan
/// is a constant, and throws `plan_error` where it is built at run time. So is a malformed pattern.
template <std::size_t N>
struct plan {
  rule rules[N]{};
  std::size_t count = 0;
  static constexpr std::size_t capacity = N;

  constexpr plan() = default;
  constexpr plan(const rule (&rows)[N]) {
    for (const rule& r : rows) add(r);
  }

  /// Adds a row; a pattern that is there already must have the same style.
  constexpr void add(const rule& r) {
    for (std::size_t i = 0; i < count; ++i) {
      if (rules[i].same_pattern(r)) return detail::same_pattern_needs_same_style(r.text, rules[i], r);
    }
    rules[count++] = r;
  }

  /// The same plan for a model that sits under `prefix` in a larger one: "model.language_model". The text outlives the
  /// plan, like every pattern.
  constexpr plan under(const char* prefix) const {
    plan out = *this;
    const detail::segments in_front = detail::split_pattern(prefix);
    for (rule& r : out) r.put_under(in_front);
    return out;
  }

  /// The rows of both. Overrides of either stay overrides, of the other's rows too.
  template <std::size_t M>
  constexpr plan<N + M> operator+(const plan<M>& other) const {
    plan<N + M> out = widened<M>();
    for (const rule& r : other) out.add(r);
    return out;
  }

  /// Overrides, which win: each row replaces the row of the same pattern or is added, and wherever it matches it beats
  /// every row that was there before, however literal. A pattern that ends in `**` overrides a whole subtree.
  template <std::size_t M>
  constexpr plan<N + M> with(const rule (&rows)[M]) const {
    plan<N + M> out = widened<M>();
    std::uint8_t generation = 0;
    for (const rule& r : *this) generation = r.overrides > generation ? r.overrides : generation;
    ++generation;
    for (rule row : rows) {
      row.overrides = generation;
      for (std::size_t i = 0; i < out.count; ++i) {
        if (out.rules[i].overrides < generation && out.rules[i].same_pattern(row)) out.remove(i--);
      }
      out.add(row);
    }
    return out;
  }

  /// Says of every row that it may match nothing: a plan of a family, of whose models not each has every module.
  constexpr plan optional() const {
    plan out = *this;
    for (rule& r : out) r.optional = true;
    return out;
  }

  /// Says of every row that it is matched and cut as Hugging Face matches and cuts.
  constexpr plan as_hugging_face() const {
    plan out = optional();
    for (rule& r : out) {
      r.matching = dialect::hugging_face;
      r.how.divided = division::chunk;
    }
    return out;
  }

  /// Says of every row that it cuts over the ranks that share the experts: the second plan of a class.
  constexpr plan expert_parallel() const {
    plan out = *this;
    for (rule& r : out) r.over = parallelism::expert;
    return out;
  }

  constexpr rule* begin() { return rules; }
  constexpr rule* end() { return rules + count; }
  constexpr const rule* begin() const { return rules; }
  constexpr const rule* end() const { return rules + count; }
  constexpr std::size_t size() const { return count; }
  constexpr const rule& operator[](std::size_t i) const { return rules[i]; }
  constexpr operator plan_view() const { return {rules, count}; }

 private:
  template <std::size_t M>
  constexpr plan<N + M> widened() const {
    plan<N + M> out{};
    for (const rule& r : *this) out.rules[out.count++] = r;
    return out;
  }
  constexpr void remove(std::size_t at) {
    for (std::size_t i = at; i + 1 < count; ++i) rules[i] = rules[i + 1];
    rules[--count] = rule{};
  }
  template <std::size_t>
  friend struct plan;
};
template <std::size_t N>
plan(const rule (&)[N]) -> plan<N>;

}  // namespace v0
}  // namespace shardwise
