// SPDX-License-Identifier: Apache-2.0
// Coverage of a run-time tree: the same facts as of a described type, as the same value.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/match/coverage.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/match/rule_index.hpp"
#include "shardwise/model/tree.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
/// Which rules of a plan speak of anything in a model.
class rule_use {
 public:
  explicit rule_use(plan_view rules) : index_(rules), idle_(rules.size()) { used_.resize(rules.size()); }

  bool used(std::size_t rule) const { return used_[rule]; }
  /// Marks the rules that speak of the parameter `name`, and gives its owner.
  owner parameter(std::string_view name) {
    return index_.parameter(name, [this](std::uint16_t r) { mark(r); });
  }
  /// Marks the rules that speak of the module `name`, and gives its owner.
  owner module(std::string_view name) {
    return index_.module(name, [this](std::uint16_t r) { mark(r); });
  }
  /// Marks the rules that speak of a module above the parameter `name`: a rule may speak of one without parameters of
  /// its own. The text lives until the next call.
  void modules_above(std::string_view name) {
    // What is above the last name, too, has been asked about.
    std::size_t common = 0, same = 0;
    for (; same < name.size() && same < last_.size() && name[same] == last_[same]; ++same) {
      if (name[same] == '.') common = same + 1;
    }
    const bool first = last_.empty();
    last_ = name;
    while (idle_ != 0 && !name.empty()) {
      const std::size_t dot = name.rfind('.');
      if (!first && (dot == std::string_view::npos || dot < common)) return;
      name = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
      this->module(name);  // at the start of a line the bare word is a directive to nvcc
    }
  }

 private:
  void mark(std::uint16_t rule) {
    idle_ -= used_[rule] ? 0 : 1;
    used_[rule] = true;
  }

  rule_index index_;
  list<bool> used_;
  std::size_t idle_;  // rules that are not used
  std::string_view last_;
};
}  // namespace detail

/// What `plan` leaves open in `model`: parameters without a rule and of which two rules speak equally (indices in the
/// tree; a tied name counts as its parameter), and rules that match nothing (indices in the plan; those of a family's
/// plan may). The run-time counterpart of `coverage`.
inline coverage_verdict coverage_of(plan_view plan, const tree& model) {
  coverage_verdict v;
  detail::rule_use use(plan);
  const auto look_at = [&](std::string_view name, std::size_t index) {
    const owner who = use.parameter(name);
    if (who.rule == no_rule) detail::note(v.hole, v.holes, index);
    if (who.tied_with != no_rule) detail::note(v.tie, v.ties, index);
  };
  for (std::size_t i = 0; i < model.size(); ++i) look_at(model[i].name, i);
  for (const tied_name& t : model.ties()) look_at(t.alias, t.kept);
  for (const tree_entry& e : model) use.modules_above(e.name);
  for (const tied_name& t : model.ties()) use.modules_above(t.alias);
  for (std::size_t r = 0; r < plan.size(); ++r) {
    if (!use.used(r) && !plan[r].optional) detail::note(v.idle_rule, v.idle, r);
  }
  return v;
}

}  // namespace v0
}  // namespace shardwise
