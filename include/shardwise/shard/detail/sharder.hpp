// SPDX-License-Identifier: Apache-2.0
// The work of `shard`: one parameter after the other, and all faults of a kind in one error.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A copy of `r` whose texts are in `store`.
inline rule kept(const rule& r, text_store& store) {
  rule k = r;
  for (std::size_t i = 0; i < k.pattern.count; ++i) {
    if (k.pattern.at[i].size() != 0) k.pattern.at[i].text = store.keep(r.pattern.at[i].view()).data();
  }
  k.how.unit = store.keep(r.how.unit);
  k.how.reason = store.keep(r.how.reason);
  k.text = "";
  return k;
}

/// The dotted text of a pattern, in `store`.
inline std::string_view kept_pattern(const rule& r, text_store& store) {
  char text[max_segments * (max_segment_bytes + 1)];
  write_path(r.pattern, text);
  return store.keep({text, length_of(r.pattern)});
}

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

struct sharder {
  plan_view rules;
  const tree& model;
  const shard_options& options;

  // A size that must divide: each once, however many layers have it.
  struct constraint {
    std::string_view parameter, unit;
    cut how;
    std::size_t extent = 0;
  };
  list<constraint> constraints{};
  list<std::string_view> holes{};
  rule_use use{rules};

  /// Marks the rules that speak of `name`, and gives its owner.
  owner see(std::string_view name) {
    const owner who = use.parameter(name);
    if (who.tied_with != no_rule) refuse_tie(name, who);
    return who;
  }

  std::uint16_t module_rule(std::string_view path) {
    const owner who = find_module_rule(rules, split_name(path));
    if (who.tied_with != no_rule) refuse_tie(path, who);
    return who.rule;
  }

  sharded_parameter parameter(const tree_entry& e) {
    sharded_parameter p;
    p.type = e.type;
    p.shape = e.shape;
    p.rule = see(e.name).rule;
    if (p.rule == no_rule) {
      holes.push(e.name);
    } else {
      p.how = cut_of_parameter(e.name, e.shape, rules[p.rule]);
    }
    return p;
  }

  /// `alias` is one storage with `kept`: both rules must cut it alike.
  void tie(std::string_view alias, const sharded_parameter& kept) {
    const std::uint16_t owner = see(alias).rule;
    if (owner == no_rule && kept.how.whole()) {
      holes.push(alias);
      return;
    }
    if (owner == no_rule) {
      raise(shard_error("'", alias, "' has no rule, and is tied to '", kept.name, "', which is cut by ",
                        rules[kept.rule].how.name(), ": each name needs a row of its own, as the step of '", alias,
                        "' cannot be guessed; for a head add colwise_gather_output"));
    }
    const cut c = cut_of_parameter(alias, kept.shape, rules[owner]);
    if (c.dim != kept.how.dim || c.groups != kept.how.groups) {
      raise(shard_error("'", alias, "' and '", kept.name,
                        "' are tied, one storage, and the plan cuts them in two ways: ", rules[owner].how.name(),
                        " and ", kept.covered() ? rules[kept.rule].how.name() : std::string_view("no rule (whole)"),
                        "; cut both on the same dim, or neither"));
    }
  }

  /// A weight must be cut as the rule of its module takes it to be, or the module's step would not fit its output.
  void agree(const sharded_parameter& p, std::string_view name, const rule& module) const {
    if (p.shape.dims() < 2 || !module.how.has_module_half() || !module.how.has_parameter_half()) return;
    const cut expected = cut_by(module.how, p.shape.dims(), false).how;
    if (expected.dim == p.how.dim && expected.groups == p.how.groups) return;
    shard_error e("'", name, "' is cut by ", p.covered() ? rules[p.rule].how.name() : std::string_view("no rule"),
                  ", unlike its module, whose rule is ", module.how.name(), " (pattern '");
    append_path(e, module.pattern);
    e.append(std::string_view("'): the module's step would not fit; give both the same style"));
    raise(e);
  }

