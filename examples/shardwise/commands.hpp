// SPDX-License-Identifier: Apache-2.0
// What each command answers.
#pragma once
#include <filesystem>
#include <string>
#include <utility>

#include "cuts.hpp"
#include "options.hpp"
#include "plans.hpp"
#include "shardwise/audit.hpp"
#include "shardwise/checkpoint/headers.hpp"
#include "shardwise/shard/export.hpp"

namespace tool {

/// What a command prints, and the exit code of the program.
struct answer {
  std::string out;
  int exit = 0;          ///< 0 nothing found, 1 findings, 2 bad input
  std::string err = {};  ///< of stderr
};

/// An error of the input: on stderr, and in JSON where the answer would have been.
inline answer refusal_of(const std::string& why, bool json) {
  std::string out;
  if (json) out = sw::detail::json_writer().begin_object().member("error", why).end_object().take() + "\n";
  return {std::move(out), 2, "error: " + why + "\n"};
}

inline answer run_cuts(const options& o) {
  // A file of parameters lists the model's own names; a folder has the checkpoint's.
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(o.model, ignored);
  const auto model = folder ? sw::checkpoint::read_headers(o.model) : sw::checkpoint::read_headers(o.model, {});
  const bool expert = o.ep != 0;
  const chosen_plan plan = choose_plan(o.plan(), model.config(), o.over());
  const cut_list list = cuts_of(plan, model, expert ? o.ep : o.tp);
  if (!list.refused.empty()) return refusal_of(list.refused, o.json);
  return {o.json ? json_of(list) + "\n" : text_of(list), list.clean() ? 0 : 1};
}

inline answer run_plan(const options& o) {
  const auto model = sw::checkpoint::read_headers(o.model);
  const chosen_plan plan = choose_plan(o.plan(), model.config(), o.over());
  const sw::exported_plan rows = sw::exported(plan.rules, model.tree());
  answer a;
  for (const sw::export_note& n : rows.notes()) {
    a.err += "note: " + std::string(n.what) + ": " + std::string(n.why) + "\n";
  }
  if (o.json) {
    sw::detail::json_writer w;
    rows.write_json(w);
    a.out = w.take() + "\n";
    return a;
  }
  std::size_t widest = 0;
  for (const sw::exported_row& r : rows) widest = std::max(widest, r.pattern.size());
  for (const sw::exported_row& r : rows) {
    a.out += std::string(r.pattern) + std::string(widest - r.pattern.size() + 2, ' ') + std::string(r.style) + "\n";
  }
  return a;
}

inline answer run_check(const options& o) {
  const auto model = sw::checkpoint::read_headers(o.model);
  const chosen_plan plan = choose_plan(o.plan(), model.config());
  sw::audit_options how;
  how.memory_bandwidth = o.bandwidth * 1e12;
  how.context = o.context;
  how.batch = o.batch;
  if (plan.file) {
    how.renamed = plan.file->renamed().data();
    how.renamed_count = plan.file->renamed().size();
  }
  const sw::audit_report report = sw::audit(plan.rules, model.tree(), o.tp == 0 ? 2 : o.tp, how);
  sw::sizes_options sizes;
  sizes.context = o.context;
  sizes.batch = o.batch;
  const sw::size_table table = sw::sizes(plan.rules, model.tree(), sizes);
  answer a;
  a.exit = report.clean() ? 0 : 1;
  a.out = text_of(report) + "\n" + text_of(table);
  return a;
}

/// Runs a command. Throws `sw::error` for bad input.
inline answer run(const options& o) {
  switch (o.command) {
    case options::check: return run_check(o);
    case options::plan_rows: return run_plan(o);
    case options::cuts: return run_cuts(o);
    default: return {};
  }
}

}  // namespace tool
