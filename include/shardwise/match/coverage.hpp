// SPDX-License-Identifier: Apache-2.0
// Does a plan speak of every parameter of a described model? The verdict as a value, and as words in a compiler's
// error.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "shardwise/match/match.hpp"
#include "shardwise/match/spell.hpp"
#include "shardwise/model/schema.hpp"

namespace shardwise {
inline namespace v0 {

/// At most this many findings of each kind are named; all are counted.
inline constexpr std::size_t named_findings = 8;

/// What a plan leaves open in a model. True as a bool when that is nothing.
struct coverage_verdict {
  std::size_t holes = 0;                      ///< parameters that no rule covers
  std::size_t ties = 0;                       ///< parameters, or modules, of which two rules speak equally
  std::size_t idle = 0;                       ///< rules that match no parameter and no module
  std::uint16_t hole[named_findings]{};       ///< indices of parameters in the schema
  std::uint16_t tie[named_findings]{};        ///< indices of parameters in the schema; after them, of modules
  std::uint16_t idle_rule[named_findings]{};  ///< indices of rules in the plan
  constexpr explicit operator bool() const { return holes + ties + idle == 0; }
};

namespace detail {

template <std::size_t Rules>
struct hit {
  owner who{};
  std::uint64_t seen[Rules / 64 + 1]{};  // a bit for every rule that matches
  constexpr void operator()(std::uint16_t r) { seen[r / 64] |= std::uint64_t{1} << (r % 64); }
};

// A schema's path as a name: a container's star stands for its numbers.
constexpr segments as_name(segments path) {
  mark_numbers(path);
  for (std::size_t i = 0; i < path.count; ++i) path.at[i].number |= path.at[i].is_star();
  return path;
}
// Depends on the plan only: instantiated once, not once per parameter.
template <std::size_t Rules>
constexpr hit<Rules> find_hit(const plan<Rules>& rules, const segments& path) {
  hit<Rules> h{};
  h.who = find_parameter_rule(rules, as_name(path), h);
  return h;
}
// One constant evaluation per parameter, so that no compiler's step limit is met by a large model.
template <class Model, const auto& Plan, std::size_t I>
inline constexpr auto hit_of = find_hit(Plan, schema<Model>.parameter_path(I));

template <class Model, const auto& Plan, class Indices>
struct hits;
template <class Model, const auto& Plan, std::size_t... I>
struct hits<Model, Plan, std::index_sequence<I...>> {
  static constexpr hit<std::remove_cvref_t<decltype(Plan)>::capacity> all[sizeof...(I) + 1] = {
      hit_of<Model, Plan, I>..., {}};
};
template <class Model, const auto& Plan>
using all_hits = hits<Model, Plan, std::make_index_sequence<schema<Model>.parameter_count>>;

constexpr void note(std::uint16_t (&list)[named_findings], std::size_t& count, std::size_t index) {
  if (count < named_findings) list[count] = static_cast<std::uint16_t>(index);
  ++count;
}

template <class Model>
constexpr segments named_module(std::size_t m) {
  return as_name(schema<Model>.module_path(m));
}

template <class Model, const auto& Plan>
consteval coverage_verdict make_coverage() {
  constexpr std::size_t words = std::remove_cvref_t<decltype(Plan)>::capacity / 64 + 1;
  coverage_verdict v;
  std::uint64_t seen[words]{};
  for (std::size_t i = 0; i < schema<Model>.parameter_count; ++i) {
    const auto& h = all_hits<Model, Plan>::all[i];
    if (h.who.rule == no_rule) note(v.hole, v.holes, i);
    if (h.who.tied_with != no_rule) note(v.tie, v.ties, i);
    for (std::size_t w = 0; w < words; ++w) seen[w] |= h.seen[w];
  }
  for (std::size_t r = 0; r < Plan.count; ++r) {
    if (Plan.rules[r].optional || (seen[r / 64] >> (r % 64) & 1) != 0) continue;
    bool used = false;  // a rule may speak of a module without parameters of its own
    for (std::size_t m = 0; m < schema<Model>.module_count && !used; ++m) {
      used = matches_module(Plan.rules[r], named_module<Model>(m));
    }
    if (!used) note(v.idle_rule, v.idle, r);
  }
  // Rules without a parameter half tie on modules only.
  for (std::size_t r = 0; r < Plan.count; ++r) {
    if (Plan.rules[r].how.has_parameter_half()) continue;
    for (std::size_t m = 0; m < schema<Model>.module_count; ++m) {
      if (!matches_module(Plan.rules[r], named_module<Model>(m))) continue;
      const owner who = find_module_rule(Plan, named_module<Model>(m));
      if (who.tied_with != no_rule && (who.rule == r || who.tied_with == r)) {
        bool known = false;
        for (std::size_t t = 0; t < v.ties && t < named_findings; ++t) {
          known |= v.tie[t] == schema<Model>.parameter_count + m;
        }
        if (!known) note(v.tie, v.ties, schema<Model>.parameter_count + m);
      }
    }
  }
  return v;
}
}  // namespace detail

/// The verdict as a value: `static_assert(!coverage<Model, plan>)`, `requires (bool(coverage<Model, plan>))`. `Plan`
/// has static storage (namespace scope, or `static constexpr`).
template <class Model, const auto& Plan>
inline constexpr coverage_verdict coverage = detail::make_coverage<Model, Plan>();

// The refusals: types whose names are the sentence and whose arguments are the facts.
template <class...>
inline constexpr bool never = false;
template <class Parameter>
struct no_rule_matches {
  static_assert(never<Parameter>,
                "shardwise: no rule of this plan matches the parameter named in no_rule_matches<parameter<...>>");
};
template <class Pattern>
struct rule_matches_nothing {
  static_assert(never<Pattern>,
                "shardwise: the rule named in rule_matches_nothing<pattern<...>> matches nothing in this model");
};
template <class Parameter, class A, class B>
struct rules_tie {
  static_assert(never<Parameter, A, B>,
                "shardwise: two rules are equally specific for the parameter named in rules_tie<parameter<...>, "
                "pattern<...>, pattern<...>>");
};

namespace detail {
template <class Model, const auto& Plan>
consteval owner tied_at(std::size_t i) {
  constexpr std::size_t parameters = schema<Model>.parameter_count;
  return i < parameters ? all_hits<Model, Plan>::all[i].who
                        : find_module_rule(Plan, named_module<Model>(i - parameters));
}

template <class Model, const auto& Plan, class Holes, class Ties, class Idle>
struct report;
template <class Model, const auto& Plan, std::size_t... H, std::size_t... T, std::size_t... R>
struct report<Model, Plan, std::index_sequence<H...>, std::index_sequence<T...>, std::index_sequence<R...>>
    : no_rule_matches<parameter_named<Model, coverage<Model, Plan>.hole[H]>>...,
      rules_tie<parameter_named<Model, coverage<Model, Plan>.tie[T]>,
                pattern_named<Plan, tied_at<Model, Plan>(coverage<Model, Plan>.tie[T]).rule>,
                pattern_named<Plan, tied_at<Model, Plan>(coverage<Model, Plan>.tie[T]).tied_with>>...,
      rule_matches_nothing<pattern_named<Plan, coverage<Model, Plan>.idle_rule[R]>>... {
  static constexpr bool complete = sizeof...(H) + sizeof...(T) + sizeof...(R) == 0;
};
template <std::size_t N>
using first_of = std::make_index_sequence<(N < named_findings ? N : named_findings)>;
}  // namespace detail

/// `static_assert(covers<Model, plan>)`: true, or an error for each hole, tie and idle rule (up to eight of each) that
/// names it. Because it explains by not compiling, ask `coverage` where "no" is an answer: in `requires`, after `!`.
#if defined(__CUDA_ARCH__)
// nvcc compiles a file for the device once more: the host's pass has checked.
template <class Model, const auto& Plan>
inline constexpr bool covers = true;
#else
template <class Model, const auto& Plan>
inline constexpr bool covers = detail::report<Model, Plan, detail::first_of<coverage<Model, Plan>.holes>,
                                              detail::first_of<coverage<Model, Plan>.ties>,
                                              detail::first_of<coverage<Model, Plan>.idle>>::complete;
#endif

}  // namespace v0
}  // namespace shardwise
