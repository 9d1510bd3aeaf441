// SPDX-License-Identifier: Apache-2.0
// Whatever does not divide over the ranks: sizes of the plan, heads and blocks of the config, in one form.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/facts.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// "1, 2, 4": the sizes up to 64 at which `fits(tp)`.
template <class Fits>
std::string legal_sizes(Fits fits) {
  error e("");
  append_legal_sizes(e, fits);
  return std::string(e.text());
}
/// The largest size below `tp` at which `fits(tp)`.
template <class Fits>
int size_below(int tp, Fits fits) {
  int below = tp - 1;
  while (below > 1 && !fits(below)) --below;
  return std::max(below, 1);
}

/// "a.{b,c}" of {"a.b", "a.c"}.
inline std::string joined(const std::vector<std::string>& names) {
  if (names.size() == 1) return names[0];
  const std::string module(module_of(names[0]));
  std::string leaves;
  for (const std::string& n : names) leaves += (leaves.empty() ? "{" : ",") + std::string(leaf_of(n));
  return dotted(module, leaves + "}");
}

/// What may not be cut in two, by the names that modules usually have.
struct usual_unit {
  std::string_view leaf;
  feature_axis axis;
  std::string_view field, size;  ///< of the config: how many there are, and how large one is
};
inline constexpr usual_unit usual_units[] = {
    {"q_proj", feature_axis::out, "num_attention_heads", "head_dim"},
    {"q_b_proj", feature_axis::out, "num_attention_heads", ""},
    {"q_gate_proj", feature_axis::out, "num_attention_heads", ""},
    {"kv_b_proj", feature_axis::out, "num_attention_heads", ""},
    {"query", feature_axis::out, "num_attention_heads", "head_dim"},
    {"wq", feature_axis::out, "num_attention_heads", "head_dim"},
    {"sinks", feature_axis::out, "num_attention_heads", ""},
    {"k_proj", feature_axis::out, "num_global_key_value_heads", "global_head_dim"},
    {"v_proj", feature_axis::out, "num_global_key_value_heads", "global_head_dim"},
    {"k_proj", feature_axis::out, "num_key_value_heads", "head_dim"},
    {"v_proj", feature_axis::out, "num_key_value_heads", "head_dim"},
    {"key", feature_axis::out, "num_key_value_heads", "head_dim"},
    {"value", feature_axis::out, "num_key_value_heads", "head_dim"},
    {"wk", feature_axis::out, "num_key_value_heads", "head_dim"},
    {"wv", feature_axis::out, "num_key_value_heads", "head_dim"},
    {"o_proj", feature_axis::in, "num_attention_heads", ""},
    {"dense", feature_axis::in, "num_attention_heads", ""},
    {"wo", feature_axis::in, "num_attention_heads", ""},
    {"in_proj_z", feature_axis::out, "linear_num_value_heads", ""},
    {"in_proj_b", feature_axis::out, "linear_num_value_heads", ""},
    {"in_proj_a", feature_axis::out, "linear_num_value_heads", ""},
    {"in_proj_qkvz", feature_axis::out, "linear_num_key_heads", ""},
    {"in_proj_ba", feature_axis::out, "linear_num_key_heads", ""},
};

