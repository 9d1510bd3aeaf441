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

#include "shardwise/audit/options.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/shard/examine.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The name with a star for each number: of a layer, of an expert.
inline std::string starred(std::string_view name) {
  std::string out;
  out.reserve(name.size());
  for (std::size_t begin = 0, i = 0; i <= name.size(); ++i) {
    if (i != name.size() && name[i] != '.') continue;
    if (begin != 0) out += '.';
    const std::string_view segment = name.substr(begin, i - begin);
    is_number(segment.data(), segment.size()) ? out += '*' : out += segment;
    begin = i + 1;
  }
  return out;
}
/// The last segment.
constexpr std::string_view leaf_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}
inline std::string dotted(std::string_view module, std::string_view leaf) {
  return module.empty() ? std::string(leaf) : std::string(module) + "." + std::string(leaf);
}
inline std::string pattern_text(const rule& r) {
  std::string text(length_of(r.pattern), ' ');
  write_path(r.pattern, text.data());
  return text;
}

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

/// The model as an audit sees it.
class facts {
 public:
  facts(plan_view plan, const tree& model, int ranks, const audit_options& o)
      : rules(plan), tree_(&model), tp(ranks), options(o), use(plan) {
    group_of_.resize(model.size());
    for (std::size_t i = 0; i < model.size(); ++i) group_of_[i] = group(model[i].name, model[i].type, model[i].shape);
    for (const tied_name& t : model.ties()) {
      const tree_entry& e = model[t.kept];
      const std::size_t g = group(t.alias, e.type, e.shape);
      groups[g].kept = group_of_[t.kept];
      aliases_.emplace(t.alias, g);
    }
    for (const audited& g : groups) use.modules_above(g.name);
    // Alike names are matched alike, but by a rule of ours that has a number.
    bool numbers = false;
    for (std::size_t r = 0; r < rules.size(); ++r) {
      numbers |= !use.used(r) && rules[r].matching == dialect::shardwise && has_number(rules[r]);
    }
    if (numbers) {
      for (const tree_entry& e : model) use.modules_above(e.name);
    }
  }

  const tree& model() const { return *tree_; }
  const rule& rule_of(const audited& g) const { return rules[g.x.who.rule]; }
  std::string_view style_of(const audited& g) const {
    return g.x.covered() ? rule_of(g).how.name() : std::string_view("no rule");
  }
  /// The parameter of this very name, or null.
  const audited* find(std::string_view name) const {
    if (const auto alias = aliases_.find(name); alias != aliases_.end()) return &groups[alias->second];
    const std::size_t i = tree_->find(name);
    return i == tree::npos ? nullptr : &groups[group_of_[i]];
  }
  /// A number of the config that the parameter belongs to; 0 where there is none.
  std::size_t number(std::string_view name, std::string_view field) const {
    const std::int64_t* n = tree_->find_number(name, field);
    return n == nullptr || *n < 0 ? 0 : static_cast<std::size_t>(*n);
  }
  /// The rule of a module, `no_rule` without one.
  std::uint16_t module_rule(std::string_view path) const { return find_module_rule(rules, split_name(path)).rule; }
  /// The module half of the rule of a module: null where it has none that changes anything.
  const style* module_style(std::string_view path) const {
    const std::uint16_t r = module_rule(path);
    return r == no_rule || !rules[r].how.has_module_half() ? nullptr : &rules[r].how;
  }

  plan_view rules;

 private:
  const tree* tree_;

 public:
  int tp;
  const audit_options& options;
  rule_use use;
  std::vector<audited> groups;  ///< in the order of the model, tied names last

 private:
  // May a pattern mean one number alone, by a segment or an alternative of digits? "post_norm_2" does not.
  static bool has_number(const rule& r) {
    for (std::size_t i = 0; i < r.pattern.count; ++i) {
      std::size_t letters = 0, digits = 0;
      for (const char c : r.pattern.at[i].view()) {
        if (c == '{' || c == ',' || c == '}') {
          if (digits != 0 && letters == 0) return true;
          letters = digits = 0;
        } else {
          ++(c >= '0' && c <= '9' ? digits : letters);
        }
      }
      if (digits != 0 && letters == 0) return true;
    }
    return false;
  }

  // The index of the group of a parameter, which is made if it is the first of it.
  std::size_t group(std::string_view name, dtype type, const tensor_shape& shape) {
    const owner who = use.parameter(name);
    std::string key = starred(name);
    const std::size_t subject = key.size();
    key += ' ' + std::to_string(who.rule) + ' ' + std::to_string(static_cast<int>(type));
    for (const std::size_t n : shape) key += ' ' + std::to_string(n);
    const auto [at, made] = index_.emplace(std::move(key), groups.size());
    if (!made) {
      ++groups[at->second].count;
      return at->second;
    }
    audited g;
    g.subject = at->first.substr(0, subject);
    g.name = name;
    g.type = type;
    g.shape = shape;
    g.count = 1;
    g.x.who = who;
    if (who.tied_with != no_rule) {
      g.x.why = refusal::tie;
    } else if (who.rule != no_rule) {
      g.x = examine_owned(rules, *tree_, name, shape, who, options.layout);
      if (!g.x.refused() && !g.x.divides(tp)) g.x.why = refusal::does_not_divide;
      g.level = matches_parameter(rules[who.rule], split_name(name));
    }
    groups.push_back(std::move(g));
    return groups.size() - 1;
  }

  std::unordered_map<std::string, std::size_t> index_;
  std::unordered_map<std::string_view, std::size_t> aliases_;
  std::vector<std::size_t> group_of_;
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
