// SPDX-License-Identifier: Apache-2.0
// What a plan does to one parameter or module, and why not more.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/legality.hpp"
#include "shardwise/audit/detail/nearest.hpp"
#include "shardwise/audit/detail/survey.hpp"
#include "shardwise/audit/detail/words.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/detail/json_writer.hpp"

namespace shardwise {
inline namespace v0 {

/// A parameter, or several that differ in the numbers of their names only.
struct explained_parameter {
  std::string name;   ///< with stars where it stands for several
  std::size_t count;  ///< how many
  dtype type;
  tensor_shape shape;       ///< of each, whole
  std::string rule, style;  ///< pattern and style of the rule that owns it; empty without one
  std::string reason;       ///< that the rule gives for being whole
  std::string alias_of;     ///< of a tied name: the parameter that is stored
  placement where;
  cut how;
  std::vector<slices> ranks;            ///< each rank's boxes, in the order in which they lie in its tensor
  std::vector<std::size_t> rank_bytes;  ///< of one
  std::string refusal;                  ///< why it cannot be cut so; empty where it can
  std::vector<int> even, uneven;        ///< the numbers of ranks up to 64 that can share it
  std::string limit;                    ///< what it can be cut into at most, or why it is whole
};

/// A module, or several likewise, and what it does over the ranks.
struct explained_module {
  std::string name;
  std::size_t count;
  std::string rule, style;  ///< of the rule that owns it; empty without one
  placement input, local, output;
  bool splits_input;
  collective then;
  std::size_t features;  ///< elements of the collective's result for each token; 0: none, or the plan does not say
  std::size_t payload;   ///< those in bytes
  std::size_t sent;      ///< bytes that a rank sends for them, by the ring's bound
};

/// Made by `explain`. A plain value.
struct explanation {
  std::string asked;
  int tp = 1;
  std::vector<explained_parameter> parameters;
  std::vector<explained_module> modules;  ///< the one asked for, or those of the parameters, the inmost first
  std::vector<std::string> nearest;       ///< where there is nothing of that name: what was perhaps meant
  bool found() const { return !parameters.empty() || !modules.empty(); }
};

namespace detail {

class explainer {
 public:
  explainer(const survey& s, int tp, dtype activations) : survey_(s), legal_(s), tp_(tp), activations_(activations) {}

  explanation run(std::string_view asked) const {
    explanation e;
    e.asked = asked;
    e.tp = tp_;
    std::vector<std::size_t> parameters, modules;
    std::string shown;
    if (asked.find_first_of("*{") != std::string_view::npos) {
      match(asked, parameters, modules);
    } else if (const std::size_t p = find(asked); p != tree::npos) {
      parameters.push_back(p);
      shown = asked;
    } else if (const std::size_t m = survey_.find_module(asked); m != tree::npos) {
      modules.push_back(m);
      below(m, parameters);
    }
    for (const std::size_t p : parameters) e.parameters.push_back(parameter(survey_.parameters()[p]));
    if (!shown.empty()) {
      e.parameters[0].name = shown;
      e.parameters[0].count = 1;
    }
    if (modules.empty()) {
      for (const std::size_t p : parameters) add_once(modules, survey_.parameters()[p].module);
    }
    for (const std::size_t p : parameters) {  // and whatever acts on the way out
      for (std::size_t m = survey_.parameters()[p].module; m != tree::npos; m = survey_.modules()[m].above) {
        if (survey_.step_of(m) != nullptr) add_once(modules, m);
      }
    }
    for (const std::size_t m : modules) e.modules.push_back(module(m));
    if (!e.found()) e.nearest = nearest_names(survey_, asked);
    return e;
  }

 private:
  static void add_once(std::vector<std::size_t>& list, std::size_t i) {
    if (std::find(list.begin(), list.end(), i) == list.end()) list.push_back(i);
  }
  // The class of the parameter of this very name.
  std::size_t find(std::string_view name) const {
    if (survey_.model().find(name) == tree::npos) return tree::npos;
    return survey_.find_parameter(name);
  }
  void match(std::string_view pattern, std::vector<std::size_t>& parameters, std::vector<std::size_t>& modules) const {
    const rule r(pattern, style{}, dialect::shardwise);
    const tree& model = survey_.model();
    for (std::size_t i = 0; i < model.size(); ++i) {
      if (matches_module(r, split_name(model[i].name))) add_once(parameters, survey_.class_of(i));
    }
    for (const tied_name& t : model.ties()) {
      if (matches_module(r, split_name(t.alias))) add_once(parameters, survey_.find_parameter(t.alias));
    }
    if (!parameters.empty()) return;
    for (std::size_t m = 0; m < survey_.modules().size(); ++m) {
      if (!matches_module(r, split_name(survey_.modules()[m].first))) continue;
      modules.push_back(m);
      below(m, parameters);
    }
  }
  void below(std::size_t module, std::vector<std::size_t>& parameters) const {
    for (std::size_t i = 0; i < survey_.parameters().size(); ++i) {
      for (std::size_t m = survey_.parameters()[i].module; m != tree::npos; m = survey_.modules()[m].above) {
        if (m == module) add_once(parameters, i);
      }
    }
  }

  explained_parameter parameter(const parameter_class& p) const {
    explained_parameter e{};
    e.name = p.name;
    e.count = p.count;
    e.type = p.type;
    e.shape = p.shape;
    e.how = p.what.how;
    if (!p.owns_bytes()) e.alias_of = survey_.parameters()[p.alias_of].name;
    if (p.what.covered()) {
      const rule& r = survey_.rules()[p.what.who.rule];
      e.rule = pattern_text(r);
      e.style = style_text(r.how);
      e.reason = r.how.reason;
    }
    const int dims = static_cast<int>(p.shape.dims());
    if (!e.how.whole()) {
      e.where.kind = placement::sharded;
      e.where.dim = e.how.dim + 1 == dims ? -1 : e.how.dim;
    }
    e.refusal = legal_.reason_against(p, tp_);
    for (int tp = 1; tp <= 64; ++tp) {
      if (!legal_.reason_against(p, tp).empty()) continue;
      (legal_.uneven_at(p, tp) ? e.uneven : e.even).push_back(tp);
    }
    e.limit = limit(p, e.even);
    if (!e.refusal.empty()) return e;
    for (int r = 0; r < tp_; ++r) {
      e.ranks.push_back(slices_of(e.how, p.shape, tp_, r));
      e.rank_bytes.push_back(local_shape_of(e.how, p.shape, tp_, r).elements() * size_of(p.type));
    }
    return e;
  }

  // Why not in more pieces?
  std::string limit(const parameter_class& p, const std::vector<int>& even) const {
    if (!p.what.covered()) return "no rule of the plan speaks of it: it is whole on every rank, and nobody said so";
    const rule& r = survey_.rules()[p.what.who.rule];
    if (p.what.how.whole()) {
      if (!r.how.reason.empty()) return "the plan says why: " + std::string(r.how.reason);
      if (r.how.facts().cut == cut_of::in && p.shape.dims() == 1) {
        return "it is added once, to the sum over the ranks, so that each rank has all of it";
      }
      return "the plan says " + std::string(r.how.name()) + ": it is whole on every rank";
    }
    std::string out = legal_.parts_text(p);
    const auto next = std::upper_bound(even.begin(), even.end(), tp_);
    if (next == even.end()) return out + "; no larger number of ranks up to 64 can share it evenly";
    return out + "; the next number of ranks that can share it evenly is " + std::to_string(*next);
  }

  explained_module module(std::size_t m) const {
    const module_class& c = survey_.modules()[m];
    explained_module e{};
    e.name = c.name;
    e.count = c.count;
    if (c.who.rule != no_rule) {
      e.rule = pattern_text(survey_.rules()[c.who.rule]);
      e.style = style_text(survey_.rules()[c.who.rule].how);
    }
    const style* step = survey_.step_of(m);
    if (step == nullptr) return e;
    e.input = step->facts().input;
    e.local = step->facts().local;
    e.output = step->facts().output;
    e.splits_input = step->facts().splits_input;
    e.then = step->facts().then;
    for (const collective_class& k : survey_.collectives()) {
      if (k.module == m) e.features = k.features;
    }
    e.payload = e.features * size_of(activations_);
    e.sent = sent_bytes(e.then, e.payload, tp_);
    return e;
  }

  const survey& survey_;
  legality legal_;
  int tp_;
  dtype activations_;
};

/// "[0:256, :]".
inline std::string box_text(const box& b, const tensor_shape& whole) {
  std::string out = "[";
  for (std::size_t d = 0; d < whole.dims(); ++d) {
    if (d != 0) out += ", ";
    if (b.extent[d] == whole[d]) {
      out += ':';
    } else {
      out += std::to_string(b.offset[d]) + ':' + std::to_string(b.offset[d] + b.extent[d]);
    }
  }
  return out + ']';
}

}  // namespace detail

/// Explains the parameter or the module called `name`, or all parameters (without any: modules) that the pattern `name`
/// matches: `**.k_proj.weight`. Of a module also what is below it. Nothing is thrown where there is none of that name:
/// see `explanation::nearest`. Throws `plan_error` for a pattern that is none, and for `tp` below 1 or above 65536.
inline explanation explain(plan_view plan, const tree& model, std::string_view name, int tp, layout_view layout = {},
                           dtype activations = dtype::bf16) {
  if (tp < 1 || tp > 65536) {
    detail::raise(plan_error("tp is ", tp, "; it is the number of ranks, at least 1 and at most 65536"));
  }
  const detail::survey s(plan, model, layout);
  return detail::explainer(s, tp, activations).run(name);
}

inline std::string text_of(const explanation& e) {
  std::string out;
  const auto line = [&out](std::string_view what, const std::string& value) {
    out += "  " + std::string(what) + std::string(what.size() < 11 ? 11 - what.size() : 1, ' ') + value + '\n';
  };
  const auto head = [&out](const std::string& name, std::size_t count) {
    out += (out.empty() ? "" : "\n") + name + (count == 1 ? "" : " (" + std::to_string(count) + " alike)") + '\n';
  };
  const auto ruled = [](const std::string& rule, const std::string& style) {
    return rule.empty() && style.empty() ? std::string("none") : '\'' + rule + "': " + style;
  };
  for (const explained_parameter& p : e.parameters) {
    head(p.name, p.count);
    if (!p.alias_of.empty()) line("stored as", p.alias_of);
    line("shape", detail::shape_text(p.shape) + ' ' + std::string(name_of(p.type)) + ", " +
                      detail::bytes_text(p.shape.elements() * size_of(p.type)) + (p.count == 1 ? "" : " each"));
    line("rule", ruled(p.rule, p.style));
    line("placement", p.where.kind != placement::sharded ? "replicated: whole on every rank"
                      : p.how.dim + 1 == static_cast<int>(p.shape.dims())
                          ? "sharded on its last dim, " + std::to_string(p.how.dim)
                          : "sharded on dim " + std::to_string(p.how.dim));
    if (!p.refusal.empty()) line("refused", p.refusal);
    const bool cut = p.where.kind == placement::sharded;
    for (std::size_t r = 0; r < p.ranks.size() && cut; ++r) {
      if (p.ranks.size() > 8 && r == 4) {
        line("...", std::to_string(p.ranks.size() - 5) + " more ranks");
        r = p.ranks.size() - 1;
      }
      std::string boxes;
      for (const box& b : p.ranks[r]) boxes += (boxes.empty() ? "" : " + ") + detail::box_text(b, p.shape);
      line("rank " + std::to_string(r),
           (boxes.empty() ? "nothing" : boxes) + ", " + detail::bytes_text(p.rank_bytes[r]));
    }
    line(cut ? "limit" : "why", p.limit);
    if (!cut) continue;
    line("ranks",
         p.even.empty() ? "shared evenly by no number of ranks" : "shared evenly by " + detail::ranges_text(p.even));
    if (!p.uneven.empty()) line("", "unevenly by " + detail::ranges_text(p.uneven));
  }
  for (const explained_module& m : e.modules) {
    head("module " + (m.name.empty() ? "(the model)" : m.name), m.count);
    line("rule", ruled(m.rule, m.style));
    line("input", std::string(m.input.name()) + (m.splits_input ? ", of which each rank takes its part" : ""));
    std::string becomes(m.output.name());
    if (m.then != collective::none) {
      becomes = std::string(m.local.name()) + ", which " + std::string(name_of(m.then)) + " makes " + becomes;
    }
    line("output", becomes);
    if (m.then == collective::none) continue;
    line("sends", m.features == 0 ? "the plan does not say how much"
                                  : std::to_string(m.features) + " elements a token, " + detail::bytes_text(m.payload) +
                                        "; a rank sends " + detail::bytes_text(m.sent));
  }
  if (e.found()) return out;
  out = "no parameter and no module is called '" + e.asked + "'";
  for (std::size_t i = 0; i < e.nearest.size(); ++i) out += (i == 0 ? "; did you mean " : ", ") + e.nearest[i];
  return out + (e.nearest.empty() ? "\n" : "?\n");
}

inline std::string to_json(const explanation& e) {
  detail::json_writer w;
  w.begin_object().member("asked", e.asked).member("tp", e.tp).member("found", e.found());
  const auto text_or_null = [&w](std::string_view key, const std::string& text) {
    w.key(key);
    text.empty() ? w.null() : w.value(text);
  };
  w.key("parameters").begin_array();
  for (const explained_parameter& p : e.parameters) {
    w.begin_object().member("name", p.name).member("count", p.count).member("dtype", name_of(p.type));
    w.key("shape").begin_array();
    for (const std::size_t n : p.shape) w.value(n);
    w.end_array().member("bytes", p.shape.elements() * size_of(p.type));
    text_or_null("rule", p.rule);
    text_or_null("style", p.style);
    text_or_null("reason", p.reason);
    text_or_null("stored_as", p.alias_of);
    w.member("placement", p.where.kind == placement::sharded ? "sharded" : "replicated");
    w.key("dim");
    p.how.whole() ? w.null() : w.value(p.how.dim);
    text_or_null("refusal", p.refusal);
    w.key("ranks").begin_array();
    for (std::size_t r = 0; r < p.ranks.size(); ++r) {
      w.begin_object().member("rank", r).member("bytes", p.rank_bytes[r]).key("slices").begin_array();
      for (const box& b : p.ranks[r]) {
        w.begin_array();
        for (std::size_t d = 0; d < p.shape.dims(); ++d) {
          w.begin_array().value(b.offset[d]).value(b.offset[d] + b.extent[d]).end_array();
        }
        w.end_array();
      }
      w.end_array().end_object();
    }
    w.end_array().member("limit", p.limit);
    for (const bool even : {true, false}) {
      w.key(even ? "even" : "uneven").begin_array();
      for (const int tp : even ? p.even : p.uneven) w.value(tp);
      w.end_array();
    }
    w.end_object();
  }
  w.end_array().key("modules").begin_array();
  for (const explained_module& m : e.modules) {
    w.begin_object().member("name", m.name).member("count", m.count);
    text_or_null("rule", m.rule);
    text_or_null("style", m.style);
    w.member("input", m.input.name()).member("splits_input", m.splits_input).member("local", m.local.name());
    w.member("output", m.output.name()).member("collective", name_of(m.then)).member("elements_per_token", m.features);
    w.member("payload_bytes_per_token", m.payload).member("sent_bytes_per_token", m.sent).end_object();
  }
  w.end_array().key("nearest").begin_array();
  for (const std::string& n : e.nearest) w.value(n);
  return w.end_array().end_object().take();
}

}  // namespace v0
}  // namespace shardwise
