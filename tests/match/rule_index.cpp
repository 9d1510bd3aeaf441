// SPDX-License-Identifier: Apache-2.0
// The index answers as the plain functions do: owners, ties, which rules were seen, refusals.
#include "shardwise/match/rule_index.hpp"

#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/plan/import.hpp"

namespace sw = shardwise;

namespace {

std::mt19937 dice(11);
template <class List>
std::string one_of(const List& all) {
  return all[dice() % std::size(all)];
}

// Digits beyond ASCII are numbers to Hugging Face; the last segments of names are those of patterns, more often than
// not.
constexpr const char* words[] = {
    "layers", "mlp", "experts", "up_proj", "q", "k", "w1", "", "weight", "bias", "gate_up_proj_blocks"};
constexpr const char* numbers[] = {"0", "7", "61", "0123456789", "\xd9\xa3", "3\xd9\xa3", "-1", "1e3", "\xff"};
constexpr const char* choices[] = {"{q,k}", "{up,down}_proj", "w{1,2,1}", "gate_{up_proj,x}_blocks", "{weight,bias}"};

std::string a_name() {
  std::string name = one_of(words);
  for (std::size_t n = dice() % 12; n-- > 0;) name += '.' + (dice() % 3 == 0 ? one_of(numbers) : one_of(words));
  return name;
}
std::string a_pattern(bool ours) {
  std::string pattern;
  for (std::size_t n = 1 + dice() % 6, i = 0; i < n; ++i) {
    if (i != 0) pattern += '.';
    const auto kind = dice() % 10;
    if (kind < 3) {
      pattern += '*';
    } else if (kind == 3) {
      pattern += one_of(numbers);
    } else if (ours && kind == 4) {
      pattern += "**";
    } else if (ours && kind == 5) {
      pattern += one_of(choices);
    } else {
      std::string word = one_of(words);
      pattern += ours && word.empty() ? "mlp" : word;
    }
  }
  return pattern;
}
/// A name that the pattern matches, or nearly.
std::string a_name_of(const std::string& pattern) {
  std::string name;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '*') {
      name += dice() % 4 == 0 ? one_of(words) : one_of(numbers);
      if (i + 1 < pattern.size() && pattern[i + 1] == '*') ++i;
    } else if (pattern[i] == '{') {
      const std::size_t close = pattern.find('}', i), comma = pattern.find(',', i);
      name += pattern.substr(i + 1, (comma < close ? comma : close) - i - 1);
      i = close;
    } else {
      name += pattern[i];
    }
  }
  if (dice() % 3 != 0) name += '.' + one_of(words);
  if (dice() % 8 == 0) name += one_of(words);
  return name;
}

struct answers {
  sw::owner parameter, module;
  std::vector<int> seen;
  std::string refusal;
  bool operator==(const answers&) const = default;
};
template <class Parameter, class Module>
answers ask(const Parameter& parameter, const Module& module) {
  answers a;
  try {
    a.parameter = parameter([&](std::uint16_t r) { a.seen.push_back(r); });
    a.module = module();
  } catch (const sw::plan_error& e) {
    a.refusal = e.what();
  }
  return a;
}

}  // namespace

TEST_CASE("the index of a plan's rules answers as its rules one by one, for any plan and any name", "[match]") {
  const sw::style styles[] = {sw::colwise, sw::rowwise, sw::moe_tp_experts, sw::replicate};
  std::size_t owned = 0, modules = 0, ties = 0, refused = 0;
  for (int round = 0; round < 300; ++round) {
    // Up to more rules than the bits of a word.
    std::vector<std::string> patterns;
    std::vector<sw::rule> rules;
    const bool many = round % 20 == 0;
    const std::size_t count = many ? 150 : 1 + dice() % 8;
    patterns.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const bool ours = dice() % 2 == 0;
      patterns.push_back(a_pattern(ours));
      rules.emplace_back(std::string_view(patterns.back()), styles[dice() % 4],
                         ours ? sw::dialect::shardwise : sw::dialect::hugging_face);
      rules.back().overrides = static_cast<std::uint8_t>(dice() % 8 == 0);
    }
    const sw::plan_view plan(rules.data(), rules.size());
    const sw::rule_index index(plan);
    for (int n = 0; n < 200; ++n) {
      std::string name = n % 2 == 0 ? a_name() : a_name_of(patterns[dice() % patterns.size()]);
      if (dice() % 100 == 0) name += std::string(300, 'x');
      if (dice() % 100 == 0) name = "";
      INFO("'" << name << "'");
      const answers plain =
          ask([&](auto seen) { return sw::detail::find_parameter_rule(plan, sw::detail::split_name(name), seen); },
              [&] { return sw::find_module_rule(plan, name); });
      const answers indexed =
          ask([&](auto seen) { return index.parameter(name, seen); }, [&] { return index.module(name); });
      REQUIRE(indexed == plain);
      std::vector<int> seen;
      if (plain.refusal.empty()) {
        index.module(name, [&](std::uint16_t r) { seen.push_back(r); });
        std::vector<int> expected;
        for (std::size_t r = 0; r < rules.size(); ++r) {
          if (sw::detail::matches_module(rules[r], sw::detail::split_name(name)))
            expected.push_back(static_cast<int>(r));
        }
        REQUIRE(seen == expected);
      }
      owned += plain.parameter.rule != sw::no_rule;
      modules += plain.module.rule != sw::no_rule;
      ties += plain.parameter.tied_with != sw::no_rule;
      refused += !plain.refusal.empty();
    }
  }
  // Each kind of answer was given often.
  CHECK(owned > 10000);
  CHECK(modules > 2000);
  CHECK(ties > 500);
  CHECK(refused > 500);
}

TEST_CASE("a pattern whose braces stand for more than can be written out is matched all the same", "[match]") {
  sw::imported_plan plan;
  std::string pattern = "{a,b,c,d,e,f,g,h}", name = "h";
  for (int i = 0; i < 10; ++i) {
    pattern += ".{a,b,c,d,e,f,g,h}";
    name += ".b";
  }
  plan.add(pattern, "colwise");
  const sw::rule_index index(plan);
  CHECK(index.module(name).rule == 0);
  CHECK(index.parameter(name + ".weight").rule == 0);
  CHECK(index.module(name.substr(2)).rule == sw::no_rule);
}

TEST_CASE("the dots of a name are found wherever they are", "[match]") {
  for (std::size_t size = 0; size <= 64; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, '/');  // beside the dot among the characters
      text[at] = '.';
      CHECK(sw::detail::dots_in(text.data(), size) == std::uint64_t{1} << at);
    }
    CHECK(sw::detail::dots_in(std::string(size, '\xae').data(), size) == 0);
  }
}
