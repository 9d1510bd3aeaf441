// SPDX-License-Identifier: Apache-2.0
// What an audit found, as a value.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/finding.hpp"

namespace shardwise {
inline namespace v0 {

/// A plain value that refers to nothing. Made by `audit`.
struct audit_report {
  int tp = 1;
  std::size_t parameters = 0;        ///< of the model; a tied one once
  std::size_t cut = 0;               ///< parameters that are cut
  std::size_t bytes = 0;             ///< of all parameters
  std::size_t rank_bytes = 0;        ///< of the rank that holds most: the first
  std::size_t least_rank_bytes = 0;  ///< of the rank that holds least: the last
  std::size_t whole_bytes = 0;       ///< of these, what is whole on every rank, with a reason or without
  std::size_t all_reduces = 0;       ///< of one forward pass through all modules
  std::size_t gathers = 0;           ///< the same; of groups laid side by side one each
  double memory_bandwidth = 0;       ///< of which milliseconds are reckoned, in bytes a second
  std::vector<finding> findings;     ///< the worst first: by severity, then by bytes

  std::size_t count(severity s) const {
    return static_cast<std::size_t>(
        std::count_if(findings.begin(), findings.end(), [s](const finding& f) { return f.severity == s; }));
  }
  /// Nothing above a note.
  bool clean() const { return count(severity::warning) + count(severity::error) == 0; }

  /// The first finding of this kind whose subject is, or whose first parameter starts with, `subject` ("": any); null
  /// without one.
  const finding* find(finding_kind kind, std::string_view subject = {}) const {
    for (const finding& f : findings) {
      const bool about = subject.empty() || f.subject == subject || std::string_view(f.first).starts_with(subject);
      if (f.kind == kind && about) return &f;
    }
    return nullptr;
  }
  bool has(finding_kind kind, std::string_view subject = {}) const { return find(kind, subject) != nullptr; }
};

namespace detail {

/// "1.02 GB": three digits of a thousand-based unit.
inline std::string bytes_text(double bytes) {
  constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
    bytes /= 1000;
    ++unit;
  }
  char text[32];
  const int places = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f %s", places, bytes, units[unit]);
  return text;
}
inline std::string bytes_text(std::size_t bytes) { return bytes_text(static_cast<double>(bytes)); }

/// "3 warnings", "1 error".
inline std::string counted(std::size_t n, std::string_view word) {
  return std::to_string(n) + " " + std::string(word) + (n == 1 ? "" : "s");
}

}  // namespace detail

/// One line: "error: lm_head.weight 1.02 GB is whole on 8 ranks; add ...".
inline std::string text_of(const finding& f) {
  std::string text = std::string(name_of(f.severity)) + ": " + f.text;
  if (!f.fix.empty()) text += "; " + f.fix;
  return text;
}

/// A line for each finding, the worst first, and one that sums up.
inline std::string text_of(const audit_report& r) {
  std::string text;
  for (const finding& f : r.findings) text += text_of(f) + "\n";
  const std::size_t errors = r.count(severity::error), warnings = r.count(severity::warning);
  // A hundredth, which norms and routers do not reach.
  const bool much = r.tp > 1 && r.whole_bytes > r.bytes / 100;
  const std::string whole = much ? ", " + detail::bytes_text(r.whole_bytes) + " of it whole on each" : "";
  text += "tp " + std::to_string(r.tp) + ": " + detail::bytes_text(r.bytes) + ", " + detail::bytes_text(r.rank_bytes) +
          " per rank" + whole + "; " + detail::counted(r.all_reduces, "all-reduce") + " and " +
          detail::counted(r.gathers, "gather") + " per token; ";
  text += errors + warnings == 0 ? "nothing is wrong"
                                 : detail::counted(errors, "error") + ", " + detail::counted(warnings, "warning");
  return text + "\n";
}

}  // namespace v0
}  // namespace shardwise