/// A number of heads that a parameter consists of, by the config. 0: not known.
struct heads_found {
  std::size_t heads = 0;
  std::string_view field;
};
/// `all` is asked for numbers of the config and for other parameters, as `facts` is.
template <class Facts>
heads_found heads_of(const Facts& all, const audited& g) {
  if (!g.is_cut() || g.leaf() == "bias") return {};
  const std::string_view leaf = leaf_of(g.thing());
  // The attention of a vision tower says num_heads.
  const bool vision =
      g.name.find("visual") != std::string_view::npos || g.name.find("vision") != std::string_view::npos;
  const auto number = [&](std::string_view field) {
    std::size_t n = all.number(g.name, field);
    if (n == 0 && field == "num_key_value_heads") n = all.number(g.name, "num_attention_heads");
    if (n == 0 && vision) n = all.number(g.name, "num_heads");
    return n;
  };
  // A norm of single heads tells how large one is, in layers of more than one kind too.
  const auto norm = [&](std::string_view leaf_of_norm) {
    const auto* n = all.find(dotted(module_of(g.thing()), leaf_of_norm) + ".weight");
    return n == nullptr || n->shape.dims() != 1 ? 0 : n->shape[0];
  };
  const auto* q = all.find(dotted(module_of(g.thing()), "q_proj.weight"));
  const std::size_t head = norm("q_norm");
  const bool known = head > 1 && q != nullptr && q->shape.dims() == 2 && q->shape[0] > head &&
                     q->shape[0] % head == 0 && norm("k_norm") == head;
  heads_found loose;
  for (const usual_unit& u : usual_units) {
    if (u.leaf != leaf || (u.axis == feature_axis::in) != g.cut_on_input()) continue;
    const std::size_t n = number(u.field);
    if (known && u.field == "num_key_value_heads" && g.cut_extent() % head == 0)
      return {g.cut_extent() / head, u.field};
    if (n == 0 || g.cut_extent() % n != 0) continue;
    const std::size_t one = u.size.empty() ? 0 : all.number(g.name, u.size);
    if (one != 0 && g.cut_extent() == n * one) return {n, u.field};
    if (u.field != "num_global_key_value_heads") loose = {n, u.field};
  }
  return loose;
}

class size_check {
 public:
  size_check(const facts& all, audit_report& r) : all_(all), to_(r) {}

  void run() {
    for (const audited& g : all_.groups) {
      if (!g.is_cut()) {
        whole_as_planned(g);
        continue;
      }
      if (g.x.why == refusal::does_not_divide) {
        for (std::size_t i = 0; i < g.x.size_count; ++i) {
          if (g.x.fault(i, all_.tp) != cut_fault::none) take(refused_, g, g.x.sizes[i]);
        }
        continue;
      }
      if (by_head(g)) continue;
      too_narrow(g);
      uneven(g);
    }
    for (const failed& f : refused_) report_refused(f);
    for (const failed& f : heads_) report_heads(f);
    report_uneven();
  }

 private:
  // One size that does not divide, of all parameters of one module that have it.
  struct failed {
    std::string module;
    size_to_divide size;
    std::vector<std::string> things;
    const audited* first;
    std::size_t count;
  };

  static void take(std::vector<failed>& list, const audited& g, const size_to_divide& s) {
    const std::string thing = starred(g.thing());
    const std::string module(module_of(thing));
    for (failed& f : list) {
      if (f.module != module || f.size.unit != s.unit || f.size.how.units != s.how.units ||
          f.size.how.groups != s.how.groups || (s.how.units == 0 && f.size.extent != s.extent)) {
        continue;
      }
      const std::string base = thing.ends_with(".bias") ? std::string(module_of(thing)) : thing;
      if (std::find(f.things.begin(), f.things.end(), base) == f.things.end() && !thing.ends_with(".bias")) {
        f.things.push_back(thing);
      }
      f.count += g.count;
      return;
    }
    // A bias follows its weight, which has been here.
    if (g.leaf() == "bias") {
      for (failed& f : list) {
        for (const std::string& t : f.things) {
          if (t == module) {
            f.count += g.count;
            return;
          }
        }
      }
    }
    list.push_back({module, s, {thing}, &g, g.count});
  }

  std::string unit_words(const audited& g, const size_to_divide& s) const {
    if (s.how.units != 0) return std::string(words_for(s.unit));
    if (s.how.groups > 1) return "elements in each of " + std::to_string(s.how.groups) + " groups";
    const std::size_t vocabulary = all_.number(g.name, "vocab_size");
    if (vocabulary != 0 && s.extent == vocabulary) return "rows of the vocabulary";
    if (g.shape.dims() > 2 && g.x.how.dim == 0) return "experts";
    return g.cut_on_input() ? "input features" : "output features";
  }

  finding& start(finding_kind kind, const failed& f) {
    finding& out = findings(to_).add(kind, severity::error, *f.first, joined(f.things));
    out.count = f.count;
    return out;
  }
  // "1 key/value head".
  static std::string number_of(std::size_t n, std::string words) {
    if (n == 1 && words.ends_with("heads")) words.pop_back();
    return std::to_string(n) + " " + words;
  }
  static std::string_view has(const failed& f) { return f.things.size() == 1 ? " has " : " have "; }

