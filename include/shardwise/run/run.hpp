// SPDX-License-Identifier: Apache-2.0
// The one engine function: from what a module's own arithmetic yields on each rank to what its style promises.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/run/detail/rank_columns.hpp"
#include "shardwise/run/placed.hpp"
#include "shardwise/shard/step.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {

inline void check_placement(std::string_view module, const style& how, placement expected, placement actual,
                            bool output) {
  if (expected == actual) return;
  const std::string_view name = module.empty() ? std::string_view("the model") : module;
  if (!output) {
    raise(placement_error("'", name, "' is ", how.name(), " and needs its input ", expected.name(), ", but it is ",
                          actual.name(), ": change the style of this module or of the one before it"));
  }
  if (expected.kind == placement::replicated) {
    raise(placement_error("'", name, "' yields ", actual.kind == placement::partial ? "" : "a tensor that is ",
                          actual.name(), ", and no row of the plan makes it whole: ",
                          actual.kind == placement::partial
                              ? "give it rowwise, moe_tp_experts or all_reduce"
                              : "give it colwise_gather_output, or name the module in its rule"));
  }
  raise(placement_error("'", name, "' is ", how.name(), ", which takes its own output to be ", expected.name(),
                        ", but it is ", actual.name(), ": its parameters are not cut as the style needs"));
}

template <class View>
tensor_view dense(const View& x, std::string_view module) {
  // A collective writes through the view, whatever the constness of the handle.
  const tensor_view v = tensor_traits<View>::view(const_cast<View&>(x));
  if (!v.contiguous()) {
    raise(placement_error("'", module, "': a collective needs a dense row-major tensor; copy the view first"));
  }
  return v;
}

inline void check_has_dims(const step& s, const tensor_view& v) {
  if (v.shape.dims() == 0)
    raise(placement_error("'", s.module, "' was given a scalar, and it has a last dim to work on"));
}
inline void check_size(const step& s, int ranks) {
  if (s.tp == ranks) return;
  raise(comm_error("the step of '", s.module, "' is of a sharding for ", s.tp, " ranks, and the communicator has ",
                   ranks, ": shard for its size, {.tp = comm.size()}"));
}

// A plan may hold a style whose module half this version does not do.
inline void check_runs(const step& s) {
  if (s.how.facts().runs || !s.how.has_module_half()) return;
  raise(plan_error("'", s.module, "' is ", s.how.name(), ": a plan may hold it and its parameters are cut by it, but ",
                   "this version does not run it; leave the module's row out, and do it in the engine"));
}

// Says which module the collectives are of, for as long as it lives. A step without a sharding knows none: then what
// the engine has said stays.
template <class C>
class module_at_work {
 public:
  module_at_work(C& comm, std::string_view module, bool known = true) : comm_(comm), says_(known) {
    if constexpr (takes_module<C>) {
      if (says_) comm_.in_module(module);
    }
  }
  module_at_work(C& comm, const step& s) : module_at_work(comm, s.module) {}
  module_at_work(const module_at_work&) = delete;
  ~module_at_work() {
    if constexpr (takes_module<C>) {
      if (says_) comm_.in_module({});
    }
  }

 private:
  [[maybe_unused]] C& comm_;
  [[maybe_unused]] bool says_;
};

template <class C, class View>
void all_reduce(const step& s, C& comm, typename C::stream_type stream, View& x, reduction op) {
  static_assert(can_all_reduce<C>, "shardwise: this communicator has no all_reduce, and the step needs one");
  const tensor_view v = dense(x, s.module);
  comm.all_reduce(v.data, v.data, v.elements(), v.type, op, stream);
}

