// SPDX-License-Identifier: Apache-2.0
// What a plan makes of one parameter, without a throw: the calculation that `shard`, the audit and the tool share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/match/match.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/shard/layout.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {

/// Why a plan cannot cut a parameter.
enum class refusal : std::uint8_t {
  none,
  tie,               ///< two rules are equally specific for it
  no_such_dim,       ///< the style cuts a dim that the parameter does not have
  number_missing,    ///< units(field): the config has no such number, or several submodels have it
  number_below_one,  ///< units(field): the config's number is 0 or negative
  unlike_layout,     ///< the rule's groups are not those of the engine's layout
  does_not_divide,   ///< a size does not divide over the ranks: see `examined::sizes`
};

/// A size that must divide: `extent` elements cut as `how`, in units of the config's field `unit` ("": elements).
struct size_to_divide {
  cut how{};
  std::size_t extent = 0;
  std::string_view unit{};
  bool experts = false;  ///< the elements are whole experts
};

/// A rule applied to one parameter. A plain value; the views point into plan and layout.
struct examined {
  owner who{};  ///< the rule that owns the parameter, if any
  cut how{};    ///< as that rule cuts; whole where there is no rule, or it cannot cut
  refusal why = refusal::none;
  std::string_view unit{};  ///< of `number_missing` and `number_below_one`: the field
  std::int64_t number = 0;  ///< of `number_below_one`: the config's; of `unlike_layout`: the groups of the layout
  feature_axis axis = feature_axis::out;  ///< of `unlike_layout`
  size_to_divide sizes[2]{};              ///< by the rule, and by the engine's layout where that has units of its own
  std::size_t size_count = 0;

  constexpr bool covered() const { return who.rule != no_rule; }
  constexpr bool refused() const { return why != refusal::none; }
  /// What is wrong with size `i` at this number of ranks.
  constexpr cut_fault fault(std::size_t i, int tp) const { return fault_of(sizes[i].how, sizes[i].extent, tp); }
  /// Do all sizes divide at this number of ranks?
  constexpr bool divides(int tp) const {
    for (std::size_t i = 0; i < size_count; ++i) {
      if (fault(i, tp) != cut_fault::none) return false;
    }
    return true;
  }
};

namespace detail {

/// The field's own name, in the words that people use for it.
constexpr std::string_view words_for(std::string_view unit) {
  struct row {
    std::string_view field, words;
  };
  constexpr row rows[] = {{"num_attention_heads", "heads"},
                          {"num_heads", "heads"},
                          {"num_key_value_heads", "key/value heads"},
                          {"linear_num_key_heads", "linear key heads"},
                          {"linear_num_value_heads", "linear value heads"}};
  const std::size_t dot = unit.rfind('.');
  const std::string_view field = dot == std::string_view::npos ? unit : unit.substr(dot + 1);
  for (const row& r : rows) {
    if (field == r.field) return r.words;
  }
  return field;
}

// Does the engine's own arithmetic meet the cut? Not where the style's step gathers the output or splits the input;
// but the step is the module's, and a rule that speaks of a parameter alone has none.
constexpr bool stays_cut(plan_view rules, std::string_view name, std::uint16_t rule) {
  const style_kind kind = rules[rule].how.kind;
  if (kind == style_kind::colwise || kind == style_kind::rowwise) return true;
  const std::uint16_t owner = find_module_rule(rules, split_name(module_of(name))).rule;
  return owner == no_rule || owner != rule;
}

/// What `find_parameter_rule` gave for the parameter, applied to it at no number of ranks: never `does_not_divide`.
inline examined examine_owned(plan_view rules, const tree& model, std::string_view name, const tensor_shape& shape,
                              owner who, layout_view layout) {
  examined x;
  x.who = who;
  if (who.tied_with != no_rule) x.why = refusal::tie;
  if (x.refused() || !x.covered()) return x;
  const rule& r = rules[who.rule];
  const cut_choice choice = cut_by(r.how, shape.dims(), is_bias(name));
  const auto refuse = [&x](refusal why) {
    x.how = cut{};
    x.why = why;
    return x;
  };
  if (!choice.possible) return refuse(refusal::no_such_dim);
  const cut c = choice.how;
  if (c.whole()) return x;
  const auto dim = static_cast<std::size_t>(c.dim);

  // False: the number is not there, or no number of units.
  const auto in_units = [&](std::string_view unit, cut& u) {
    u = c;
    if (unit.empty()) return true;
    x.unit = unit;
    const std::int64_t* n = model.find_number(name, unit);
    if (n == nullptr) {
      x.why = refusal::number_missing;
      return false;
    }
    if (*n < 1) {
      x.number = *n;
      x.why = refusal::number_below_one;
      return false;
    }
    u.units = static_cast<std::size_t>(*n);
    return true;
  };
  std::string_view unit = r.how.unit;
  if (!layout.empty() && stays_cut(rules, name, who.rule)) {
    x.axis = shape.dims() == 1 || dim + 2 == shape.dims() ? feature_axis::out : feature_axis::in;
    const style made_of = layout.of(split_name(name), x.axis);
    if (made_of.group_count != c.groups) {
      x.number = made_of.group_count;
      return refuse(refusal::unlike_layout);
    }
    if (unit.empty()) {
      unit = made_of.unit;
    } else if (!made_of.unit.empty()) {
      size_to_divide& s = x.sizes[x.size_count++];
      if (!in_units(made_of.unit, s.how)) return refuse(x.why);
      s.extent = shape[dim];
      s.unit = made_of.unit;
    }
  }
  if (!in_units(unit, x.how)) return refuse(x.why);
  x.sizes[x.size_count++] = {x.how, shape[dim], unit, r.how.facts().cut == cut_of::experts};
  return x;
}

}  // namespace detail