  void report_refused(const failed& f) {
    const auto fits = [&](int tp) { return f.size.fault(tp) == cut_fault::none; };
    finding& out = start(finding_kind::does_not_divide, f);
    if (f.size.how.pair != pairing::none || f.size.how.unequal != 0 || f.size.how.tile != 0 ||
        f.size.how.divided == division::uneven) {
      error e("");
      append_fault(e, f.size, all_.tp);
      out.text = out.subject + std::string(has(f)) + std::string(e.text()) + ": legal sizes are " + legal_sizes(fits);
      out.fix = "use tp " + std::to_string(size_below(all_.tp, fits));
      return;
    }
    const std::size_t groups = f.size.how.groups, ranks = static_cast<std::size_t>(all_.tp);
    const std::size_t n = f.size.how.units != 0 ? f.size.how.units : f.size.extent / groups;
    const std::string words = unit_words(*f.first, f.size);
    switch (fault_of(f.size.how, f.size.extent, all_.tp)) {
      case cut_fault::groups:
        out.text = out.subject + std::string(has(f)) + std::to_string(f.size.extent) + " elements, which are no " +
                   std::to_string(groups) + " equal groups";
        out.fix = "give the number of groups that are laid side by side, as colwise.groups(n)";
        return;
      case cut_fault::units:
        out.text = out.subject + std::string(has(f)) + std::to_string(f.size.extent / groups) +
                   " elements, which are no " + std::to_string(f.size.how.units) + " equal " + words + " (" +
                   std::string(f.size.unit) + ")";
        out.fix = "name the field of the config that counts what this dim is made of";
        return;
      default: break;
    }
    out.text = out.subject + std::string(has(f)) + number_of(n, words) + ", " + std::to_string(all_.tp) +
               " ranks: legal sizes are " + legal_sizes(fits);
    out.fix = fix_of(n, words, f.size.unit, ranks, size_below(all_.tp, fits));
  }

  // What a plan lets be whole where its units do not divide.
  void whole_as_planned(const audited& g) {
    if (g.x.size_count == 0 || g.shape.dims() < 2 || !g.x.sizes[g.x.size_count - 1].whole_if_refused) return;
    const std::string thing = starred(g.thing());
    finding& f = findings(to_).add(finding_kind::whole_as_planned, severity::note, g, thing);
    f.bytes = g.bytes() - g.bytes() / static_cast<std::size_t>(all_.tp);
    error e("");
    append_fault(e, g.x.sizes[g.x.size_count - 1], all_.tp);
    f.text = thing + " " + bytes_text(g.bytes()) + " is whole on " + std::to_string(all_.tp) +
             " ranks, as the plan lets it be: " + std::string(e.text());
    f.fix = "nothing, or use a number of ranks that divides";
  }

  static std::string fix_of(std::size_t n, const std::string& words, std::string_view unit, std::size_t ranks,
                            int below) {
    std::string fix = "use tp " + std::to_string(below);
    if (unit.ends_with("num_key_value_heads") && ranks % n == 0) {
      fix += ", or a plan by head, which has each key/value head on " + std::to_string(ranks / n) + " ranks";
    } else {
      const std::size_t padded = (n + ranks - 1) / ranks * ranks;
      fix += ", or pad to " + std::to_string(padded) + " " + words + " (" + std::to_string(padded - n) + " more)";
    }
    return fix;
  }

  // Heads that the plan does not know of. True where they do not divide.
  bool by_head(const audited& g) {
    const cut& c = g.x.how;
    if (c.unequal != 0 || c.tile != 0 || !g.x.sizes[g.x.size_count - 1].unit.empty() ||
        !stays_cut(all_.rules, g.name, g.x.who.rule))
      return false;
    const heads_found h = heads_of(all_, g);
    if (h.heads == 0 || h.heads % static_cast<std::size_t>(all_.tp) == 0) return false;
    size_to_divide s{g.x.how, g.cut_extent(), h.field};
    s.how.units = h.heads;
    take(heads_, g, s);
    return true;
  }

