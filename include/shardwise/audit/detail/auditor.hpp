// SPDX-License-Identifier: Apache-2.0
// The checks of an audit, one after the other, into one report.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "shardwise/audit/detail/check_cuts.hpp"
#include "shardwise/audit/detail/check_flow.hpp"
#include "shardwise/audit/detail/check_heads.hpp"
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
  // Where units are copied, the first rank need not hold most; beyond some number of ranks it is near enough.
  std::vector<std::size_t> on(static_cast<std::size_t>(std::min(tp, 64)));
  for (const audited& g : all.groups) {
    if (g.tied()) continue;
    if (g.is_cut()) {
      r.cut += g.count;
    } else {
      r.whole_bytes += g.bytes();
    }
    for (std::size_t i = 0; i < on.size(); ++i) {
      const int rank = i + 1 == on.size() ? tp - 1 : static_cast<int>(i);
      on[i] += g.count * local_shape_of(g.x.how, g.shape, tp, rank).elements() * size_of(g.type);
    }
  }
  r.rank_bytes = *std::max_element(on.begin(), on.end());
  r.least_rank_bytes = *std::min_element(on.begin(), on.end());
  if (tp > 1) {
    for (const collective_class& c : s.collectives()) {
      if (!s.acts_at(c.module, tp)) continue;
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
  head_check(all, between, r).run();
  std::stable_sort(r.findings.begin(), r.findings.end(), [](const finding& a, const finding& b) {
    return a.severity != b.severity ? a.severity > b.severity : a.bytes > b.bytes;
  });
  return r;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
