// SPDX-License-Identifier: Apache-2.0
// What the checks of an audit look at: the parameters of a model, alike ones together, with what the plan makes of
// them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shardwise/audit/detail/names.hpp"
#include "shardwise/audit/detail/survey.hpp"
#include "shardwise/audit/options.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/shard/examine.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Parameters of one starred name, shape, dtype and rule.
struct audited {
  std::string subject;    ///< the starred name
  std::string_view name;  ///< of the first
  dtype type = dtype::f32;
  tensor_shape shape;  ///< of each
  examined x;
  match_level level = match_level::none;  ///< does the rule name the parameter, or its module?
  std::size_t count = 0;
  std::size_t kept = npos;  ///< of a tied name: the index in `facts::groups` of the parameter that it is

  static constexpr std::size_t npos = ~std::size_t{};
  bool tied() const { return kept != npos; }
  std::size_t bytes_of_one() const { return shape.elements() * size_of(type); }
  std::size_t bytes() const { return count * bytes_of_one(); }
  std::string_view module() const { return module_of(name); }
  std::string_view leaf() const { return leaf_of(name); }
  /// The name of what a plan's row speaks of: the module of a weight, else the parameter.
  std::string_view thing() const { return leaf() == "weight" && name.size() > 6 ? module() : name; }
  bool is_cut() const { return !x.how.whole(); }
  std::size_t cut_extent() const { return is_cut() ? shape[static_cast<std::size_t>(x.how.dim)] : 0; }
  /// On which side of a product it is cut; the input features are the last dim of a matrix.
  bool cut_on_input() const { return is_cut() && shape.dims() >= 2 && x.how.dim + 1 == static_cast<int>(shape.dims()); }
};

/// A survey as an audit at `ranks` ranks sees it.
class facts {
 public:
  facts(const survey& all, int ranks, const audit_options& o)
      : rules(all.rules()), tp(ranks), options(o), use(all.use()), survey_(all) {
    group_of_.reserve(all.parameters().size());
    for (const parameter_class& p : all.parameters()) group_of_.push_back(group(p));
  }

  const tree& model() const { return survey_.model(); }
  const rule& rule_of(const audited& g) const { return rules[g.x.who.rule]; }
  std::string_view style_of(const audited& g) const {
    return g.x.covered() ? rule_of(g).how.name() : std::string_view("no rule");
  }
  /// The parameter of this very name, or null.
  const audited* find(std::string_view name) const {
    return model().find(name) == tree::npos ? nullptr : &groups[group_of_[survey_.find_parameter(name)]];
  }
  /// A number of the config that the parameter belongs to; 0 where there is none.
  std::size_t number(std::string_view name, std::string_view field) const {
    const std::int64_t* n = model().find_number(name, field);
    return n == nullptr || *n < 0 ? 0 : static_cast<std::size_t>(*n);
  }
  /// The rule of a module, `no_rule` without one.
  std::uint16_t module_rule(std::string_view path) const { return find_module_rule(rules, split_name(path)).rule; }
  /// The module half of the rule of a module: null where it has none that changes anything.
  const style* module_style(std::string_view path) const {
    const std::uint16_t r = module_rule(path);
    if (r == no_rule || !rules[r].how.has_module_half()) return nullptr;
    if (rules[r].how.whole_if_refused) {  // at this number of ranks it may be whole, and its step does nothing
      const audited* weight = find(dotted(path, "weight"));
      if (weight != nullptr && !weight->is_cut()) return nullptr;
    }
    return &rules[r].how;
  }
  /// A norm over features that the ranks share: each has the scale of its own, and the module's step adds up their
  /// squares.
  bool sums_of_squares(const audited& g) const {
    const style* step = g.is_cut() && g.shape.dims() == 1 ? module_style(g.module()) : nullptr;
    return step != nullptr && step->kind == style_kind::all_reduce;
  }

  plan_view rules;
  int tp;
  const audit_options& options;
  const rule_use& use;
  std::vector<audited> groups;  ///< in the order of the model, tied names last

 private:
  // The index of the group of a class, which is made if it is the first of it: a survey that does not fold has alike
  // ones apart.
  std::size_t group(const parameter_class& p) {
    const bool apart = !survey_.folded();
    std::string subject = apart ? starred(p.name) : std::string(p.name);
    const std::size_t kept = p.owns_bytes() ? audited::npos : group_of_[p.alias_of];
    if (apart) {
      std::string key = subject;
      for (const std::size_t n : {std::size_t{p.what.who.rule}, static_cast<std::size_t>(p.type), kept}) {
        key += ' ' + std::to_string(n);
      }
      for (const std::size_t n : p.shape) key += ' ' + std::to_string(n);
      const auto [at, made] = index_.emplace(std::move(key), groups.size());
      if (!made) {
        groups[at->second].count += p.count;
        return at->second;
      }
    }
    audited g;
    g.subject = std::move(subject);
    g.name = p.first;
    g.type = p.type;
    g.shape = p.shape;
    g.x = p.what;
    g.count = p.count;
    g.kept = kept;
    if (g.x.covered() && g.x.why != refusal::tie) {
      if (!g.x.refused() && !g.x.divides(tp)) g.x.why = refusal::does_not_divide;
      if (!g.x.refused()) g.x.how = g.x.how_at(tp);
      g.level = matches_parameter(rules[g.x.who.rule], split_name(g.name));
    }
    groups.push_back(std::move(g));
    return groups.size() - 1;
  }

  const survey& survey_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<std::size_t> group_of_;  // of each class
};

/// Adds findings to a report, those that differ in their subject only to one.
class findings {
 public:
  explicit findings(audit_report& to) : to_(to) {}

  finding& add(finding_kind kind, severity how_bad, const audited& about, std::string subject) {
    finding& f = add(kind, how_bad, std::move(subject));
    f.first = about.name;
    f.count = about.count;
    return f;
  }
  finding& add(finding_kind kind, severity how_bad, std::string subject) {
    finding f;
    f.kind = kind;
    f.severity = how_bad;
    f.subject = std::move(subject);
    return to_.findings.emplace_back(std::move(f));
  }

 private:
  audit_report& to_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
