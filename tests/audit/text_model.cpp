// SPDX-License-Identifier: Apache-2.0
#include "text_model.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "shardwise/audit/audit.hpp"

namespace {
// f(part) for each part of `text` between separators, empty ones left out.
template <class F>
void for_parts(std::string_view text, char separator, F f) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end != 0) f(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}
std::vector<std::string> parts_of(std::string_view text, char separator) {
  std::vector<std::string> out;
  for_parts(text, separator, [&](std::string_view part) { out.emplace_back(part); });
  return out;
}

// "a.{0-2,x}.{b,c}" is eight names.
std::vector<std::string> expanded(const std::string& text) {
  const std::size_t open = text.find('{');
  if (open == std::string::npos) return {text};
  const std::size_t close = text.find('}', open);
  const std::vector<std::string> tails = expanded(text.substr(close + 1));
  std::vector<std::string> out;
  for (const std::string& choice : parts_of(text.substr(open + 1, close - open - 1), ',')) {
    const bool number = choice[0] >= '0' && choice[0] <= '9';
    const std::size_t dash = number ? choice.find('-') : std::string::npos;
    const long first = number ? std::atol(choice.c_str()) : 0;
    const long last = dash == std::string::npos ? first : std::atol(choice.c_str() + dash + 1);
    for (long i = first; i <= last; ++i) {
      const std::string head = text.substr(0, open) + (number ? std::to_string(i) : choice);
      for (const std::string& tail : tails) out.push_back(head + tail);
    }
  }
  return out;
}
}  // namespace

void text_plan::edit(std::string_view lines) {
  for_parts(lines, '\n', [this](std::string_view line) { edit_line(line); });
}

void text_plan::edit_line(std::string_view line) {
  const std::vector<std::string> words = parts_of(line, ' ');
  const bool removes = words[0] == "-";
  if (removes && words.at(1) == "*") {
    rows.clear();
    return;
  }
  for (const std::string& p : expanded(words[removes ? 1 : 0])) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.first == p; });
    if (!removes && row == rows.end()) {
      rows.emplace_back(p, words.at(1));
    } else if (!removes) {
      row->second = words.at(1);
    } else if (row != rows.end()) {
      rows.erase(row);
    } else {
      throw std::runtime_error("the plan has no row " + p);
    }
  }
}

shardwise::imported_plan text_plan::import() const {
  shardwise::imported_plan p;
  for (const auto& [pattern, style] : rows) p.add(pattern, style);
  return p;
}

text_model& text_model::add(std::string_view lines) {
  for_parts(lines, '\n', [this](std::string_view line) {
    if (line[0] != '#') add_line(line);
  });
  return *this;
}

void text_model::add_line(std::string_view line) {
  if (line[0] == '>') return plan.edit(line.substr(2));
  const std::vector<std::string> words = parts_of(line, ' ');
  if (line[0] == '[') {
    name = words[0].substr(1);
    architecture = words.at(1);
    type = words.at(2);
    for (std::size_t i = 3; i < words.size(); ++i) sizes.push_back(std::atoi(words[i].c_str()));
  } else if (words.at(1) == "=") {
    const std::size_t dot = words[0].rfind('.');
    const bool root = dot == std::string::npos;
    tree.config(root ? "" : words[0].substr(0, dot), root ? words[0] : words[0].substr(dot + 1),
                std::atol(words.at(2).c_str()));
  } else if (words[1] == "->") {
    tree.tie(words.at(2), words[0]);
  } else {
    shardwise::dtype type_of = shardwise::dtype::bf16;
    if (words.size() > 2 && !shardwise::parse_dtype(words[2], type_of))
      throw std::runtime_error("no dtype: " + words[2]);
    shardwise::tensor_shape shape;
    for (const std::string& n : parts_of(words[1], 'x')) shape.push(std::stoul(n));
    for (const std::string& p : expanded(words[0])) tree.add(p, type_of, shape);
  }
}

shardwise::audit_report audited(shardwise::plan_view plan, const shardwise::tree& model, int tp,
                                const shardwise::audit_options& options) {
  return shardwise::audit(plan, model, tp, options);
}

std::string text_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

namespace {
const std::string& all_models() {
  static const std::string text = text_of_file(std::string(SHARDWISE_TEST_DATA) + "/well_known.txt");
  return text;
}
}  // namespace

text_model well_known_model(std::string_view name) {
  text_model m;
  if (name.empty()) return m;
  const std::size_t begin = all_models().find("\n[" + std::string(name) + " ");
  if (begin == std::string::npos) throw std::runtime_error("no model " + std::string(name));
  const std::size_t end = all_models().find("\n[", begin + 1);
  m.add(std::string_view(all_models()).substr(begin, end == std::string::npos ? end : end - begin));
  return m;
}

std::vector<std::string> well_known_names() {
  std::vector<std::string> out;
  for_parts(all_models(), '\n', [&](std::string_view line) {
    if (line[0] == '[') out.emplace_back(line.substr(1, line.find(' ') - 1));
  });
  return out;
}
