// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/report_json.hpp"

#include <simdjson.h>

#include "audit/small_model.hpp"
#include "catch.hpp"
#include "shardwise/audit/audit.hpp"
#include "shardwise/plan/import.hpp"

namespace sw = shardwise;

TEST_CASE("an audit's report reads back from JSON as it is", "[audit]") {
  sw::imported_plan plan;
  plan.add("embed_tokens", "embedding_rowwise");
  for (const sw::audit_report& r : {sw::audit(plan, small_model(), 2), sw::audit(small_plan, small_model(), 2)}) {
    simdjson::dom::parser parser;
    const simdjson::dom::element json = parser.parse(to_json(r));
    CHECK(bool(json["clean"]) == r.clean());
    CHECK(std::uint64_t(json["errors"]) == r.count(sw::severity::error));
    CHECK(std::uint64_t(json["bytes_per_rank"]) == r.rank_bytes);
    CHECK(std::uint64_t(json["whole_bytes_per_rank"]) == r.whole_bytes);
    CHECK(double(json["memory_bandwidth"]) == r.memory_bandwidth);
    const simdjson::dom::array findings = json["findings"];
    REQUIRE(findings.size() == r.findings.size());
    for (std::size_t i = 0; i < r.findings.size(); ++i) {
      const sw::finding& f = r.findings[i];
      const simdjson::dom::element g = findings.at(i);
      CHECK(std::string_view(g["severity"]) == name_of(f.severity));
      CHECK(std::string_view(g["kind"]) == name_of(f.kind));
      CHECK(std::string_view(g["subject"]) == f.subject);
      CHECK(std::uint64_t(g["bytes"]) == f.bytes);
      CHECK(double(g["milliseconds_per_token"]) == f.milliseconds);
      CHECK(std::string_view(g["text"]) == f.text);
      CHECK(std::string_view(g["fix"]) == f.fix);
    }
  }
  CHECK(!sw::audit(plan, small_model(), 2).findings.empty());
}
