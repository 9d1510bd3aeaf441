// SPDX-License-Identifier: Apache-2.0
// A plan for one model in Hugging Face's words, compared with the plan parameter by parameter.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/match/rule_index.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/plan/export.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {

/// The path as Hugging Face looks it up.
constexpr segments starred(segments path) {
  for (std::size_t i = 0; i < path.count; ++i) {
    if (path.at[i].number) path.at[i] = segment("*", 1);
  }
  return path;
}

// Makes the rows of what the plan says of each starred name, and then asks them what the plan was asked.
class tree_exporter {
 public:
  tree_exporter(plan_view plan, const tree& model) : plan_(plan), ours_(plan), model_(model) {}

  exported_plan make() {
    each_name([&](std::string_view name, const tensor_shape&) { see(name); });
    for (const starred_module& m : modules_) add_rows(m);
    for (const exported_row& r : out_.rows_) {
      rows_.push(rule(r.pattern, parse_style(r.style), dialect::hugging_face));
    }
    const rule_index theirs(exported_rules());
    each_name([&](std::string_view name, const tensor_shape& shape) { compare(name, shape, theirs); });
    for (const concrete_module& m : seen_) compare(m, theirs);
    for (const rule& r : plan_) {
      if (hugging_face_name(r.how).empty()) continue;
      each_unsaid(r.how, [&](const error& why) { out_.note(joined_path(r.pattern).view(), why); });
    }
    return static_cast<exported_plan&&>(out_);
  }

 private:
  static constexpr std::size_t npos = name_index::npos;

  struct starred_parameter {
    std::string_view name;
    std::uint16_t rule = no_rule;
    std::size_t next = npos;  // the next one of the same module
  };
  struct starred_module {
    std::string_view name;
    std::uint16_t rule = no_rule;
    std::size_t first = npos, last = npos;  // its own parameters
  };
  struct concrete_module {
    std::string_view name;
    std::uint16_t rule = no_rule;
  };

  template <class F>
  void each_name(F f) const {
    for (const tree_entry& e : model_) f(e.name, e.shape);
    for (const tied_name& t : model_.ties()) f(t.alias, model_[t.kept].shape);
  }

  // The first parameter of a starred name speaks for all; `compare` finds those that are unlike it.
  void see(std::string_view name) {
    const segments path = split_name(name);
    const joined_path text(starred(path));
    const bool first = parameter_index_.find(text.view()) == npos;
    if (first) {
      const std::string_view kept = texts_.keep(text.view());
      parameter_index_.add(kept, parameters_.size());
      parameters_.push({kept, ours_.parameter(name).rule, npos});
    }
    bool own = true;
    for (std::string_view at = name; !at.empty();) {
      at = module_of(at);
      if (concrete_index_.add(at, seen_.size())) {
        seen_.push({at, ours_.module(at).rule});
        const joined_path module(starred(split_name(at)));
        if (module_index_.find(module.view()) == npos) {
          const std::string_view kept = texts_.keep(module.view());
          module_index_.add(kept, modules_.size());
          modules_.push({kept, seen_[seen_.size() - 1].rule, npos, npos});
        }
      } else if (!own) {
        return;  // what is above it has been seen, too
      }
      if (own && first) {
        starred_module& m = modules_[module_index_.find(joined_path(starred(split_name(at))).view())];
        const std::size_t p = parameters_.size() - 1;
        if (m.first == npos) m.first = p;
        if (m.last != npos) parameters_[m.last].next = p;
        m.last = p;
      }
      own = false;
    }
  }

  std::string_view word(std::uint16_t rule) const {
    return rule == no_rule ? std::string_view() : hugging_face_name(plan_[rule].how);
  }
  // Does a rule say more of a module than how its parameters are cut?
  static bool speaks_of_module(const style& s) { return s.has_module_half() || !s.has_parameter_half(); }

