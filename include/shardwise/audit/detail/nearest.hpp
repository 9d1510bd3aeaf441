// SPDX-License-Identifier: Apache-2.0
// Names of a model that are like one that it does not have.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/audit/detail/survey.hpp"
#include "shardwise/plan/import.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// How many letters apart two names are, however long.
inline std::size_t letters_apart(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  return distance(a, b, row.data());
}

/// Up to `most` names, with stars for numbers: those that end in what was asked, then the fewest letters apart. What
/// was asked with a number that the model does not have is itself, starred.
inline std::vector<std::string> nearest_names(const survey& s, std::string_view asked, std::size_t most = 4) {
  const std::string key = starred(asked);
  std::vector<std::pair<std::size_t, std::string>> found;
  const auto consider = [&](std::string_view name) {
    std::string known = starred(name);
    if (known.empty()) return;
    const bool tail = known.size() > key.size() && known.ends_with(key) && known[known.size() - key.size() - 1] == '.';
    const std::size_t apart = tail ? 0 : letters_apart(known, key);
    // More than a third of its letters: another name.
    if (!tail && apart * 3 > std::max(known.size(), key.size())) return;
    for (const auto& f : found) {
      if (f.second == known) return;
    }
    found.emplace_back(apart, std::move(known));
  };
  if (key.empty()) return {};
  for (const parameter_class& p : s.parameters()) consider(p.name);
  for (const module_class& m : s.modules()) consider(m.name);
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (std::size_t i = 0; i < found.size() && i < most; ++i) names.push_back(found[i].second);
  return names;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
