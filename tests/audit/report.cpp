// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/report.hpp"

#include <fmt/format.h>

#include "catch.hpp"
#include "shardwise/fmt/audit.hpp"
#include "shardwise/testing/matchers.hpp"

namespace sw = shardwise;

namespace {
sw::finding make(sw::finding_kind kind, sw::severity how_bad, const char* first) {
  sw::finding f;
  f.kind = kind;
  f.severity = how_bad;
  f.subject = f.first = first;
  f.text = "it is so";
  f.fix = "do that";
  return f;
}
}  // namespace

TEST_CASE("a report is clean unless it warns, and prints a line for each finding and one that sums up", "[audit]") {
  sw::audit_report r;
  r.tp = 8;
  r.bytes = 141'000'000'000;
  r.rank_bytes = 17'650'000'000;
  r.all_reduces = 1;
  CHECK(r.clean());
  CHECK(text_of(r) == "tp 8: 141 GB, 17.6 GB per rank; 1 all-reduce and 0 gathers per token; nothing is wrong\n");
  r.whole_bytes = 7'050'000'000;
  CHECK(text_of(r) ==
        "tp 8: 141 GB, 17.6 GB per rank, 7.05 GB of it whole on each; 1 all-reduce and 0 gathers per token; nothing is "
        "wrong\n");
  r.findings.push_back(make(sw::finding_kind::idle_rule, sw::severity::note, "a"));
  CHECK_THAT(r, sw::testing::IsClean());
  r.findings.push_back(make(sw::finding_kind::rules_tie, sw::severity::warning, "b"));
  CHECK_FALSE(r.clean());
  CHECK_THAT(r, !sw::testing::IsClean());
  CHECK(text_of(r).starts_with("note: it is so; do that\nwarning: it is so; do that\n"));
  CHECK(text_of(r).ends_with("; 0 errors, 1 warning\n"));

  CHECK(fmt::format("{}", r) == text_of(r));
  CHECK(fmt::format("{:>30}", r.findings[0]) == "       note: it is so; do that");

  CHECK(r.has(sw::finding_kind::idle_rule, "a"));
  CHECK(!r.has(sw::finding_kind::idle_rule, "b"));
  CHECK(r.find(sw::finding_kind::rules_tie)->first == "b");
}

TEST_CASE("bytes are written with three digits of a thousand-based unit", "[audit]") {
  const auto text = [](std::size_t n) { return sw::detail::bytes_text(n); };
  CHECK(text(0) == "0 B");
  CHECK(text(999) == "999 B");
  CHECK(text(1000) == "1.00 kB");
  CHECK(text(999'600) == "1.00 MB");
  CHECK(text(1'017'118'720) == "1.02 GB");
  CHECK(text(12'345'678'901) == "12.3 GB");
}
