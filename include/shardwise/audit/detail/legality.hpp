// SPDX-License-Identifier: Apache-2.0
// At which numbers of ranks a plan can cut a model, and the first reason where it cannot.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/survey.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The sizes of a survey that must divide, each once; and what refuses the plan at every number of ranks.
class legality {
 public:
  explicit legality(const survey& s) {
    for (const parameter_class& p : s.parameters()) {
      if (p.what.refused()) never(refusal_text(s, p));
      for (std::size_t i = 0; i < p.what.size_count; ++i) constrain(p, p.what.sizes[i]);
      if (!p.owns_bytes()) check_tie(s, p);
      check_module(s, p);
    }
  }

  /// Why a plan is refused whatever the number of ranks; empty where it is not.
  const std::string& at_no_size() const { return never_; }
  /// The first reason against `tp`; empty where it is legal.
  std::string reason_against(int tp) const {
    if (!never_.empty()) return never_;
    for (const constraint& c : constraints_) {
      if (fault_of(c.size.how, c.size.extent, tp) != cut_fault::none) return fault_text(c, tp);
    }
    return {};
  }
  /// True where some rank gets more than another, as torch.chunk deals.
  bool uneven_at(int tp) const {
    for (const constraint& c : constraints_) {
      const cut& how = c.size.how;
      if (how.divided != division::chunk || how.units != 0 || c.size.extent == 0) continue;
      if (c.size.extent % how.groups != 0 || c.size.extent / how.groups % static_cast<std::size_t>(tp) != 0)
        return true;
    }
    return false;
  }

 private:
  struct constraint {
    size_to_divide size;
    std::string_view name;
  };

  void never(std::string why) {
    if (never_.empty()) never_ = std::move(why);
  }
  static std::string refusal_text(const survey& s, const parameter_class& p) {
    error e("");
    append_refusal(e, p.what, s.rules(), s.model(), p.name, p.shape, 1);
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
      const cut& k = known.size.how;
      if (k.groups == s.how.groups && k.divided == s.how.divided && k.units == s.how.units &&
          known.size.extent == s.extent && known.size.unit == s.unit) {
        return;
      }
    }
    constraints_.push_back({s, p.name});
  }

  // The two refusals below are `shard`'s.
  void check_tie(const survey& s, const parameter_class& p) {
    const parameter_class& kept = s.parameters()[p.alias_of];
    if (p.what.how.dim == kept.what.how.dim && p.what.how.groups == kept.what.how.groups) return;
    never('\'' + std::string(p.name) + "' and '" + std::string(kept.name) +
          "' are tied, one storage, and the plan cuts them in two ways");
  }
  void check_module(const survey& s, const parameter_class& p) {
    const style* step = s.step_of(p.module);
    if (p.shape.dims() < 2 || step == nullptr || !step->has_parameter_half()) return;
    const cut expected = cut_by(*step, p.shape.dims(), false).how;
    if (expected.dim == p.what.how.dim && expected.groups == p.what.how.groups) return;
    never('\'' + std::string(p.name) + "' is cut unlike its module, whose rule is " + std::string(step->name()));
  }

  std::vector<constraint> constraints_;
  std::string never_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
