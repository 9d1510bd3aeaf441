// SPDX-License-Identifier: Apache-2.0
// `audit`: everything that can be known to be wrong with a plan before a byte is read.
#pragma once
#include "shardwise/audit/detail/auditor.hpp"
#include "shardwise/audit/options.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {

/// Examines what `plan` makes of `model` at `tp` ranks. Reads names, shapes and config numbers only; a model of a
/// hundred thousand parameters takes well under a second. Never throws for what it can report: whatever `shard` would
/// refuse is a finding, and all of it, not the first.
inline audit_report audit(plan_view plan, const tree& model, int tp, const audit_options& options = {}) {
  return detail::report_of({plan, model, options.layout}, tp, options);
}

/// The same of an imported plan: it reports the styles that Hugging Face has renamed, too.
inline audit_report audit(const imported_plan& plan, const tree& model, int tp, const audit_options& options = {}) {
  audit_options with_names = options;
  with_names.renamed = plan.renamed().data();
  with_names.renamed_count = plan.renamed().size();
  return audit(plan_view(plan), model, tp, with_names);
}

}  // namespace v0
}  // namespace shardwise
