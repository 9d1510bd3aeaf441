// SPDX-License-Identifier: Apache-2.0
// The work of `shard`: one parameter after the other, and all faults of a kind in one error.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/shard/examine.hpp"
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
  k.how.other = store.keep(r.how.other);
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

struct sharder {
  plan_view rules;
  const tree& model;
  const shard_options& options;

  // A size that must divide: each once, however many layers have it.
  struct constraint {
    std::string_view parameter;
    size_to_divide size;
    cut_fault fault(int tp) const { return size.fault(tp); }
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
    const owner who = use.module(path);
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
      p.how = cut_of_parameter(e.name, e.shape, p.rule);
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
    const cut c = cut_of_parameter(alias, kept.shape, owner);
    if (c != kept.how) {
      raise(shard_error("'", alias, "' and '", kept.name,
                        "' are tied, one storage, and the plan cuts them in two ways: ", rules[owner].how.name(),
                        " and ", kept.covered() ? rules[kept.rule].how.name() : std::string_view("no rule (whole)"),
                        "; cut both on the same dim, or neither"));
    }
  }

  /// A weight must be cut as the rule of its module takes it to be, or the module's step would not fit its output.
  void agree(const sharded_parameter& p, std::string_view name, const rule& module) const {
    if (p.shape.dims() < 2 || !module.how.has_module_half() || !module.how.has_parameter_half()) return;
    if (p.how.whole() && module.how.whole_if_refused && p.covered() && rules[p.rule].how.whole_if_refused) return;
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
    for (const constraint& c : constraints) any |= c.fault(options.tp) != cut_fault::none;
    if (!any) return;
    shard_error e("the plan does not fit ", options.tp, options.tp == 1 ? " rank: " : " ranks: ");
    std::size_t named = 0;
    for (const constraint& c : constraints) {
      if (c.fault(options.tp) == cut_fault::none) continue;
      if (named == 8) {
        e.append(std::string_view(" and more"));
        break;
      }
      if (named++ != 0) e.append(std::string_view(", and "));
      append_fault(e, c.size, options.tp);
      e.append(std::string_view(" ("));
      if (!c.size.unit.empty()) {
        e.append(c.size.unit);
        e.append(std::string_view(", "));
      }
      e.append(c.parameter);
      e.append(std::string_view(")"));
    }
    e.append(std::string_view("; legal sizes: "));
    append_legal_sizes(e, [&](int tp) {
      bool fits = true;
      for (const constraint& c : constraints) fits &= c.fault(tp) == cut_fault::none;
      return fits;
    });
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
    examined x;
    x.who = who;
    x.why = refusal::tie;
    plan_error e("");
    append_refusal(e, x, rules, model, name, {}, options.tp);
    raise(e);
  }

  cut cut_of_parameter(std::string_view name, const tensor_shape& shape, std::uint16_t owner_rule) {
    const examined x = examine_owned(rules, model, name, shape, {owner_rule, no_rule}, options.layout);
    if (x.refused()) {
      shard_error e("");
      append_refusal(e, x, rules, model, name, shape, options.tp);
      raise(e);
    }
    for (std::size_t i = 0; i < x.size_count; ++i) constrain(name, x.sizes[i]);
    return x.how_at(options.tp);
  }

  void constrain(std::string_view name, const size_to_divide& s) {
    for (const constraint& known : constraints) {
      if (known.size.divides_like(s)) return;
    }
    constraints.push({name, s});
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
