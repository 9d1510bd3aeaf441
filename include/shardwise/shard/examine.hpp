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
  number_missing,    ///< a field that the rule names: the config has no such number, or several submodels have it
  number_below_one,  ///< a field that the rule names: the config's number is 0 or negative, or above 2^32
  unlike_layout,     ///< the rule's groups are not those of the engine's layout
  does_not_divide,   ///< a size does not divide over the ranks: see `examined::sizes`
};

/// A size that must divide: `extent` elements cut as `how`, in units of the config's field `unit` ("": elements).
struct size_to_divide {
  cut how{};
  std::size_t extent = 0;
  std::string_view unit{};
  std::string_view other{};               ///< the field of what the units are paired with
  const feature_group* groups = nullptr;  ///< the fields of unequal groups, in the plan
  bool experts = false;                   ///< the elements are whole experts
  bool whole_if_refused = false;          ///< where it does not divide, the parameter is whole: see `style::or_whole`

  constexpr cut_fault fault(int tp) const { return whole_if_refused ? cut_fault::none : fault_of(how, extent, tp); }
  /// The cut at this number of ranks.
  constexpr cut how_at(int tp) const {
    return whole_if_refused && fault_of(how, extent, tp) != cut_fault::none ? cut{} : how;
  }
  /// Is it the same number for the same ranks? On which dim says nothing of whether it divides.
  constexpr bool divides_like(const size_to_divide& o) const {
    return how.deals_like(o.how) && extent == o.extent && unit == o.unit && other == o.other && experts == o.experts &&
           whole_if_refused == o.whole_if_refused;
  }
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
  constexpr cut_fault fault(std::size_t i, int tp) const { return sizes[i].fault(tp); }
  /// `how`, or whole where the rule says so for a number of ranks over which it does not divide.
  constexpr cut how_at(int tp) const { return size_count == 0 || how.whole() ? how : sizes[size_count - 1].how_at(tp); }
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
  if (kind == style_kind::colwise || kind == style_kind::rowwise || kind == style_kind::rowwise_partial_output) {
    return true;
  }
  const std::uint16_t owner = find_module_rule(rules, split_name(module_of(name))).rule;
  return owner == no_rule || owner != rule;
}

// Groups of which the layout says that they are unequal are the plan's, units and widths; how they are dealt is the
// plan's alone.
constexpr bool same_unequal_groups(const style& made_of, const style& how) {
  for (std::size_t g = 0; g < made_of.unequal_groups; ++g) {
    if (std::string_view(made_of.group[g].unit) != how.group[g].unit) return false;
    if (std::string_view(made_of.group[g].width) != how.group[g].width) return false;
  }
  return made_of.unequal_groups == 0 || made_of.groups_interleaved == how.groups_interleaved;
}

// The unequal groups of a style, by the numbers of the config; false where one of these is none.
template <class Number>
bool resolve_groups(const style& how, std::size_t extent, const Number& number, cut& to) {
  to.unequal = how.unequal_groups;
  to.interleaved = how.groups_interleaved;
  std::size_t left = extent, equally_wide = 0;
  for (std::size_t g = 0; g < to.unequal; ++g) {
    const feature_group& from = how.group[g];
    unequal_group& group = to.group[g];
    group.pair = from.pair;
    group.units = number(from.unit);
    if (group.units == 0) return false;
    if (*from.other != 0 && (group.other = number(from.other)) == 0) return false;
    if (*from.width == 0) {
      equally_wide += group.units;
      continue;
    }
    group.width = number(from.width);
    if (group.width == 0) return false;
    left -= group.extent() < left ? group.extent() : left;
  }
  for (std::size_t g = 0; g < to.unequal; ++g) {
    if (*how.group[g].width == 0) to.group[g].width = static_cast<std::uint32_t>(left / equally_wide);
  }
  return true;
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

  // The config's number; 0 where it is not there, or is no number of units.
  const auto number = [&x, &model, name](std::string_view field) -> std::uint32_t {
    x.unit = field;
    const std::int64_t* n = model.find_number(name, field);
    if (n != nullptr && *n >= 1 && *n <= std::int64_t{0xffffffff}) return static_cast<std::uint32_t>(*n);
    x.why = n == nullptr ? refusal::number_missing : refusal::number_below_one;
    if (n != nullptr) x.number = *n;
    return 0;
  };
  const auto in_units = [&](std::string_view unit, cut& u) {
    u = c;
    if (!unit.empty()) u.units = number(unit);
    return unit.empty() || u.units != 0;
  };
  std::string_view unit = r.how.unit;
  if (!layout.empty() && stays_cut(rules, name, who.rule)) {
    const bool out = shape.dims() == 1 || dim + 2 == shape.dims() || r.how.channels_first;
    x.axis = out ? feature_axis::out : feature_axis::in;
    const style made_of = layout.of(split_name(name), x.axis);
    if (made_of.group_count != c.groups || !same_unequal_groups(made_of, r.how)) {
      x.number = made_of.group_count;
      return refuse(refusal::unlike_layout);
    }
    if (unit.empty() && r.how.tile == 0 && r.how.unequal_groups == 0) {
      unit = made_of.unit;
    } else if (!made_of.unit.empty() && made_of.unit != unit && r.how.unequal_groups == 0) {
      size_to_divide& s = x.sizes[x.size_count++];
      if (!in_units(made_of.unit, s.how)) return refuse(x.why);
      s.extent = shape[dim];
      s.unit = made_of.unit;
      s.whole_if_refused = r.how.whole_if_refused;
    }
  }
  if (!in_units(unit, x.how)) return refuse(x.why);
  size_to_divide& last = x.sizes[x.size_count];
  if (r.how.pair != pairing::none && unit == r.how.unit) {
    last.other = r.how.other;
    x.how.pair = r.how.pair;
    x.how.other = number(last.other);
    if (x.how.other == 0) return refuse(x.why);
  }
  x.how.tile = r.how.tile;
  if (r.how.unequal_groups != 0) {
    last.groups = r.how.group;
    if (!resolve_groups(r.how, shape[dim], number, x.how)) return refuse(x.why);
  }
  last.how = x.how;
  last.extent = shape[dim];
  last.unit = unit;
  last.experts = r.how.facts().cut == cut_of::experts;
  last.whole_if_refused = r.how.whole_if_refused;
  ++x.size_count;
  return x;
}

}  // namespace detail

