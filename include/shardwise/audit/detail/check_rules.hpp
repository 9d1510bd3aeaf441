// SPDX-License-Identifier: Apache-2.0
// Findings about the rules themselves: what matches nothing, owns nothing, ties, or has another name now.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/facts.hpp"
#include "shardwise/plan/import.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Rules that `shard` refuses where they do not fit a parameter: ties, dims, config numbers, layouts.
inline void check_refusals(const facts& all, audit_report& r) {
  for (const audited& g : all.groups) {
    if (!g.x.refused() || g.x.why == refusal::does_not_divide) continue;
    constexpr finding_kind kinds[] = {finding_kind::not_covered,       finding_kind::rules_tie,
                                      finding_kind::no_such_dim,   finding_kind::config_number,
                                      finding_kind::config_number, finding_kind::unlike_layout};
    finding& f = findings(r).add(kinds[static_cast<std::size_t>(g.x.why)], severity::error, g, g.subject);
    error e("");
    append_refusal(e, g.x, all.rules, all.model(), g.name, g.shape, all.tp);
    f.text = e.text();
    if (const std::size_t way_out = f.text.find("; "); way_out != std::string::npos) {
      f.fix = f.text.substr(way_out + 2);
      f.text.resize(way_out);
    }
  }
}

inline void check_rules(const facts& all, audit_report& r) { check_refusals(all, r); }

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
