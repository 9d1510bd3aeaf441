// SPDX-License-Identifier: Apache-2.0
// JSON files of the goldens, and of `generate`.
#pragma once
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace program {

using local_tensors = std::map<std::string, std::pair<std::vector<std::int64_t>, std::string>>;  // shape, sha256

/// "ranks" of tp2.json, tp4.json and `--shards`.
inline std::vector<local_tensors> ranks_of(const std::string& file) {
  simdjson::dom::parser parser;
  std::vector<local_tensors> ranks;
  for (simdjson::dom::object rank : parser.load(file)["ranks"]) {
    local_tensors tensors;
    for (const auto& [name, value] : rank) {
      std::vector<std::int64_t> shape;
      for (std::int64_t n : value["shape"]) shape.push_back(n);
      tensors[std::string(name)] = {shape, std::string(std::string_view(value["sha256"]))};
    }
    ranks.push_back(std::move(tensors));
  }
  return ranks;
}

/// The line that `generate` prints for the tokens of greedy.json.
inline std::string tokens_line(const std::string& file) {
  simdjson::dom::parser parser;
  std::string line;
  for (std::int64_t id : parser.load(file)["tokens"]) {
    line += line.empty() ? "tokens: " : ",";
    line += std::to_string(id);
  }
  return line + "\n";
}

/// The ids of "input_ids", one row after the other.
inline std::vector<std::int64_t> ids_of(const std::string& file) {
  simdjson::dom::parser parser;
  std::vector<std::int64_t> ids;
  for (simdjson::dom::array row : parser.load(file)["input_ids"]) {
    for (std::int64_t id : row) ids.push_back(id);
  }
  return ids;
}

/// Rows of a plan file, in order.
using plan_rows = std::vector<std::pair<std::string, std::string>>;

/// "tp_plan" of plan.json.
inline plan_rows hugging_face_plan(const std::string& file) {
  simdjson::dom::parser parser;
  plan_rows rows;
  for (const auto& [pattern, style] : parser.load(file)["tp_plan"].get_object()) {
    rows.emplace_back(std::string(pattern), std::string(std::string_view(style)));
  }
  return rows;
}

inline std::string plan_text(const plan_rows& rows) {
  std::string text;
  for (const auto& [pattern, style] : rows) {
    text += std::string(text.empty() ? "{" : ",\n ") + '"' + pattern + "\": \"" + style + '"';
  }
  return text + "}\n";
}

}  // namespace program