// Each group of columns is gathered by itself, straight to where it lies in the whole.
template <class C, class View>
View gather_last_dim(const step& s, C& comm, typename C::stream_type stream, const View& x) {
  static_assert(can_gather_last_dim<C>, "shardwise: this communicator has no gather_last_dim, and the step needs one");
  const tensor_view local = dense(x, s.module);
  check_has_dims(s, local);
  const int ranks = comm.size();
  const std::size_t width = local.shape.last();
  const std::size_t rows = width == 0 ? [&] {
    std::size_t n = 1;
    for (std::size_t d = 0; d + 1 < local.shape.dims(); ++d) n *= local.shape[d];
    return n;
  }() : local.elements() / width;
  const std::size_t whole = s.extent != 0 ? s.extent : width * static_cast<std::size_t>(ranks);
  cut features = s.features;
  if (s.extent == 0) features.dim = 0;  // without a sharding the pieces are equal
  if (pieces_of(features, whole, ranks, comm.rank()).size() != width) {
    raise(placement_error("'", s.module, "' yields ", width, " columns on rank ", comm.rank(),
                          ", and the plan gives it ", pieces_of(features, whole, ranks, comm.rank()).size(), " of ",
                          whole));
  }
  static_assert(
      requires(tensor_shape shape) { tensor_traits<View>::empty_like(x, shape); },
      "shardwise: a gather needs tensor_traits<your tensor>::empty_like(like, shape)");
  tensor_shape shape = local.shape;
  shape[shape.dims() - 1] = whole;
  View out = tensor_traits<View>::empty_like(x, shape);
  const tensor_view to = dense(out, s.module);
  const auto bytes = static_cast<std::ptrdiff_t>(size_of(local.type));
  std::size_t send_at = 0;
  for (int g = 0; g < features.groups; ++g) {
    const cut_group group = group_of(features, whole, g);
    const rank_columns columns(group.how, group.at.size(), ranks);
    comm.gather_last_dim(static_cast<const std::byte*>(local.data) + static_cast<std::ptrdiff_t>(send_at) * bytes,
                         width, static_cast<std::byte*>(to.data) + static_cast<std::ptrdiff_t>(group.at.begin) * bytes,
                         whole, rows, columns, local.type, stream);
    send_at += columns[comm.rank()];
  }
  return out;
}

template <class View, class Stream>
void add_bias(const step& s, View& x, const View& bias, Stream stream) {
  static_assert(
      requires { tensor_traits<View>::add_to_rows(x, bias, stream); },
      "shardwise: a bias needs tensor_traits<your tensor>::add_to_rows(x, bias, stream)");
  const tensor_view v = tensor_traits<View>::view(x), b = tensor_traits<View>::view(const_cast<View&>(bias));
  if (b.shape.dims() != 1 || b.shape[0] != v.shape.last()) {
    raise(placement_error("the bias of '", s.module, "' has ", b.elements(),
                          " elements, and the rows of its output have ", v.shape.last(),
                          ": give the bias that is cut like the output"));
  }
  tensor_traits<View>::add_to_rows(x, bias, stream);
}

// What a step may do, so that an engine whose plan is known at compile time writes only the traits that it needs.
struct step_kinds {
  bool reduces = true, gathers = true;
  bool names_module = true;  // false: the step is of no sharding
};
// From local to output. A bias is added once: to each rank's own columns before a gather, to the sum after a reduce.
// `Bias` is `const View*`, or `std::nullptr_t` for none.
template <step_kinds May, class C, class View, class Bias>
View finish(const step& s, C& comm, typename C::stream_type stream, View x, [[maybe_unused]] Bias bias) {
  check_size(s, comm.size());
  const bool reduces = s.then() == collective::all_reduce;
  const auto biased_where = [&]([[maybe_unused]] bool here) {
    if constexpr (!std::same_as<Bias, std::nullptr_t>) {
      if (here) add_bias(s, x, *bias, stream);
    }
  };
  biased_where(!reduces);
  [[maybe_unused]] const auto at_work = [&] { return module_at_work<C>(comm, s.module, May.names_module); };
  if constexpr (May.reduces) {
    if (reduces) {
      const auto here = at_work();
      all_reduce(s, comm, stream, x, s.local().op);
    }
  }
  if constexpr (May.gathers) {
    if (s.then() == collective::gather_last_dim) {
      const auto here = at_work();
      x = gather_last_dim(s, comm, stream, x);
    }
  }
  biased_where(reduces);
  return x;
}