  void add_rows(const starred_module& m) {
    const bool speaks = m.rule != no_rule && !m.name.empty() && speaks_of_module(plan_[m.rule].how);
    std::string_view said = speaks ? word(m.rule) : std::string_view();
    if (!speaks && !m.name.empty() && m.first != npos) {
      // One row for all, where they are alike and it says nothing of the module.
      const std::uint16_t rule = parameters_[m.first].rule;
      said = rule != no_rule && !speaks_of_module(plan_[rule].how) ? word(rule) : std::string_view();
      for (std::size_t p = m.first; p != npos; p = parameters_[p].next) {
        if (word(parameters_[p].rule) != said) said = {};
      }
    }
    for (std::size_t p = m.first; p != npos; p = parameters_[p].next) {
      const std::string_view own = word(parameters_[p].rule);
      if (!own.empty() && own != said) out_.add(parameters_[p].name, own);
    }
    if (!said.empty()) out_.add(m.name, said);
  }

  plan_view exported_rules() const { return {rows_.data(), rows_.size()}; }

  void compare(std::string_view name, const tensor_shape& shape, const rule_index& rows) {
    const std::uint16_t ours = ours_.parameter(name).rule, theirs = rows.parameter(name).rule;
    const auto cut_of_rule = [&](std::uint16_t rule, plan_view rules) {
      return rule == no_rule ? cut{} : cut_by(rules[rule].how, shape.dims(), is_bias(name)).how;
    };
    const cut have = cut_of_rule(ours, plan_), get = cut_of_rule(theirs, exported_rules());
    if (have.dim == get.dim && have.groups == get.groups) return;
    note(split_name(name), ours, theirs, "cut");
  }
  void compare(const concrete_module& m, const rule_index& rows) {
    const style ours = m.rule == no_rule ? style{} : plan_[m.rule].how;
    const std::uint16_t rule = rows.module(m.name).rule;
    const style theirs = rule == no_rule ? style{} : rows_[rule].how;
    const bool both_silent = !speaks_of_module(ours) && !speaks_of_module(theirs);
    if (both_silent || (ours.kind == theirs.kind && ours.has_module_half() == theirs.has_module_half())) return;
    note(split_name(m.name), m.rule, rule, "run");
  }

  // Once for each starred name.
  void note(const segments& path, std::uint16_t ours, std::uint16_t theirs, std::string_view done) {
    const joined_path what(starred(path));
    if (!noted_.add(texts_.keep(what.view()), 0)) return;
    error why(done, " by ");
    append_style(why, ours, plan_);
    why.append(std::string_view(" in the plan, and by "));
    append_style(why, theirs, exported_rules());
    why.append(std::string_view(" in the exported rows, which "));
    const bool one_number = ours != no_rule && !word(ours).empty() && word(ours) != word_of_row(theirs);
    why.append(std::string_view(one_number ? "have one row for all numbers" : "cannot say it"));
    out_.note(what.view(), why);
  }
  std::string_view word_of_row(std::uint16_t row) const {
    return row == no_rule ? std::string_view() : out_.rows_[row].style;
  }
  static void append_style(error& e, std::uint16_t rule, plan_view rules) {
    if (rule == no_rule) return e.append(std::string_view("no rule"));
    const style& s = rules[rule].how;
    e.append(s.name());
    if (s.group_count < 2) return;
    e.append(std::string_view(" of "));
    e.append(static_cast<int>(s.group_count));
    e.append(std::string_view(" groups"));
  }

  plan_view plan_;
  rule_index ours_;
  const tree& model_;
  exported_plan out_;
  text_store texts_;
  list<rule> rows_;
  list<starred_parameter> parameters_;
  list<starred_module> modules_;
  list<concrete_module> seen_;
  name_index parameter_index_, module_index_, concrete_index_, noted_;
};

}  // namespace detail

/// The rows that make Hugging Face cut and run `model` as `plan` does: every name is looked up by the plan, and every
/// row is one of a module, or of a parameter that is unlike its module. Where Hugging Face, given these rows, would do
/// otherwise (layers that differ, groups other than 2, a packed vector), `notes()` names the place. A plan whose rows
/// are all Hugging Face's own keeps them as they are.
inline exported_plan exported(plan_view plan, const tree& model) {
  bool theirs = true;
  for (const rule& r : plan) theirs &= r.matching == dialect::hugging_face;
  return theirs ? exported(plan) : detail::tree_exporter(plan, model).make();
}

}  // namespace v0
}  // namespace shardwise