/// What `plan` makes of the parameter `name` of this shape at `tp` ranks; `model` is asked for config numbers only. A
/// parameter that no rule covers is whole, and no refusal: `examined::covered`.
inline examined examine(plan_view plan, const tree& model, std::string_view name, const tensor_shape& shape, int tp,
                        layout_view layout = {}) {
  examined x = detail::examine_owned(plan, model, name, shape, find_parameter_rule(plan, name), layout);
  if (!x.refused() && !x.divides(tp)) x.why = refusal::does_not_divide;
  if (!x.refused()) x.how = x.how_at(tp);
  return x;
}

namespace detail {

/// "2 key/value heads over 8 ranks": what is wrong with a size at this number of ranks.
inline void append_fault(error& e, const size_to_divide& s, int tp) {
  const auto put = [&e](const auto&... parts) { (e.append(parts), ...); };
  using text = std::string_view;
  const cut_fault fault = fault_of(s.how, s.extent, tp);
  const auto groups = static_cast<std::size_t>(s.how.groups);
  if (fault == cut_fault::groups && s.groups == nullptr) {
    return put(s.extent, text(" elements in "), groups, text(" equal groups"));
  }
  if (fault == cut_fault::groups) {
    put(s.extent, text(" elements in groups of "));
    for (std::size_t g = 0; g < s.how.unequal; ++g) {
      put(text(g == 0 ? "" : " + "), std::size_t{s.how.group[g].units}, ' ', words_for(s.groups[g].unit), text(" of "),
          std::size_t{s.how.group[g].width});
    }
    return;
  }
  if (fault == cut_fault::interleaved) {
    return put(text(
        "interleaved groups of different heads: count all by one field of the config, or pair each with the others by "
        "reading and read_by"));
  }
  if (fault == cut_fault::units && s.how.tile != 0) {
    return put(s.extent / groups, text(" elements in tiles of "), std::size_t{s.how.tile});
  }
  if (fault == cut_fault::units) {
    return put(s.extent / groups, text(" elements in "), s.how.units, text(" equal "), words_for(s.unit));
  }
  // Of unequal groups, the first that is not dealt.
  dealt_units d = s.how.dealt(s.extent / groups);
  text unit = s.unit, other = s.other;
  for (std::size_t g = 0; g < s.how.unequal; ++g) {
    d = s.how.group[g].dealt();
    unit = s.groups[g].unit;
    other = s.groups[g].other;
    if (fault_of_dealing(d, 0, s.how.divided, tp) != cut_fault::none) break;
  }
  if (d.pair == pairing::none) {
    put(d.units != 0 ? d.units : s.extent / groups, ' ',
        s.how.tile != 0 ? text("tiles")
        : d.units != 0  ? words_for(unit)
                        : text(s.experts    ? "experts"
                               : groups > 1 ? "elements a group"
                                            : "elements"),
        text(" over "), tp, text(" ranks"));
    if (fault == cut_fault::empty_group || fault == cut_fault::too_few) put(text(" (some would get none)"));
    return;
  }
  const std::size_t readers = readers_of(d), read = read_of(d);
  const text reader_words = words_for(d.pair == pairing::reads ? unit : other);
  const text read_words = words_for(d.pair == pairing::reads ? other : unit);
  if (fault == cut_fault::pairs) {
    return put(readers, ' ', reader_words, text(", which are no multiple of "), read, ' ', read_words);
  }
  if (fault == cut_fault::shares) {
    const std::size_t share = readers / read;
    for (int r = 0; r < tp; ++r) {
      const interval i = deal(readers, s.how.divided, tp, r);
      const std::size_t edge = up(i.begin, share) * share;
      if (!(i.begin < edge && edge < i.end && edge - i.begin != i.end - edge)) continue;
      return put(readers, ' ', reader_words, text(" with "), read, ' ', read_words, text(" over "), tp,
                 text(" ranks (rank "), r, text(" would read one of these "), edge - i.begin,
                 text(" times and another "), i.end - edge, text(")"));
    }
  }
  const bool by_read = static_cast<std::size_t>(tp) <= read;
  put(by_read ? read : readers, ' ', by_read ? read_words : reader_words, text(" over "), tp, text(" ranks"));
  if (fault == cut_fault::too_few) put(text(" (some would get none)"));
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
          text(x.number < 1 ? " in the config; it must be at least 1" : " in the config; it must be below 2^32"));
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