inline void check_bias(const step& s, placement actual) {
  const placement expected = s.then() == collective::all_reduce ? placement(replicated{}) : s.local();
  if (actual == expected) return;
  raise(placement_error("the bias of '", s.module, "' is ", actual.name(), ", and must be ", expected.name(),
                        ": cut it like the output of its weight"));
}

template <style_kind Kind, class In, class Local, class Out, int Groups>
struct tag_traits {
  using input = In;
  using local = Local;
  using output = Out;
  // `partial` is reduced before the bias; everything else takes a bias placed as it is.
  template <class P>
  struct bias_of {
    using type = P;
  };
  template <class Op>
  struct bias_of<partial<Op>> {
    using type = replicated;
  };
  // What stays a partial sum takes a partial bias: a whole one would be added once on each rank.
  using bias = typename std::conditional<std::same_as<Local, Out>, Out, typename bias_of<Local>::type>::type;
  static constexpr style_facts facts = style_table[static_cast<std::size_t>(Kind)];
  static constexpr step_kinds may{facts.then == collective::all_reduce, facts.then == collective::gather_last_dim,
                                  false};
};
// Deduced from the base: nvcc prints a member alias of the tag unresolved.
template <style_kind Kind, class In, class Local, class Out, int Groups>
tag_traits<Kind, In, Local, Out, Groups> traits_of(const style_tag<Kind, In, Local, Out, Groups>&);

// The step of a style that is known at compile time, of equal pieces.
struct step_maker {
  template <auto Style, class C>
  static step of(const C& comm) {
    static_assert(static_cast<style>(Style).facts().runs,
                  "shardwise: this version does not run this style; a plan may hold it and parameters are cut by it");
    step s;
    s.module = static_cast<style>(Style).name();
    s.how = Style;
    s.tp = comm.size();
    s.features.groups = s.how.group_count;
    return s;
  }
};
template <class X>
inline constexpr bool is_placed = false;
template <class View, class P>
inline constexpr bool is_placed<placed<View, P>> = true;

template <class View>
View chunk_of(const step& s, int rank, const View& x) {
  const tensor_view v = tensor_traits<View>::view(const_cast<View&>(x));
  check_has_dims(s, v);
  const std::size_t whole = v.shape.last();
  if (s.extent != 0 && s.extent != whole) {
    raise(placement_error("'", s.module, "' splits an input of ", s.extent, " columns, and was given ", whole));
  }
  cut features = s.features;
  if (s.extent == 0) features.dim = 0;
  const intervals mine = pieces_of(features, whole, s.tp, rank);  // at most one: the style has no groups
  static_assert(
      requires { tensor_traits<View>::columns(x, whole, whole); },
      "shardwise: a split input needs tensor_traits<your tensor>::columns(x, begin, extent)");
  const interval i = mine.count == 0 ? interval{whole, whole} : mine.at[0];
  return tensor_traits<View>::columns(x, i.begin, i.size());
}

}  // namespace detail

/// What the engine's own arithmetic takes of `x`: `x` itself, or the rank's chunk of its last dim where the style
/// splits its input. Throws `placement_error` where `x` is not placed as the style needs. Not a collective. Needs
/// `tensor_traits<View>::columns(x, begin, extent)` for a split.
template <communicator C, class View>
placed<View> input(const step& s, const C& comm, const placed<View>& x) {
  detail::check_runs(s);
  detail::check_size(s, comm.size());
  detail::check_placement(s.module, s.how, s.input(), x.where(), false);
  if (!s.splits_input()) return x;
  return assume_placed(placement(sharded<-1>{}), detail::chunk_of(s, comm.rank(), x.local()));
}