/// What `plan` makes of the parameter `name` of this shape at `tp` ranks; `model` is asked for config numbers only. A
/// parameter that no rule covers is whole, and no refusal: `examined::covered`.
inline examined examine(plan_view plan, const tree& model, std::string_view name, const tensor_shape& shape, int tp,
                        layout_view layout = {}) {
  examined x = detail::examine_owned(plan, model, name, shape, find_parameter_rule(plan, name), layout);
  if (!x.refused() && !x.divides(tp)) x.why = refusal::does_not_divide;
  return x;
}

namespace detail {

/// "2 key/value heads over 8 ranks": what is wrong with a size at this number of ranks.
inline void append_fault(error& e, const size_to_divide& s, int tp) {
  const auto groups = static_cast<std::size_t>(s.how.groups);
  const auto put = [&e](const auto&... parts) { (e.append(parts), ...); };
  using text = std::string_view;
  switch (const cut_fault fault = fault_of(s.how, s.extent, tp); fault) {
    case cut_fault::groups: put(s.extent, text(" elements in "), groups, text(" equal groups")); break;
    case cut_fault::units:
      put(s.extent / groups, text(" elements in "), s.how.units, text(" equal "), words_for(s.unit));
      break;
    default:
      put(s.how.units != 0 ? s.how.units : s.extent / groups, ' ',
          s.how.units != 0 ? words_for(s.unit)
                           : text(s.experts    ? "experts"
                                  : groups > 1 ? "elements a group"
                                               : "elements"),
          text(" over "), tp, text(" ranks"));
      if (fault == cut_fault::empty_group) put(text(" (some would get none)"));
      break;
  }
}

/// "1, 2, 4": the sizes up to 64 at which `fits(tp)`.
template <class Fits>
void append_legal_sizes(error& e, Fits fits) {
  std::size_t legal = 0;
  for (int tp = 1; tp <= 64; ++tp) {
    if (!fits(tp)) continue;
    if (legal++ != 0) e.append(std::string_view(", "));
    e.append(tp);
  }
  if (legal == 0) e.append(std::string_view("none up to 64"));
}

}  // namespace detail

/// Appends the sentence of a refusal, with what to do. `x` is what `examine` gave for the other arguments.
inline void append_refusal(error& e, const examined& x, plan_view plan, const tree& model, std::string_view name,
                           const tensor_shape& shape, int tp) {
  using text = std::string_view;
  const auto put = [&e](const auto&... parts) { (e.append(parts), ...); };
  switch (x.why) {
    case refusal::none: return;
    case refusal::tie:
      put(text("two rules are equally specific for '"), name, text("': '"));
      detail::append_path(e, plan[x.who.rule].pattern);
      put(text("' and '"));
      detail::append_path(e, plan[x.who.tied_with].pattern);
      put(text("'; make one of them more literal, or say it in .with({...})"));
      return;
    case refusal::no_such_dim:
      put('\'', name, text("' has "), shape.dims(), text(" dim, and "), plan[x.who.rule].how.name(),
          text(" cuts dim 1: use another style, or replicate"));
      return;
    case refusal::number_missing: model.append_number_fault(e, name, x.unit); return;
    case refusal::number_below_one:
      put(text("units(\""), x.unit, text("\") of '"), name, text("' is "), x.number,
          text(" in the config; it must be at least 1"));
      return;
    case refusal::unlike_layout: {
      const std::int64_t has = x.number;
      const bool out = x.axis == feature_axis::out;
      const style& how = plan[x.who.rule].how;
      put('\'', name, text("' is "), has, text(has == 1 ? " group" : " groups laid side by side"), text(", and "),
          how.name(), text(" cuts it as "), static_cast<int>(how.group_count),
          text(", so that each rank would get parts of the wrong ones: use "),
          text(has == 1   ? (out ? "colwise" : "rowwise")
               : has == 2 ? (out ? "packed_colwise" : "packed_rowwise")
                          : (out ? "colwise.groups(n)" : "rowwise.groups(n)")));
      return;
    }
    case refusal::does_not_divide:
      put('\'', name, text("': "));
      for (std::size_t i = 0, named = 0; i < x.size_count; ++i) {
        if (x.fault(i, tp) == cut_fault::none) continue;
        if (named++ != 0) put(text(" and "));
        detail::append_fault(e, x.sizes[i], tp);
        if (!x.sizes[i].unit.empty()) put(text(" ("), x.sizes[i].unit, ')');
      }
      put(text("; legal sizes: "));
      detail::append_legal_sizes(e, [&](int n) { return x.divides(n); });
      return;
  }
}

}  // namespace v0
}  // namespace shardwise
