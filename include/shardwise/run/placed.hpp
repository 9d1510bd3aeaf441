// SPDX-License-Identifier: Apache-2.0
// A tensor together with where its elements are over the ranks, so that a wrong order has no spelling.
#pragma once
#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

#include "shardwise/error.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {

/// The placement of a `placed` whose plan is known at run time only: it is a value, `where()`, and is checked there.
struct at_run_time {};

/// An engine's tensor and its placement `P`: `replicated`, `sharded<Dim>`, `partial<Op>`, or `at_run_time`. With a type
/// it is as large as the tensor alone. Made by `run`, by sums and elementwise functions of others, and by
/// `assume_placed`.
template <class View, class P = at_run_time>
class placed {
 public:
  using view_type = View;
  using placement_type = P;

  constexpr const View& local() const& { return view_; }
  constexpr View& local() & { return view_; }
  constexpr View&& local() && { return std::move(view_); }
  static constexpr placement where() { return P{}; }

 private:
  constexpr explicit placed(View v) : view_(std::move(v)) {}
  View view_;
  template <class Q, class V>
  friend constexpr placed<V, Q> assume_placed(V);
};

template <class View>
class placed<View, at_run_time> {
 public:
  using view_type = View;
  using placement_type = at_run_time;

  constexpr const View& local() const& { return view_; }
  constexpr View& local() & { return view_; }
  constexpr View&& local() && { return std::move(view_); }
  constexpr placement where() const { return where_; }

 private:
  constexpr placed(placement where, View v) : view_(std::move(v)), where_(where) {}
  View view_;
  placement where_;
  template <class V>
  friend constexpr placed<V> assume_placed(placement, V);
};

/// The named door from an engine's own tensor: the caller vouches for the placement. An engine that fuses a collective
/// into a kernel of its own comes in here.
template <class P, class View>
constexpr placed<View, P> assume_placed(View v) {
  return placed<View, P>(std::move(v));
}
template <class View>
constexpr placed<View> assume_placed(placement where, View v) {
  return placed<View>(where, std::move(v));
}

/// Is `X` a `placed` with the placement type `P`?
template <class X, class P>
concept placed_as = std::same_as<typename X::placement_type, P>;

// The refusals: types whose names are the sentence and whose arguments are the facts.
template <class...>
inline constexpr bool never_placed = false;
template <class Expected, class Actual>
struct wrong_placement {
  static_assert(never_placed<Expected, Actual>,
                "shardwise: wrong_placement<Expected, Actual>: the operator needs its input placed as Expected");
};
template <class P>
struct wrong_placement<P, P> {};
template <class A, class B>
struct sum_of_different_placements {
  static_assert(never_placed<A, B>,
                "shardwise: sum_of_different_placements<A, B>: reduce the partial one first, then add");
};
template <class P>
struct sum_of_different_placements<P, P> {};
template <class Op>
struct sum_of_different_placements<partial<Op>, partial<Op>> {
  static_assert(
      std::same_as<Op, sum>,
      "shardwise: sum_of_different_placements<partial<max>, ...>: the maximum of sums is not the sum of maxima; "
      "reduce both first, then add");
};
template <class P>
struct partial_must_be_reduced_first {};
template <class Op>
struct partial_must_be_reduced_first<partial<Op>> {
  static_assert(
      never_placed<Op>,
      "shardwise: partial_must_be_reduced_first<partial<...>>: a nonlinearity of a partial sum is not the sum; "
      "run the step that reduces it before");
};

namespace detail {
[[noreturn]] inline void raise_different(placement a, placement b, std::string_view doing) {
  raise(
      placement_error("cannot ", doing, " a tensor that is ", a.name(), " and one that is ", b.name(),
                      ": bring both to one placement first; the plan has one of their modules cut and the other not"));
}
}  // namespace detail

/// The sum of two tensors that are placed alike, two partial sums included: they can be added first and reduced once.
/// `add(a, b)` is the engine's.
template <class View, class A, class B, class Add>
constexpr auto sum_of(const placed<View, A>& a, const placed<View, B>& b, Add&& add) {
  if constexpr (std::same_as<A, at_run_time>) {
    if (a.where() != b.where() || a.where() == placement(partial<max>{})) {
      detail::raise_different(a.where(), b.where(), "add");
    }
    return assume_placed(a.where(), add(a.local(), b.local()));
  } else {
    (void)sum_of_different_placements<A, B>{};
    return assume_placed<A>(add(a.local(), b.local()));
  }
}
template <class View, class A, class B>
constexpr auto operator+(const placed<View, A>& a, const placed<View, B>& b) {
  return sum_of(a, b, [](const View& x, const View& y) { return x + y; });
}

/// `f(x, xs...)` where each element of the result depends on the same element of each argument: activations, gates. All
/// arguments are placed alike, and none is a partial sum.
template <class F, class View, class P, class... Ps>
constexpr auto elementwise(F&& f, const placed<View, P>& x, const placed<View, Ps>&... xs) {
  if constexpr (std::same_as<P, at_run_time>) {
    if (x.where().kind == placement::partial) {
      detail::raise(
          placement_error("a nonlinearity of a partial sum is not the sum: a module before it has a weight cut on its "
                          "input features and no row that reduces its output (rowwise, moe_tp_experts, all_reduce)"));
    }
    (void)((x.where() == xs.where() ? 0 : (detail::raise_different(x.where(), xs.where(), "combine"), 0)) + ... + 0);
    return assume_placed(x.where(), f(x.local(), xs.local()...));
  } else {
    (void)partial_must_be_reduced_first<P>{};
    ((void)wrong_placement<P, Ps>{}, ...);
    return assume_placed<P>(f(x.local(), xs.local()...));
  }
}

}  // namespace v0
}  // namespace shardwise