/// From what the module's own arithmetic yielded to what its style promises: nothing, an all-reduce, or a gather of the
/// last dim. Collective where the step is: every rank calls it, in the same order, with its own stream.
///
/// `x` is reduced in place; a gather makes a new tensor by `tensor_traits<View>::empty_like`. Where `comm` is watched
/// (observer.hpp) the collective is that of the step's module.
/// Throws `placement_error` where `x` is not what the style takes it to be, which is how a partial sum that no row
/// reduces is found; `comm_error` where the collective fails.
template <communicator C, class View>
placed<View> run(const step& s, C& comm, typename C::stream_type stream, placed<View> x) {
  detail::check_runs(s);
  detail::check_placement(s.module, s.how, s.local(), x.where(), true);
  return assume_placed(s.output(),
                       detail::finish<detail::step_kinds{}, C, View>(s, comm, stream, std::move(x).local(), nullptr));
}
/// The same with a bias [out], added once: after a reduce (it is whole then), or to the local columns.
/// Needs `tensor_traits<View>::add_to_rows(x, bias, stream)`.
template <communicator C, class View>
placed<View> run(const step& s, C& comm, typename C::stream_type stream, placed<View> x, const placed<View>& bias) {
  detail::check_runs(s);
  detail::check_placement(s.module, s.how, s.local(), x.where(), true);
  detail::check_bias(s, bias.where());
  return assume_placed(
      s.output(), detail::finish<detail::step_kinds{}, C, View>(s, comm, stream, std::move(x).local(), &bias.local()));
}

/// The same with the style known at compile time: a wrong order does not compile. Pieces are equal: where the last ones
/// are shorter, take the step from a sharding.
template <auto Style, communicator C, class View, class P>
auto run(C& comm, typename C::stream_type stream, placed<View, P> x) {
  using traits = decltype(detail::traits_of(Style));
  (void)wrong_placement<typename traits::local, P>{};
  return assume_placed<typename traits::output>(detail::finish<traits::may, C, View>(
      detail::step_maker::of<Style>(comm), comm, stream, std::move(x).local(), nullptr));
}
template <auto Style, communicator C, class View, class P, class B>
auto run(C& comm, typename C::stream_type stream, placed<View, P> x, const placed<View, B>& bias) {
  using traits = decltype(detail::traits_of(Style));
  (void)wrong_placement<typename traits::local, P>{};
  (void)wrong_placement<typename traits::bias, B>{};
  return assume_placed<typename traits::output>(detail::finish<traits::may, C, View>(
      detail::step_maker::of<Style>(comm), comm, stream, std::move(x).local(), &bias.local()));
}

/// A whole module at once: `product(View) -> View` is the engine's own arithmetic, between the input and the step.
template <auto Style, communicator C, class View, class P, class Product>
requires(!detail::is_placed<Product> &&
         std::invocable<Product&, const View&>) auto run(C& comm, typename C::stream_type stream,
                                                         const placed<View, P>& x, Product&& product) {
  using traits = decltype(detail::traits_of(Style));
  (void)wrong_placement<typename traits::input, P>{};
  if constexpr (traits::facts.splits_input) {
    const step s = detail::step_maker::of<Style>(comm);
    return run<Style>(comm, stream,
                      assume_placed<typename traits::local>(product(detail::chunk_of(s, comm.rank(), x.local()))));
  } else {
    return run<Style>(comm, stream, assume_placed<typename traits::local>(product(x.local())));
  }
}

/// A tensor that must be whole where the engine hands it out: `expect_replicated(logits, "lm_head")`.
/// Throws `placement_error`, with the way out.
template <class View>
const placed<View>& expect_replicated(const placed<View>& x, std::string_view module) {
  detail::check_placement(module, style{}, replicated{}, x.where(), true);
  return x;
}
template <class View>
placed<View> expect_replicated(placed<View>&& x, std::string_view module) {
  detail::check_placement(module, style{}, replicated{}, x.where(), true);
  return std::move(x);
}

}  // namespace v0
}  // namespace shardwise