  void report_heads(const failed& f) {
    const std::size_t heads = f.size.how.units, ranks = static_cast<std::size_t>(all_.tp);
    const auto fits = [&](int tp) { return heads % static_cast<std::size_t>(tp) == 0; };
    finding& out = start(finding_kind::cut_inside_head, f);
    const std::string words(words_for(f.size.unit));
    out.text = out.subject + std::string(has(f)) + number_of(heads, words) + ", " + std::to_string(all_.tp) +
               " ranks: " + (ranks > heads ? "a head is cut in pieces" : "some heads are cut in two") +
               ", and legal sizes are " + legal_sizes(fits);
    out.fix = fix_of(heads, words, f.size.unit, ranks, size_below(all_.tp, fits));
  }

  // Kernels of quantised products have a smallest tile.
  void too_narrow(const audited& g) {
    const std::size_t least = all_.options.least_features;
    if (g.shape.dims() < 2 || is_scale(g)) return;
    const auto piece = [&](int tp) { return pieces_of(g.x.how, g.cut_extent(), tp, 0).size(); };
    const std::size_t has = piece(all_.tp);
    if (has == 0 || has >= least) return;
    const auto fits = [&](int tp) { return g.x.divides(tp) && piece(tp) >= least; };
    finding& f = findings(to_).add(finding_kind::does_not_divide, severity::error, g, starred(g.thing()));
    f.text = f.subject + " has " + std::to_string(g.cut_extent()) + " features, " + std::to_string(all_.tp) +
             " ranks: pieces of " + std::to_string(has) + ", and the kernels take at least " + std::to_string(least) +
             ": legal sizes are " + legal_sizes(fits);
    f.fix =
        "use tp " + std::to_string(size_below(all_.tp, fits)) + ", or make it whole: replicate(\"too small to cut\")";
  }

  static bool is_scale(const audited& g) {
    return g.leaf().ends_with("_scale_inv") || g.leaf().ends_with("_scale") || g.leaf().ends_with("scales");
  }
  // By torch.chunk's arithmetic the last ranks may get less.
  void uneven(const audited& g) {
    if (g.shape.dims() < 2 || is_scale(g)) return;  // a scale goes with its weight's blocks
    const std::size_t first = pieces_of(g.x.how, g.cut_extent(), all_.tp, 0).size();
    const std::size_t last = pieces_of(g.x.how, g.cut_extent(), all_.tp, all_.tp - 1).size();
    if (first == last || g.x.how.divided == division::uneven) return;  // the plan says it, and the table of sizes too
    if (last != 0) {
      if (uneven_.empty()) first_uneven_ = &g;
      const std::string thing = starred(g.thing());
      if (std::find(uneven_.begin(), uneven_.end(), thing) == uneven_.end()) uneven_.push_back(thing);
      return;
    }
    const std::string thing = starred(g.thing());
    finding& f = findings(to_).add(finding_kind::uneven_pieces, severity::warning, g, thing);
    int empty = 0;
    for (int r = 0; r < all_.tp; ++r) empty += pieces_of(g.x.how, g.cut_extent(), all_.tp, r).size() == 0 ? 1 : 0;
    f.text = thing + " has " + std::to_string(g.cut_extent()) + " elements to cut over " + std::to_string(all_.tp) +
             " ranks: " + std::to_string(empty) + " of them get none and wait for the others";
    f.fix = "use tp " +
            std::to_string(size_below(
                all_.tp, [&](int tp) { return pieces_of(g.x.how, g.cut_extent(), tp, tp - 1).size() != 0; })) +
            ", or make it whole: replicate(\"too small to cut\")";
  }
  void report_uneven() {
    if (uneven_.empty()) return;
    finding& f = findings(to_).add(finding_kind::uneven_pieces, severity::note, *first_uneven_, uneven_.front());
    f.text = uneven_.front() + (uneven_.size() == 1 ? "" : " and " + std::to_string(uneven_.size() - 1) + " more") +
             (uneven_.size() == 1 ? " is" : " are") + " cut unevenly, as torch.chunk does: the last rank holds less";
    f.fix = "nothing, if the engine takes uneven pieces";
  }

  const facts& all_;
  audit_report& to_;
  std::vector<failed> refused_, heads_;
  std::vector<std::string> uneven_;
  const audited* first_uneven_ = nullptr;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
