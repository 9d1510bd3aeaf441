// SPDX-License-Identifier: Apache-2.0
// `shardwise cuts` against Hugging Face's own cuts, every table of them (reduced: see data/reduce_tables.py).
#include "cuts.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "command.hpp"

namespace {
using namespace program;
using simdjson::dom::element;

/// What cuts.json says of one kind of plan of one table.
struct half {
  std::string plan;  ///< {"pattern": "style"}
  std::vector<int> sizes, refused;
};
struct name_cut {
  std::string name;
  std::int64_t cut[2] = {-1, -1};  ///< of the tp plan and of the ep plan, in `bounds`; -1: whole
};
struct table {
  std::string name, model;
  half plans[2];
  std::vector<name_cut> names;
  std::vector<std::string> others;
};

std::int64_t number(element e) { return std::int64_t(e); }
std::string in_json(std::string_view s) { return '"' + std::string(s) + '"'; }

/// "a.*.b" with its stars replaced.
std::string numbered(std::string_view starred, element numbers) {
  std::string name(starred);
  for (const element n : simdjson::dom::array(numbers)) {
    name.replace(name.find('*'), 1, std::to_string(number(n)));
  }
  return name;
}

class data {
 public:
  data() {
    root_ = parser_.load(SHARDWISE_TEST_DATA "/cuts.json");
    for (const element t : simdjson::dom::array(root_["texts"])) {
      const auto shared = static_cast<std::size_t>(number(t.at(0)));
      texts_.push_back((texts_.empty() ? "" : texts_.back().substr(0, shared)) +
                       std::string(std::string_view(t.at(1))));
    }
    for (const element s : simdjson::dom::array(root_["shapes"])) shapes_.push_back(simdjson::minify(s));
    for (const element t : simdjson::dom::array(root_["tables"])) tables.push_back(read(t));
  }

  std::vector<table> tables;

  /// Each rank's intervals as the tool writes them, or "error".
  std::string expected(std::int64_t cut, int ranks) const {
    const element b = simdjson::dom::array(root_["bounds"]).at(static_cast<std::size_t>(cut));
    element refused, groups;
    if (b["error"].get(refused) == simdjson::SUCCESS) {
      for (const element size : simdjson::dom::array(refused)) {
        if (number(size) == ranks) return "error";
      }
    }
    groups = b[std::to_string(ranks)];
    std::string all;
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks); ++rank) {
      std::string one;
      for (const element group : simdjson::dom::array(groups)) {
        const std::int64_t begin = number(group.at(rank)), end = number(group.at(rank + 1));
        if (begin == end) continue;
        one += (one.empty() ? "[" : ",[") + std::to_string(begin) + "," + std::to_string(end) + "]";
      }
      all += (rank == 0 ? "[" : ",[") + one + "]";
    }
    return R"({"dim":)" + std::to_string(number(b["dim"])) + R"(,"intervals":[)" + all + "]}";
  }

 private:
  const std::string& text(element e) const { return texts_[static_cast<std::size_t>(number(e))]; }

  table read(element t) const {
    table out;
    out.name = std::string(std::string_view(t["name"]));
    for (int kind = 0; kind < 2; ++kind) {
      const element h = t[kind == 0 ? "tp" : "ep"];
      half& to = out.plans[kind];
      for (const element row : simdjson::dom::array(h["plan"])) {
        to.plan += (to.plan.empty() ? "{" : ",") + in_json(text(row.at(0))) + ":" + in_json(text(row.at(1)));
      }
      to.plan += to.plan.empty() ? "{}" : "}";
      for (const element n : simdjson::dom::array(h["sizes"])) to.sizes.push_back(static_cast<int>(number(n)));
      for (const element n : simdjson::dom::array(h["refused"])) to.refused.push_back(static_cast<int>(number(n)));
    }
    for (const element row : simdjson::dom::array(t["rows"])) {
      const std::size_t columns = simdjson::dom::array(row).size();
      const bool cut = columns > 4;
      for (std::size_t i = cut ? 5 : 3; i < columns; ++i) {
        name_cut n{numbered(text(row.at(0)), row.at(i))};
        if (cut) {
          n.cut[0] = number(row.at(3));
          n.cut[1] = number(row.at(4));
        }
        out.model += (out.model.empty() ? R"({"config":{},"parameters":[{"name":)" : R"(,{"name":)") + in_json(n.name) +
                     R"(,"shape":)" + shapes_[static_cast<std::size_t>(number(row.at(1)))] + R"(,"module_class":)" +
                     in_json(text(row.at(2))) + "}";
        out.names.push_back(std::move(n));
      }
    }
    out.model += "]}";
    for (const element o : simdjson::dom::array(t["others"])) {
      out.others.push_back(std::string(std::string_view(o)));
    }
    return out;
  }

  simdjson::dom::parser parser_;
  element root_;
  std::vector<std::string> texts_, shapes_;
};

