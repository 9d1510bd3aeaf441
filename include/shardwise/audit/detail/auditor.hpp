// SPDX-License-Identifier: Apache-2.0
// The checks of an audit, one after the other, into one report.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>

#include "shardwise/audit/detail/check_rules.hpp"
#include "shardwise/audit/detail/facts.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class auditor {
 public:
  auditor(plan_view plan, const tree& model, int tp, const audit_options& o)
      : plan_(plan), model_(model), tp_(tp), options_(o) {}

  audit_report run() {
    audit_report r;
    r.tp = tp_;
    r.parameters = model_.size();
    r.bytes = model_.bytes();
    r.memory_bandwidth = options_.memory_bandwidth;
    if (tp_ < 1 || tp_ > 65536) {
      finding& f = findings(r).add(finding_kind::bad_rank_count, severity::error, "");
      f.text = "tp is " + std::to_string(tp_);
      f.fix = "it is the number of ranks, at least 1 and at most 65536";
      return r;
    }
    const facts f(plan_, model_, tp_, options_);
    sum_up(f, r);
    check_rules(f, r);
    std::stable_sort(r.findings.begin(), r.findings.end(), [](const finding& a, const finding& b) {
      return a.severity != b.severity ? a.severity > b.severity : a.bytes > b.bytes;
    });
    return r;
  }

 private:
  static void sum_up(const facts& all, audit_report& r) {
    for (const audited& g : all.groups) {
      if (g.tied()) continue;
      if (g.is_cut()) r.cut += g.count;
      const auto on = [&](int rank) {
        return g.count * local_shape_of(g.x.how, g.shape, all.tp, rank).elements() * size_of(g.type);
      };
      r.rank_bytes += on(0);
      r.least_rank_bytes += on(all.tp - 1);
    }
  }

  plan_view plan_;
  const tree& model_;
  int tp_;
  const audit_options& options_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