  /// A pattern of `only` that matches no parameter is a stage that would silently hold nothing.
  void refuse_empty_parts() const {
    for (std::string_view rest = options.only; !rest.empty();) {
      const std::size_t blank = rest.find(' ');
      const std::string_view pattern = rest.substr(0, blank);
      rest.remove_prefix(blank == std::string_view::npos ? rest.size() : blank + 1);
      bool any = pattern.empty();
      for (const tree_entry& e : model) any = any || name_matches(pattern, e.name);
      for (const tied_name& t : model.ties()) any = any || name_matches(pattern, t.alias);
      if (any) continue;
      raise(shard_error("only = '", pattern,
                        "' matches no parameter of this model: a pattern names parameters, so that a "
                        "module's are '<module>.**'"));
    }
  }

  void refuse_faults() const {
    bool any = false;
    for (const constraint& c : constraints) any |= fault_of(c.how, c.extent, options.tp) != cut_fault::none;
    if (!any) return;
    shard_error e("the plan does not fit ", options.tp, options.tp == 1 ? " rank: " : " ranks: ");
    std::size_t named = 0;
    for (const constraint& c : constraints) {
      const cut_fault fault = fault_of(c.how, c.extent, options.tp);
      if (fault == cut_fault::none) continue;
      if (named == 8) {
        e.append(std::string_view(" and more"));
        break;
      }
      if (named++ != 0) e.append(std::string_view(", and "));
      describe(e, c, fault);
    }
    e.append(std::string_view("; legal sizes: "));
    std::size_t legal = 0;
    for (int tp = 1; tp <= 64; ++tp) {
      bool fits = true;
      for (const constraint& c : constraints) fits &= fault_of(c.how, c.extent, tp) == cut_fault::none;
      if (!fits) continue;
      if (legal++ != 0) e.append(std::string_view(", "));
      e.append(tp);
    }
    if (legal == 0) e.append(std::string_view("none up to 64"));
    raise(e);
  }

  void refuse_holes() const {
    bool imported = rules.size() != 0;
    for (const rule& r : rules) imported &= r.how.divided == division::chunk;
    if (holes.empty() || options.holes == uncovered::whole || (options.holes == uncovered::by_plan && imported)) return;
    shard_error e("no rule of this plan matches ");
    append_names(e, holes);
    e.append(std::string_view("; add a row for each, replicate(\"why\") for what is meant to be whole"));
    raise(e);
  }

  /// Refuses rules that match nothing, but those of a family's plan, which go into `unmatched`.
  void refuse_idle_rules(list<std::uint16_t>& unmatched) {
    for (const tree_entry& e : model) use.modules_above(e.name);
    for (const tied_name& t : model.ties()) use.modules_above(t.alias);
    std::size_t idle = 0;
    plan_error e("");
    for (std::size_t r = 0; r < rules.size(); ++r) {
      if (use.used(r)) continue;
      if (rules[r].optional) {
        unmatched.push(static_cast<std::uint16_t>(r));
        continue;
      }
      e.append(std::string_view(idle++ == 0 ? "these rules match nothing in this model: '" : "', '"));
      append_path(e, rules[r].pattern);
    }
    if (idle == 0) return;
    e.append(std::string_view("'; correct the pattern, or leave the row out"));
    raise(e);
  }

 private:
  [[noreturn]] void refuse_tie(std::string_view name, const owner& who) const {
    plan_error e("two rules are equally specific for '", name, "': '");
    append_path(e, rules[who.rule].pattern);
    e.append(std::string_view("' and '"));
    append_path(e, rules[who.tied_with].pattern);
    e.append(std::string_view("'; make one of them more literal, or say it in .with({...})"));
    raise(e);
  }

  [[noreturn]] static void refuse_groups(std::string_view name, int has, int cut_as, const style& how,
                                         feature_axis axis) {
    shard_error e("'", name, "' is ", has, has == 1 ? " group" : " groups laid side by side", ", and ", how.name(),
                  " cuts it as ", cut_as, ", so that each rank would get parts of the wrong ones: use ");
    const bool out = axis == feature_axis::out;
    e.append(std::string_view(has == 1   ? (out ? "colwise" : "rowwise")
                              : has == 2 ? (out ? "packed_colwise" : "packed_rowwise")
                                         : (out ? "colwise.groups(n)" : "rowwise.groups(n)")));
    raise(e);
  }

