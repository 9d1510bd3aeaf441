// SPDX-License-Identifier: Apache-2.0
// What each rank holds of each parameter, and what cannot be cut: under Hugging Face's plans as Hugging Face does it.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plans.hpp"
#include "shardwise/checkpoint/headers.hpp"
#include "shardwise/detail/json_writer.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/shard/examine.hpp"
#include "shardwise/shard/slice.hpp"

namespace tool {

/// A parameter that is cut, or a parameter or module that cannot be: `refused` says why.
struct named_cut {
  std::string_view name;  ///< lives as long as the headers
  sw::cut how;
  std::size_t extent = 0;  ///< of the cut dim
  std::string refused;
};

/// All cuts of a plan; what is whole on every rank is left out.
struct cut_list {
  int ranks = 1;
  std::vector<named_cut> cuts;
  std::string refused;  ///< why the plan as a whole cannot be used

  bool clean() const {
    for (const named_cut& c : cuts) {
      if (!c.refused.empty()) return false;
    }
    return refused.empty();
  }
};

namespace detail {

/// A module of a model, as its parameters' names show it.
struct module_facts {
  std::string_view name;
  bool owns_parameters = false;  ///< false: it only has modules below it
};

/// The name with a star for each number.
inline std::string starred(std::string_view name) {
  std::string text;
  const sw::detail::segments path = sw::detail::split_name(name);
  for (std::size_t i = 0; i < path.count; ++i) {
    const bool number = i != 0 && sw::detail::is_number(path.at[i].text, path.at[i].size());
    text += (i == 0 ? "" : ".") + std::string(number ? "*" : path.at[i].view());
  }
  return text;
}

inline std::vector<module_facts> modules_of(const std::vector<std::string_view>& names) {
  std::vector<module_facts> modules;
  sw::detail::name_index known;
  for (std::string_view name : names) {
    for (bool owner = true;; owner = false) {
      name = sw::detail::module_of(name);
      std::size_t at = known.find(name);
      const bool seen = at != sw::detail::name_index::npos;
      if (!seen) {
        at = modules.size();
        known.add(name, at);
        modules.push_back({name});
      }
      modules[at].owns_parameters |= owner;
      if (seen || name.empty()) break;  // whatever is above is known too
    }
  }
  return modules;
}

/// Why a rule cannot be put on a module: Hugging Face wants a linear layer for these, and a class with experts for
/// those. What a file does not say the class of may be one.
inline std::string module_fault(const sw::style& how, const module_facts& m, std::string_view class_name,
                                sw::parallelism over) {
  using sw::style_kind;
  const bool linear =
      how.group_count == 1 && (how.kind == style_kind::colwise || how.kind == style_kind::colwise_gather_output ||
                               how.kind == style_kind::rowwise || how.kind == style_kind::rowwise_split_input);
  const bool experts = how.kind == style_kind::ep_dispatch_experts;
  const std::string named = sw::detail::in_quotes(m.name);
  if (linear && !m.owns_parameters) {
    return named + " is a list of modules, and " + std::string(how.name()) +
           " cuts a linear layer: name the layers below it";
  }
  const auto is = [&](std::string_view word) { return class_name.find(word) != std::string_view::npos; };
  if (linear && !class_name.empty() && !is("Linear") && !class_name.ends_with("Router")) {
    return named + " is a " + std::string(class_name) + ", and " + std::string(how.name()) +
           " cuts a linear layer: name its parameters instead, or use another style";
  }
  if (experts && over == sw::parallelism::tensor) {
    return named +
           ": ep_dispatch_experts belongs in an expert-parallel plan; for tensor parallelism use moe_tp_experts";
  }
  if (experts && (is("Linear") || is("Embedding") || is("Norm") || is("Conv") || is("Identity"))) {
    return named + " is a " + std::string(class_name) + ", and ep_dispatch_experts is for the module of the experts";
  }
  return {};
}

}  // namespace detail

/// Cuts every parameter of a model by a plan over this many ranks.
inline cut_list cuts_of(const chosen_plan& plan, const sw::checkpoint::headers& model, int ranks) {
  cut_list list;
  list.ranks = ranks;
  if (ranks == 1) return list;
  if (plan.rules.size() == 0) {
    list.refused = "the plan has no rules, and " + std::string(sw::name_of(plan.over)) + " " + std::to_string(ranks) +
                   " was asked for: give a plan that has some, or run on one rank";
    return list;
  }

  const sw::tree& tree = model.tree();
  std::vector<std::string_view> names;
  names.reserve(tree.size() + tree.ties().size());
  for (const sw::tree_entry& e : tree) names.push_back(e.name);
  for (const sw::tied_name& t : tree.ties()) names.push_back(t.alias);

  std::vector<named_cut> modules;
  for (const detail::module_facts& m : detail::modules_of(names)) {
    const sw::owner who = sw::find_module_rule(plan.rules, m.name);
    if (who.rule == sw::no_rule) continue;
    const sw::style& how = plan.rules[who.rule].how;
    std::string fault = detail::module_fault(how, m, model.class_of(m.name), plan.over);
    if (!fault.empty()) modules.push_back({m.name, {}, 0, std::move(fault)});
  }
  for (const std::string_view name : names) {
    const sw::tensor_shape& shape = tree[tree.find(name)].shape;
    const sw::examined x = sw::examine(plan.rules, tree, name, shape, ranks);
    if (x.refused()) {
      sw::shard_error why("");
      sw::append_refusal(why, x, plan.rules, tree, name, shape, ranks);
      list.cuts.push_back({name, {}, 0, std::string(why.text())});
    } else if (!x.how.whole()) {
      list.cuts.push_back({name, x.how, shape[static_cast<std::size_t>(x.how.dim)], {}});
    }
  }
  for (named_cut& m : modules) list.cuts.push_back(std::move(m));
  return list;
}

/// {"cuts": {name: {"dim": d, "intervals": [[[begin, end], ...] for each rank]}}}, or {"error": why} for a name, or for
/// all.
inline std::string json_of(const cut_list& list) {
  sw::detail::json_writer w;
  w.begin_object();
  if (!list.refused.empty()) return w.member("error", list.refused).end_object().take();
  w.key("cuts").begin_object();
  for (const named_cut& c : list.cuts) {
    w.key(c.name).begin_object();
    if (!c.refused.empty()) {
      w.member("error", c.refused).end_object();
      continue;
    }
    w.member("dim", c.how.dim).key("intervals").begin_array();
    for (int rank = 0; rank < list.ranks; ++rank) {
      w.begin_array();
      for (const sw::interval& i : sw::pieces_of(c.how, c.extent, list.ranks, rank)) {
        w.begin_array().value(i.begin).value(i.end).end_array();
      }
      w.end_array();
    }
    w.end_array().end_object();
  }
  return w.end_object().end_object().take();
}

/// The same for people: a line for all names that differ in their numbers alone and are cut alike.
inline std::string text_of(const cut_list& list) {
  std::string text;
  std::map<std::string, std::size_t> lines;
  std::vector<std::pair<std::string, std::size_t>> order;  // a line, and for how many names
  for (const named_cut& c : list.cuts) {
    std::string line;
    if (!c.refused.empty()) {
      line = "error: " + c.refused;
    } else {
      line = detail::starred(c.name) + "  dim " + std::to_string(c.how.dim) + "  ";
      for (int rank = 0; rank < list.ranks; ++rank) {
        if (rank != 0) line += " | ";
        const sw::intervals pieces = sw::pieces_of(c.how, c.extent, list.ranks, rank);
        if (pieces.count == 0) line += "-";
        for (const sw::interval& i : pieces) {
          if (&i != pieces.begin()) line += ",";
          line += std::to_string(i.begin) + ":" + std::to_string(i.end);
        }
      }
    }
    const auto [at, is_new] = lines.try_emplace(std::move(line), order.size());
    if (is_new) order.emplace_back(at->first, 0);
    ++order[at->second].second;
  }
  for (const auto& [line, names] : order) {
    text += line + (names == 1 ? "" : "  (" + std::to_string(names) + " alike)") + "\n";
  }
  return text.empty() ? "every parameter is whole on every rank\n" : text;
}

}  // namespace tool
