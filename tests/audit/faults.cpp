// SPDX-License-Identifier: Apache-2.0
// Each fault of the table is found, and said as the table says; and README.md has the table. `tests_audit "[.faults]"`
// prints it.
#include <cstdio>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "fault_table.hpp"
#include "text_model.hpp"

namespace sw = shardwise;

namespace {
sw::audit_report report_of(const fault& f, const text_plan& rows, sw::plan_view ours, const sw::tree& model, int tp) {
  sw::audit_options options;
  options.least_features = f.least_features;
  options.layout = f.layout;
  if (ours.size() != 0) return audited(ours, model, tp, options);
  const sw::imported_plan plan = rows.import();
  options.renamed = plan.renamed().begin();
  options.renamed_count = plan.renamed().size();
  return audited(plan, model, tp, options);
}

// The wrong plan's report, and the right one's.
struct reports {
  sw::audit_report wrong, right;
};
reports reports_of(const fault& f) {
  text_model m = well_known_model(f.model);
  m.add(f.lines);
  const sw::plan_view ours = f.right.size() != 0 ? f.right : f.ours;
  sw::audit_report right = report_of(f, m.plan, ours, m.tree, f.right_tp != 0 ? f.right_tp : f.tp);
  m.plan.edit(f.edits);
  return {report_of(f, m.plan, f.ours, m.tree, f.tp), std::move(right)};
}

// "huggingface/transformers#47253" as a link; GitHub leads from an issue to a pull request. Without a number: the
// repository.
std::string links_of(std::string_view where) {
  std::string out;
  while (!where.empty()) {
    const std::string one(where.substr(0, where.find(' ')));
    where.remove_prefix(where.size() == one.size() ? one.size() : one.size() + 1);
    const std::size_t hash = one.find('#');
    const std::string issue = hash == std::string::npos ? "" : "/issues/" + one.substr(hash + 1);
    if (!out.empty()) out += ", ";
    out += "[" + one.substr(one.find('/') + 1) + "](https://github.com/" + one.substr(0, hash) + issue + ")";
  }
  return out;
}

std::string markdown() {
  std::string out = "| what went wrong | where | what shardwise prints |\n|---|---|---|\n";
  for (const fault& f : faults) {
    std::string line;
    for (const char c : std::string_view(f.line)) line += c == '|' ? std::string("\\|") : std::string(1, c);
    out += "| " + std::string(f.wrong) + " | " + links_of(f.where) + " | `" + line + "` |\n";
  }
  return out;
}
}  // namespace

TEST_CASE("what users of tensor parallelism reported is found, and not where nothing is wrong", "[audit]") {
  for (const fault& f : faults) {
    DYNAMIC_SECTION(f.wrong) {
      const reports r = reports_of(f);
      INFO("of the wrong plan:\n" << text_of(r.wrong) << "of the right one:\n" << text_of(r.right));
      if (!f.kind) {
        CHECK(text_of(r.wrong).ends_with(std::string(f.line) + "\n"));
        continue;
      }
      const sw::finding* found = nullptr;
      for (const sw::finding& one : r.wrong.findings) {
        if (one.kind == *f.kind && text_of(one) == f.line) found = &one;
      }
      REQUIRE(found != nullptr);
      CHECK(!r.right.has(*f.kind, found->subject));
    }
  }
}

TEST_CASE("README.md has the table of faults", "[audit]") {
  const std::string readme = text_of_file(std::string(SHARDWISE_TEST_DATA) + "/../../README.md");
  const std::string_view begin = "<!-- faults -->\n", end = "<!-- /faults -->";
  const std::size_t from = readme.find(begin), to = readme.find(end);
  REQUIRE(from != std::string::npos);
  REQUIRE(to != std::string::npos);
  CHECK(readme.substr(from + begin.size(), to - from - begin.size()) == "\n" + markdown() + "\n");
}

TEST_CASE("the table of faults, for README.md", "[.faults]") { std::printf("%s", markdown().c_str()); }
