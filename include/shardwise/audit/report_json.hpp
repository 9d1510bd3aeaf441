// SPDX-License-Identifier: Apache-2.0
// An audit's report for a program.
#pragma once
#include <string>

#include "shardwise/audit/report.hpp"
#include "shardwise/detail/json_writer.hpp"

namespace shardwise {
inline namespace v0 {

/// `{"tp", "clean", "errors", "warnings", ..., "findings": [{"severity", "kind", "subject", "first", "parameters",
/// "bytes", "milliseconds_per_token", "text", "fix"}]}`, the worst finding first. Bytes are bytes, of one rank. The
/// names of kinds and severities are stable.
inline std::string to_json(const audit_report& r) {
  detail::json_writer w;
  w.begin_object().member("tp", r.tp).member("clean", r.clean());
  w.member("errors", r.count(severity::error)).member("warnings", r.count(severity::warning));
  w.member("parameters", r.parameters).member("cut_parameters", r.cut).member("bytes", r.bytes);
  w.member("bytes_per_rank", r.rank_bytes).member("least_bytes_per_rank", r.least_rank_bytes);
  w.member("whole_bytes_per_rank", r.whole_bytes);
  w.member("all_reduces", r.all_reduces).member("gathers", r.gathers).member("memory_bandwidth", r.memory_bandwidth);
  w.key("findings").begin_array();
  for (const finding& f : r.findings) {
    w.begin_object().member("severity", name_of(f.severity)).member("kind", name_of(f.kind));
    w.member("subject", f.subject).member("first", f.first).member("parameters", f.count).member("bytes", f.bytes);
    w.member("milliseconds_per_token", f.milliseconds).member("text", f.text).member("fix", f.fix).end_object();
  }
  return w.end_array().end_object().take();
}

}  // namespace v0
}  // namespace shardwise