/// The tool's answer as names and their minified values; one row "" for an error of the whole plan.
std::map<std::string, std::string> parsed(const std::string& json) {
  simdjson::dom::parser parser;
  const element root = parser.parse(json);
  std::map<std::string, std::string> rows;
  element whole;
  if (root["error"].get(whole) == simdjson::SUCCESS) return {{"", "error"}};
  for (const auto field : simdjson::dom::object(root["cuts"])) {
    element why;
    const bool refused = field.value["error"].get(why) == simdjson::SUCCESS && !std::string_view(why).empty();
    rows[std::string(field.key)] = refused ? "error" : simdjson::minify(field.value);
  }
  return rows;
}

}  // namespace

TEST_CASE("a style is put on a module of each class as Hugging Face puts it, or refused where it refuses") {
  simdjson::dom::parser parser;
  const element json = parser.load(SHARDWISE_TEST_DATA "/styles.json");
  std::size_t taken = 0, refused = 0;
  for (const auto style : simdjson::dom::object(json["styles"])) {
    const tool::sw::style how = tool::sw::parse_style(style.key);
    const bool expert = how.kind == tool::sw::style_kind::ep_dispatch_experts;
    const auto over = expert ? tool::sw::parallelism::expert : tool::sw::parallelism::tensor;
    for (const auto c : simdjson::dom::object(style.value["module_half"])) {
      std::string_view name = c.key;
      if (name == "experts") name = "Experts";
      if (name.starts_with("transformers ")) name.remove_prefix(std::string_view("transformers ").size());
      INFO(style.key << " on " << name);
      const bool error = !c.value["error"].error();
      CHECK(tool::detail::module_fault(how, {"layers.0.x", true}, name, over).empty() != error);
      ++(error ? refused : taken);
    }
  }
  CHECK(taken == 98);
  CHECK(refused == 42);
}

TEST_CASE("every table of Hugging Face is cut as Hugging Face cuts it, and refused where it refuses") {
  const data all;
  const temporary_folder folder;
  std::size_t compared = 0, refused = 0;
  for (const table& t : all.tables) {
    const std::string path = folder.write("model.json", t.model);
    const auto model = tool::sw::checkpoint::read_headers(path, {});
    for (int kind = 0; kind < 2; ++kind) {
      const half& h = t.plans[kind];
      if (h.sizes.empty()) continue;
      const auto over = kind == 0 ? tool::sw::parallelism::tensor : tool::sw::parallelism::expert;
      const std::string file = "hf:" + folder.write("plan.json", h.plan);
      const tool::chosen_plan plan = tool::choose_plan(file, model.config(), over);
      for (const int size : h.sizes) {
        INFO(t.name << ", " << tool::sw::name_of(over) << " " << size);
        std::map<std::string, std::string> expected;
        if (std::find(h.refused.begin(), h.refused.end(), size) != h.refused.end()) {
          expected[""] = "error";
        } else {
          for (const name_cut& n : t.names) {
            if (n.cut[kind] >= 0) expected[n.name] = all.expected(n.cut[kind], size);
          }
          if (kind == 0) {
            for (const std::string& name : t.others) expected[name] = "error";
          }
        }
        const tool::cut_list list = tool::cuts_of(plan, model, size);
        const auto got = parsed(tool::json_of(list));
        CHECK(got == expected);
        bool clean = true;
        for (const auto& [name, value] : expected) clean &= value != "error";
        CHECK(list.clean() == clean);
        compared += expected.size();
        refused += clean ? 0 : 1;
      }
    }
  }
  CHECK(all.tables.size() == 155);
  CHECK(compared == 13'735);
  CHECK(refused == 17);  // experts that do not divide, a rule on a list of modules, a class without a plan
}
