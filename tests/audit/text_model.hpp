// SPDX-License-Identifier: Apache-2.0
// Models and plans for tests of the audit, written as text: see tests/data/well_known.txt.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/audit/options.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/plan/import.hpp"

/// The rows of a plan of Hugging Face, one for each pattern.
struct text_plan {
  std::vector<std::pair<std::string, std::string>> rows;

  /// Edits, one a line: "pattern style" gives the pattern that style, as a user's override does; "- pattern" takes its
  /// row out, "- *" all of them. A pattern with braces is several.
  void edit(std::string_view lines);
  shardwise::imported_plan import() const;

 private:
  void edit_line(std::string_view line);
};

struct text_model {
  std::string name, architecture, type;
  std::vector<int> sizes;  ///< numbers of ranks at which the plan is right
  shardwise::tree tree;
  text_plan plan;

  /// Adds lines as in tests/data/well_known.txt.
  text_model& add(std::string_view lines);

 private:
  void add_line(std::string_view line);
};

/// `shardwise::audit`, compiled once for the tests that read much of what it says.
shardwise::audit_report audited(shardwise::plan_view plan, const shardwise::tree& model, int tp,
                                const shardwise::audit_options& options = {});
/// A fresh copy of a model of tests/data/well_known.txt, or of none where the name is empty.
text_model well_known_model(std::string_view name);
/// Their names, in order.
std::vector<std::string> well_known_names();
/// A file of the tests, as it is.
std::string text_of_file(const std::string& path);