  cut cut_of_parameter(std::string_view name, const tensor_shape& shape, const rule& r) {
    const bool is_bias = name == "bias" || name.ends_with(".bias");
    const cut_choice choice = cut_by(r.how, shape.dims(), is_bias);
    if (!choice.possible) {
      raise(shard_error("'", name, "' has ", shape.dims(), " dim, and ", r.how.name(),
                        " cuts dim 1: use another style, or replicate"));
    }
    cut c = choice.how;
    if (c.whole()) return c;
    const auto dim = static_cast<std::size_t>(c.dim);

    const auto in_units = [&](std::string_view unit) {
      cut u = c;
      if (unit.empty()) return u;
      const std::int64_t n = model.number(name, unit);
      if (n < 1) {
        raise(shard_error("units(\"", unit, "\") of '", name, "' is ", n, " in the config; it must be at least 1"));
      }
      u.units = static_cast<std::size_t>(n);
      return u;
    };
    std::string_view unit = r.how.unit;
    if (!options.layout.empty() && stays_cut(name, r)) {
      const feature_axis axis = shape.dims() == 1 || dim + 2 == shape.dims() ? feature_axis::out : feature_axis::in;
      const style made_of = options.layout.of(split_name(name), axis);
      if (made_of.group_count != c.groups) refuse_groups(name, made_of.group_count, c.groups, r.how, axis);
      if (unit.empty()) {
        unit = made_of.unit;
      } else if (!made_of.unit.empty()) {
        constrain(name, made_of.unit, in_units(made_of.unit), shape[dim]);
      }
    }
    c = in_units(unit);
    constrain(name, unit, c, shape[dim]);
    return c;
  }

  // Does the engine's own arithmetic meet the cut? Not where the style's step gathers the output or splits the input;
  // but the step is the module's, and a rule that speaks of a parameter alone has none.
  bool stays_cut(std::string_view name, const rule& r) const {
    if (r.how.kind == style_kind::colwise || r.how.kind == style_kind::rowwise) return true;
    const std::size_t dot = name.rfind('.');
    const std::string_view module = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
    const std::uint16_t owner = find_module_rule(rules, split_name(module)).rule;
    return owner == no_rule || &rules[owner] != &r;
  }

  void constrain(std::string_view name, std::string_view unit, const cut& c, std::size_t extent) {
    for (const constraint& known : constraints) {  // on which dim says nothing of whether it divides
      if (known.how.groups == c.groups && known.how.divided == c.divided && known.how.units == c.units &&
          known.extent == extent && known.unit == unit) {
        return;
      }
    }
    constraints.push({name, unit, c, extent});
  }

  void describe(error& e, const constraint& c, cut_fault fault) const {
    const auto groups = static_cast<std::size_t>(c.how.groups);
    switch (fault) {
      case cut_fault::groups:
        e.append(c.extent);
        e.append(std::string_view(" elements in "));
        e.append(groups);
        e.append(std::string_view(" equal groups"));
        break;
      case cut_fault::units:
        e.append(c.extent / groups);
        e.append(std::string_view(" elements in "));
        e.append(c.how.units);
        e.append(std::string_view(" equal "));
        e.append(words_for(c.unit));
        break;
      default:
        e.append(c.how.units != 0 ? c.how.units : c.extent / groups);
        e.append(std::string_view(" "));
        e.append(c.how.units != 0 ? words_for(c.unit) : std::string_view(groups > 1 ? "elements a group" : "elements"));
        e.append(std::string_view(" over "));
        e.append(options.tp);
        e.append(std::string_view(" ranks"));
        if (fault == cut_fault::empty_group) e.append(std::string_view(" (some would get none)"));
        break;
    }
    e.append(std::string_view(" ("));
    if (!c.unit.empty()) {
      e.append(c.unit);
      e.append(std::string_view(", "));
    }
    e.append(c.parameter);
    e.append(std::string_view(")"));
  }

  static void append_names(error& e, const list<std::string_view>& names) {
    for (std::size_t i = 0; i < names.size() && i < 8; ++i) {
      e.append(std::string_view(i == 0 ? "'" : ", '"));
      e.append(names[i]);
      e.append(std::string_view("'"));
    }
    if (names.size() > 8) {
      e.append(std::string_view(" and "));
      e.append(names.size() - 8);
      e.append(std::string_view(" more"));
    }
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
