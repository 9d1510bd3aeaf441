// SPDX-License-Identifier: Apache-2.0
// `shard`: the verb that applies a plan.
#pragma once
#include "shardwise/shard/detail/sharder.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {

/// Applies `plan` to `tree` at `options.tp` ranks. Reads nothing but names, shapes and config numbers.
///
/// Throws `plan_error` for a tie, and for a rule that matches no parameter and no module (rules of a family's plan
/// may). Throws `shard_error`, with the sizes that are legal, for what does not divide: heads and other units always;
/// single elements where the plan is ours, while rules of Hugging Face cut as torch.chunk does. Throws it also for a
/// parameter that no rule covers (see `uncovered`), a tied pair cut in two ways, a packed dim cut as another number of
/// groups than the engine's layout says, and a weight cut unlike its module.
inline sharding shard(plan_view plan, const tree& tree, const shard_options& options = {}) {
  sharding s;
  if (options.tp < 1 || options.tp > 65536) {
    detail::raise(shard_error("tp is ", options.tp, "; it is the number of ranks, at least 1 and at most 65536"));
  }
  s.tp_ = options.tp;
  s.only_ = s.texts_.keep(options.only);
  for (const rule& r : plan) {
    s.rules_.push(detail::kept(r, s.texts_));
    s.patterns_.push(detail::kept_pattern(r, s.texts_));
  }
  const plan_view rules(s.rules_.data(), s.rules_.size());

  detail::sharder work{rules, tree, options};
  for (const tree_entry& e : tree) {
    if (s.outside(e.name)) {
      work.see(e.name);
      continue;
    }
    sharded_parameter p = work.parameter(e);
    p.name = p.stored_as = s.texts_.keep(e.name);
    s.names_.add(p.name, s.parameters_.size());
    s.parameters_.push(p);
  }
  for (const tied_name& t : tree.ties()) {
    const std::size_t kept = s.names_.find(tree[t.kept].name);
    if (s.outside(t.alias)) {
      work.see(t.alias);
      continue;
    }
    const std::string_view alias = s.texts_.keep(t.alias);
    if (kept == sharding::npos) {  // another pipeline stage holds it under its own name, and this one under the alias
      sharded_parameter p = work.parameter({alias, tree[t.kept].type, tree[t.kept].shape});
      p.name = alias;
      p.stored_as = s.texts_.keep(tree[t.kept].name);
      s.names_.add(alias, s.parameters_.size());
      s.parameters_.push(p);
      continue;
    }
    work.tie(t.alias, s.parameters_[kept]);
    s.names_.add(alias, kept);
    s.ties_.push({kept, alias});
  }
  work.refuse_empty_parts();
  work.refuse_faults();
  work.refuse_holes();

  // A module is whatever a parameter's name has above it.
  const auto add_modules = [&](std::string_view name, std::size_t parameter) {
    bool own = true;
    for (std::size_t dot = name.rfind('.');; dot = name.substr(0, dot).rfind('.')) {
      const std::string_view path = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
      std::size_t at = s.modules_.find(path);
      if (at == sharding::npos) {
        at = s.module_list_.size();
        s.modules_.add(path, at);
        s.module_list_.push({path, work.module_rule(path), sharding::npos});
      } else if (!own) {
        break;  // and what is above it came with it
      }
      auto& m = s.module_list_[at];
      const bool weight = name.size() > path.size() && name.substr(path.empty() ? 0 : path.size() + 1) == "weight";
      if (own && (weight || (m.weight == sharding::npos && s.parameters_[parameter].shape.dims() > 1))) {
        m.weight = parameter;
      }
      if (own && m.rule != no_rule) work.agree(s.parameters_[parameter], name, rules[m.rule]);
      own = false;
      if (dot == std::string_view::npos) break;
    }
  };
  for (std::size_t i = 0; i < s.parameters_.size(); ++i) add_modules(s.parameters_[i].name, i);
  for (const tied_name& t : s.ties_) add_modules(t.alias, t.kept);
  work.refuse_idle_rules(s.unmatched_);
  return s;
}

}  // namespace v0
}  // namespace shardwise
