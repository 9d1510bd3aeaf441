// SPDX-License-Identifier: Apache-2.0
// The checks of an audit, one after the other, into one report.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>

#include "shardwise/audit/detail/check_cuts.hpp"
#include "shardwise/audit/detail/check_flow.hpp"
#include "shardwise/audit/detail/check_rules.hpp"
#include "shardwise/audit/detail/check_sizes.hpp"
#include "shardwise/audit/detail/check_whole.hpp"
#include "shardwise/audit/detail/facts.hpp"
#include "shardwise/audit/detail/products.hpp"
#include "shardwise/audit/detail/survey.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The report of `audit`, out of a survey with the layout of `options`.
inline audit_report report_of(const survey& s, int tp, const audit_options& options) {
  const tree& model = s.model();
  audit_report r;
  r.tp = tp;
  r.parameters = model.size();
  r.bytes = model.bytes();
  r.memory_bandwidth = options.memory_bandwidth;
  if (tp < 1 || tp > 65536) {
    finding& f = findings(r).add(finding_kind::bad_rank_count, severity::error, "");
    f.text = "tp is " + std::to_string(tp);
    f.fix = "it is the number of ranks, at least 1 and at most 65536";
    return r;
  }
  const facts all(s, tp, options);
  for (const audited& g : all.groups) {
    if (g.tied()) continue;
    if (g.is_cut()) {
      r.cut += g.count;
    } else {
      r.whole_bytes += g.bytes();
    }
    const auto on = [&](int rank) {
      return g.count * local_shape_of(g.x.how, g.shape, tp, rank).elements() * size_of(g.type);
    };
    r.rank_bytes += on(0);
    r.least_rank_bytes += on(tp - 1);
  }
  if (tp > 1) {
    for (const collective_class& c : s.collectives()) {
      const std::size_t calls = c.calls * s.modules()[c.module].count;
      (c.op == collective::all_reduce ? r.all_reduces : r.gathers) += calls;
    }
  }
  const products between(all);
  rule_check(all, r).run();
  check_whole(all, r);
  size_check(all, r).run();
  cut_check(all, between, r).run();
  flow_check(all, between, r).run();
  std::stable_sort(r.findings.begin(), r.findings.end(), [](const finding& a, const finding& b) {
    return a.severity != b.severity ? a.severity > b.severity : a.bytes > b.bytes;
  });
  return r;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
