// SPDX-License-Identifier: Apache-2.0
// Which plan is asked about: one that shardwise has for the model, or a file.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/detail/json.hpp"
#include "shardwise/checkpoint/detail/mapped_file.hpp"
#include "shardwise/models.hpp"
#include "shardwise/plan/import.hpp"

namespace tool {
namespace sw = shardwise;

/// A plan by name, or out of a file that is kept with it.
struct chosen_plan {
  std::string name;
  sw::parallelism over = sw::parallelism::tensor;
  bool hugging_face = false;  ///< matched and cut as Hugging Face does
  std::optional<sw::imported_plan> file;
  sw::plan_view rules;
};

/// Reads {"pattern": "style"}. Throws `sw::error` with file and row.
inline sw::imported_plan read_plan(const std::filesystem::path& path, sw::parallelism over) {
  const std::string where = path.string();
  if (where.empty()) throw sw::plan_error("the plan 'hf:' lacks its file: hf:FILE.json");
  const sw::detail::mapped_file file(path);
  const sw::detail::json_document json = sw::detail::parse_json(file.text(), where);
  simdjson::dom::object rows;
  if (json.root.get(rows) != simdjson::SUCCESS) {
    throw sw::plan_error(where, " is no plan: it must be an object {\"pattern\": \"style\"}");
  }
  sw::imported_plan plan(over);
  for (const auto& row : rows) {
    std::string_view style;
    if (row.value.get(style) != simdjson::SUCCESS) {
      throw sw::plan_error(where, ": the style of ", sw::detail::in_quotes(row.key), " is no text");
    }
    try {
      plan.add(row.key, style);
    } catch (const sw::plan_error& why) {
      throw sw::plan_error(where, ": ", why.text());
    }
  }
  return plan;
}

/// `auto`, `by_head`, `hf` or `hf:FILE.json`; of expert-parallel plans `auto` is `hf`. Throws `sw::error` for a model
/// that has no plan, and for a file that is none.
inline chosen_plan choose_plan(const std::string& name, const sw::checkpoint::config& config,
                               sw::parallelism over = sw::parallelism::tensor) {
  chosen_plan p;
  p.name = name;
  p.over = over;
  p.hugging_face = name != "auto" && name != "by_head";
  constexpr std::string_view file = "hf:";
  if (std::string_view(name).starts_with(file)) {
    p.file = read_plan(name.substr(file.size()), over);
    p.rules = *p.file;
  } else if (over == sw::parallelism::expert && (name == "hf" || name == "auto")) {
    p.rules = sw::models::hf_ep_plan(config);
    p.hugging_face = true;
  } else if (name == "hf") {
    p.rules = sw::models::hf_plan(config);
  } else if (name == "auto") {
    p.rules = sw::models::auto_plan(config);
  } else if (name == "by_head") {
    p.rules = sw::models::by_head_plan(config);
  } else {
    throw sw::plan_error("the plan ", sw::detail::in_quotes(name), " is none of auto, by_head, hf and hf:FILE.json");
  }
  return p;
}

}  // namespace tool
