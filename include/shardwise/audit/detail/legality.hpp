// SPDX-License-Identifier: Apache-2.0
// At which numbers of ranks a plan can cut a model, and the first reason where it cannot.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/check_sizes.hpp"
#include "shardwise/audit/detail/survey.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The sizes of a survey that must divide, each once; and what refuses the plan at every number of ranks.
class legality {
 public:
  explicit legality(const survey& s) : survey_(s) {
    for (const parameter_class& p : s.parameters()) {
      if (p.what.refused()) never(refusal_text(p));
      for_sizes(p, [&](const size_to_divide& size) { constrain(p, size); });
      if (!p.owns_bytes()) check_tie(p);
      check_module(p);
    }
  }

  /// The first reason against `tp`; empty where it is legal.
  std::string reason_against(int tp) const {
    if (!never_.empty()) return never_;
    for (const constraint& c : constraints_) {
      if (c.size.fault(tp) != cut_fault::none) return fault_text(c, tp);
    }
    return {};
  }
  /// The first reason against cutting one parameter over `tp` ranks.
  std::string reason_against(const parameter_class& p, int tp) const {
    if (p.what.refused()) return refusal_text(p);
    std::string reason;
    for_sizes(p, [&](const size_to_divide& size) {
      if (reason.empty() && size.fault(tp) != cut_fault::none) reason = fault_text({size, p.name}, tp);
    });
    return reason;
  }
  /// What a cut parameter consists of: "8 key/value heads (num_key_value_heads)".
  std::string parts_text(const parameter_class& p) const {
    size_to_divide coarsest;
    for_sizes(p, [&](const size_to_divide& size) {
      const bool coarser = size.how.units != 0 && (coarsest.how.units == 0 || size.how.units < coarsest.how.units);
      if (coarsest.extent == 0 || coarser) coarsest = size;
    });
    const cut& c = coarsest.how;
    const std::string of_groups = c.groups == 1 ? "" : " in each of " + std::to_string(c.groups) + " groups";
    if (c.units != 0) {
      return "it consists of " + std::to_string(c.units) + ' ' + std::string(words_for(coarsest.unit)) + of_groups +
             " (" + std::string(coarsest.unit) + "), which are not cut";
    }
    return "it consists of " + std::to_string(coarsest.extent / c.groups) + " elements" + of_groups +
           (c.divided == division::chunk ? ", dealt as torch.chunk does" : "");
  }
  /// Does the plan deal anything so that the first rank need not have most?
  bool deals_unequally() const {
    for (const constraint& c : constraints_) {
      if (c.size.how.divided == division::uneven || c.size.how.pair != pairing::none || c.size.how.unequal != 0)
        return true;
    }
    return false;
  }
  /// True where some rank gets more than another, as torch.chunk or `uneven` deals: of anything, or of one parameter.
  bool uneven_at(int tp) const {
    for (const constraint& c : constraints_) {
      if (uneven(c.size, tp)) return true;
    }
    return false;
  }
  bool uneven_at(const parameter_class& p, int tp) const {
    bool any = false;
    for_sizes(p, [&](const size_to_divide& size) { any |= uneven(size, tp); });
    return any;
  }

 private:
  struct constraint {
    size_to_divide size;
    std::string_view name;
  };

  static bool uneven(const size_to_divide& size, int tp) {
    const cut& how = size.how;
    if (how.divided == division::uneven && size.extent != 0 && size.fault(tp) == cut_fault::none) {
      const std::size_t first = size.how_at(tp).whole() ? 0 : pieces_of(how, size.extent, tp, 0).size();
      for (int r = 1; r < tp && first != 0; ++r) {
        if (pieces_of(how, size.extent, tp, r).size() != first) return true;
      }
    }
    if (how.divided != division::chunk || how.units != 0 || size.extent == 0) return false;
    return size.extent % how.groups != 0 || size.extent / how.groups % static_cast<std::size_t>(tp) != 0;
  }
  void never(std::string why) {
    if (never_.empty()) never_ = std::move(why);
  }
  template <class F>
  void for_sizes(const parameter_class& p, F f) const {
    for (std::size_t i = 0; i < p.what.size_count; ++i) f(p.what.sizes[i]);
    if (const size_to_divide heads = unsaid_heads(p); heads.extent != 0) f(heads);
  }
  // Heads that a plan does not speak of, though the engine's arithmetic meets the cut: what the audit reports as a cut
  // inside a head. Without an extent where there are none.
  size_to_divide unsaid_heads(const parameter_class& p) const {
    const examined& x = p.what;
    if (x.how.whole() || x.refused() || x.size_count == 0 || !x.sizes[x.size_count - 1].unit.empty() ||
        !stays_cut(survey_.rules(), p.first, x.who.rule)) {
      return {};
    }
    audited g;
    g.name = p.first;
    g.type = p.type;
    g.shape = p.shape;
    g.x = x;
    const heads_found found = heads_of(asked{survey_}, g);
    if (found.heads == 0) return {};
    size_to_divide s{x.how, g.cut_extent(), found.field};
    s.how.units = found.heads;
    return s;
  }
  struct asked {
    const survey& all;
    std::size_t number(std::string_view name, std::string_view field) const {
      const std::int64_t* n = all.model().find_number(name, field);
      return n == nullptr || *n < 0 ? 0 : static_cast<std::size_t>(*n);
    }
    const parameter_class* find(std::string_view name) const {
      if (all.model().find(name) == tree::npos) return nullptr;
      return &all.parameters()[all.find_parameter(name)];
    }
  };
  std::string refusal_text(const parameter_class& p) const {
    error e("");
    append_refusal(e, p.what, survey_.rules(), survey_.model(), p.name, p.shape, 1);
    return std::string(e.text());
  }
  static std::string fault_text(const constraint& c, int tp) {
    error e("");
    append_fault(e, c.size, tp);
    std::string out(e.text());
    out += " (" + std::string(c.size.unit) + (c.size.unit.empty() ? "" : ", ") + std::string(c.name) + ')';
    return out;
  }
  void constrain(const parameter_class& p, const size_to_divide& s) {
    for (const constraint& known : constraints_) {
      if (known.size.divides_like(s)) return;
    }
    constraints_.push_back({s, p.name});
  }

  // The two refusals below are `shard`'s.
  void check_tie(const parameter_class& p) {
    const parameter_class& kept = survey_.parameters()[p.alias_of];
    if (p.what.how == kept.what.how) return;
    never('\'' + std::string(p.name) + "' and '" + std::string(kept.name) +
          "' are tied, one storage, and the plan cuts them in two ways");
  }
  void check_module(const parameter_class& p) {
    const style* step = survey_.step_of(p.module);
    if (p.shape.dims() < 2 || step == nullptr || !step->has_parameter_half()) return;
    const cut expected = cut_by(*step, p.shape.dims(), false).how;
    if (expected.dim == p.what.how.dim && expected.groups == p.what.how.groups) return;
    never('\'' + std::string(p.name) + "' is cut unlike its module, whose rule is " + std::string(step->name()));
  }

  const survey& survey_;
  std::vector<constraint> constraints_;
  std::string never_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
