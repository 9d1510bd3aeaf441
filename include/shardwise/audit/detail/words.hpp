// SPDX-License-Identifier: Apache-2.0
// How the reports of the audit write numbers, cuts and styles for a reader.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/plan/style.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// "packed_colwise of 2 groups in units of num_key_value_heads".
inline std::string style_text(const style& s) {
  std::string out(s.name());
  if (s.group_count > 1) out += " of " + std::to_string(s.group_count) + " groups";
  if (!s.unit.empty()) out += " in units of " + std::string(s.unit);
  return out;
}

/// "1-4, 6, 8".
inline std::string ranges_text(const std::vector<int>& numbers) {
  std::string out;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    out += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
    if (end > i) out += (end == i + 1 ? ", " : "-") + std::to_string(numbers[end]);
    i = end + 1;
  }
  return out;
}

/// Columns padded to their widest cell, two blanks between them; the first row is the head. Numbers to the right: those
/// of `right`.
inline std::string table_text(const std::vector<std::vector<std::string>>& rows, std::size_t left_columns) {
  std::vector<std::size_t> width;
  for (const auto& row : rows) {
    if (width.size() < row.size()) width.resize(row.size());
    for (std::size_t c = 0; c < row.size(); ++c) width[c] = width[c] < row[c].size() ? row[c].size() : width[c];
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(width[c] - row[c].size(), ' ');
      line += (c == 0 ? "" : "  ") + (c < left_columns ? row[c] + pad : pad + row[c]);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + '\n';
  }
  return out;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
