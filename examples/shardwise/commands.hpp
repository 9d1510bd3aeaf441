// SPDX-License-Identifier: Apache-2.0
// What each command answers.
#pragma once
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
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
  if (plan.rules.size() == 0) {
    a.err += plan.file ? "note: the plan has no rules\n"
                       : "note: Hugging Face has no " + std::string(sw::name_of(plan.over)) + " plan for this model\n";
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
  if (model.tree().size() == 0) throw sw::checkpoint_error(o.model, " has no parameters: there is nothing to check");
  sw::audit_options how;
  how.memory_bandwidth = o.bandwidth * 1e12;
  if (plan.file) {
    how.renamed = plan.file->renamed().data();
    how.renamed_count = plan.file->renamed().size();
  }
  const sw::detail::survey names(plan.rules, model.tree());  // a hundred thousand of them are matched once
  const sw::audit_report report = sw::detail::report_of(names, o.tp == 0 ? 2 : o.tp, how);
  sw::sizes_options sizes;
  sizes.context = o.context;
  sizes.batch = o.batch;
  for (const char* section : {"", "text_config"}) {
    const auto types = model.config().texts(section, "layer_types");
    if (types && sizes.layer_types.empty()) sizes.layer_types.assign(types->begin(), types->end());
  }
  const sw::size_table table = sw::detail::sizes_of(names, sizes);
  answer a;
  a.exit = report.clean() ? 0 : 1;
  if (!o.json) {
    a.out = text_of(report) + "\n" + text_of(table);
    return a;
  }
  sw::detail::json_writer w;
  w.begin_object().member("plan", plan.name).key("report").raw(to_json(report));
  w.key("sizes").raw(to_json(table));
  a.out = w.end_object().take() + "\n";
  return a;
}

inline answer run_explain(const options& o) {
  const auto model = sw::checkpoint::read_headers(o.model);
  const chosen_plan plan = choose_plan(o.plan(), model.config());
  const sw::explanation e = sw::explain(plan.rules, model.tree(), o.name, o.tp);
  if (e.found()) return {o.json ? to_json(e) + "\n" : text_of(e)};
  std::string why = text_of(e);
  why.pop_back();  // the end of the line
  return refusal_of(why, o.json);
}

inline answer run_diff(const options& o) {
  const auto model = sw::checkpoint::read_headers(o.model);
  const chosen_plan a = choose_plan(o.plans.at(0), model.config()), b = choose_plan(o.plans.at(1), model.config());
  const sw::plan_diff d = sw::diff(a.rules, b.rules, model.tree(), o.tp);
  const std::string text = o.json ? to_json(d) + "\n" : "A: " + a.name + "\nB: " + b.name + "\n\n" + text_of(d);
  return {text, d.empty() ? 0 : 1};
}

/// Writes a file whole or not at all: what was there before stays where it cannot be. Returns why, or "".
inline std::string written(const std::string& to, const std::string& text) {
  std::error_code none;
  const auto what = std::filesystem::symlink_status(to, none).type();
  // What is no plain file (a link, a pipe) is written through, not replaced.
  const bool plain = what == std::filesystem::file_type::regular || what == std::filesystem::file_type::not_found;
  const std::string path = plain ? to + ".part" : to;
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  const bool opened = file.is_open();
  file << text;
  file.close();
  std::string why;
  if (!file) why = std::strerror(errno);
  if (plain && opened) {
    if (why.empty() && std::rename(path.c_str(), to.c_str()) != 0) why = std::strerror(errno);
    if (!why.empty()) std::filesystem::remove(path, none);
  }
  return why;
}

inline answer run_picture(const options& o) {
  const bool page = std::string_view(o.out).ends_with(".html");
  const std::filesystem::path path(o.model);
  const std::string title = (path.has_filename() ? path : path.parent_path()).stem().string();
  const auto model = sw::checkpoint::read_headers(path);
  const chosen_plan plan = choose_plan(o.plan(), model.config());
  sw::picture_options how;
  how.title = title;
  const std::string drawn = page ? sw::picture_html(plan.rules, model.tree(), o.tp, how)
                                 : sw::picture_svg(plan.rules, model.tree(), o.tp, how);
  if (const std::string why = written(o.out, drawn); !why.empty()) {
    return refusal_of(o.out + " cannot be written: " + why, o.json);
  }
  if (!o.json) return {o.out + ": " + std::to_string(drawn.size()) + " bytes\n"};
  return {
      sw::detail::json_writer().begin_object().member("file", o.out).member("bytes", drawn.size()).end_object().take() +
      "\n"};
}

/// Runs a command. Throws `sw::error` for bad input.
inline answer run(const options& o) {
  switch (o.command) {
    case options::check: return run_check(o);
    case options::explain: return run_explain(o);
    case options::diff: return run_diff(o);
    case options::picture: return run_picture(o);
    case options::plan_rows: return run_plan(o);
    case options::cuts: return run_cuts(o);
    default: return {};
  }
}

}  // namespace tool
