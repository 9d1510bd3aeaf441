// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <simdjson.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A parsed JSON text. It was checked whole: syntax, UTF-8, depth, and that no object has a key twice.
struct json_document {
  std::shared_ptr<const simdjson::dom::document> kept;
  simdjson::dom::element root;
};

inline void refuse_duplicate_keys(simdjson::dom::element e, std::string_view where) {
  if (simdjson::dom::array items; e.get(items) == simdjson::SUCCESS) {
    for (simdjson::dom::element item : items) refuse_duplicate_keys(item, where);
  }
  simdjson::dom::object fields;
  if (e.get(fields) != simdjson::SUCCESS) return;
  std::vector<std::string_view> keys;
  for (const auto& field : fields) {
    keys.push_back(field.key);
    refuse_duplicate_keys(field.value, where);
  }
  std::sort(keys.begin(), keys.end());
  if (const auto twice = std::adjacent_find(keys.begin(), keys.end()); twice != keys.end()) {
    raise(checkpoint_error(where, " has the key ", in_quotes(*twice), " twice in one object"));
  }
}

/// `where` names the text in errors. Throws `checkpoint_error`.
inline json_document parse_json(std::string_view text, std::string_view where) {
  if (text.empty()) raise(checkpoint_error(where, " is not valid JSON: it is empty"));
  simdjson::dom::parser parser;
  auto kept = std::make_shared<simdjson::dom::document>();
  json_document out;
  const auto failed = parser.parse_into_document(*kept, text.data(), text.size(), true).get(out.root);
  if (failed != simdjson::SUCCESS) {
    raise(checkpoint_error(where, " is not valid JSON: ", std::string_view(simdjson::error_message(failed))));
  }
  refuse_duplicate_keys(out.root, where);
  out.kept = std::move(kept);
  return out;
}

/// The same of a text that Python may have written, which spells what is no finite number Infinity, -Infinity and NaN,
/// as the configs of Mamba's family do: they read as null, which every number that is asked for may be.
inline json_document parse_python_json(std::string_view text, std::string_view where) {
  constexpr std::string_view words[] = {"-Infinity", "Infinity", "NaN"};
  if (text.find(words[1]) == std::string_view::npos && text.find(words[2]) == std::string_view::npos) {
    return parse_json(text, where);
  }
  std::string finite;
  finite.reserve(text.size());
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') quoted = !quoted;
    if (quoted && c == '\\' && i + 1 < text.size()) finite += text[i++];  // and what it escapes
    std::size_t length = 0;
    for (const std::string_view word : words) {
      if (!quoted && length == 0 && text.substr(i).starts_with(word)) length = word.size();
    }
    if (length == 0) {
      finite += text[i];
    } else {
      finite += "null";
      i += length - 1;
    }
  }
  return parse_json(finite, where);
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
