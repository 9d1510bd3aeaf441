// SPDX-License-Identifier: Apache-2.0
// How fast a plan's rules are found for the names of a model, beside a set of RE2 of the same rules.
//   bench_matching NAMES.txt RULES.txt [ROUNDS=15]        a name a line; a pattern, a blank and its style a line
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "interleaved.hpp"
#include "shardwise/match/rule_index.hpp"
#include "shardwise/plan/import.hpp"

#if defined(SHARDWISE_BENCH_RE2)
#include <re2/re2.h>
#include <re2/set.h>
#endif

namespace sw = shardwise;

namespace {

std::vector<std::string> lines_of(const char* path) {
  std::ifstream in{path};
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  if (lines.empty()) {
    std::fprintf(stderr, "bench_matching: %s cannot be read, or holds nothing\n", path);
    std::exit(2);
  }
  return lines;
}

void print(const char* what, std::size_t names, const std::vector<double>& seconds) {
  const double s = bench::median(seconds), n = static_cast<double>(names);
  std::printf("{\"name\": \"%s\", \"names\": %zu, \"seconds\": %.6f, \"names_per_s\": %.0f, \"ns_per_name\": %.1f}\n",
              what, names, s, n / s, s / n * 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_matching NAMES.txt RULES.txt [ROUNDS]\n");
    return 2;
  }
  const std::vector<std::string> names = lines_of(argv[1]), rules = lines_of(argv[2]);
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 15;

  sw::imported_plan plan;
  for (const std::string& line : rules) {
    const std::size_t blank = line.find(' ');
    plan.add(std::string_view(line).substr(0, blank), std::string_view(line).substr(blank + 1));
  }
  const sw::plan_view view = plan;

  // All must find the same rules; that they are compared keeps the compiler from leaving the work out.
  std::uint64_t wanted = 0;
  const auto find_all = [&](const char* what, const auto& find) {
    std::uint64_t sum = 0;
    for (const std::string& name : names) sum += find(name);
    if (wanted == 0) wanted = sum;
    if (sum == wanted) return;
    std::fprintf(stderr, "bench_matching: %s does not find the rules that the others find\n", what);
    std::exit(1);
  };
  const auto number = [](const sw::owner& who) { return who.rule == sw::no_rule ? std::uint64_t{0} : who.rule + 1u; };
  const auto plain = [&] {
    find_all("rule by rule", [&](const std::string& n) { return number(sw::find_parameter_rule(view, n)); });
  };
  const auto indexed = [&] {  // to make the index is part of the work
    const sw::rule_index index(view);
    find_all("the index", [&](const std::string& n) { return number(index.parameter(n)); });
  };
#if defined(SHARDWISE_BENCH_RE2)
  re2::RE2::Set set{re2::RE2::DefaultOptions, re2::RE2::ANCHOR_BOTH};
  for (const std::string& line : rules) {
    std::string text;
    for (const char c : line.substr(0, line.find(' '))) {
      text += c == '*' ? std::string("\\d+") : c == '.' ? std::string("\\.") : std::string(1, c);
    }
    set.Add(text + "(\\.weight|\\.weight_scale_inv|\\.bias)?", nullptr);
  }
  set.Compile();
  std::vector<int> hits;
  const auto re2_set = [&] {
    find_all("RE2's set", [&](const std::string& n) {
      hits.clear();
      return set.Match(n, &hits) ? static_cast<std::uint64_t>(hits.front() + 1) : 0;
    });
  };
#endif

  std::vector<double> by_rule, by_index, by_set, ratios;
  for (int round = -1; round < rounds; ++round) {  // the first warms up
    const bool counts = round >= 0;
    const double a = bench::seconds(plain), b = bench::seconds(indexed);
    if (counts) by_rule.push_back(a);
    if (counts) by_index.push_back(b);
#if defined(SHARDWISE_BENCH_RE2)
    const double c = bench::seconds(re2_set);
    if (counts) by_set.push_back(c);
    if (counts) ratios.push_back(c / b);
#endif
  }
  print("shardwise_rule_by_rule", names.size(), by_rule);
  print("shardwise_rule_index", names.size(), by_index);
  if (by_set.empty()) return 0;
  print("re2_set", names.size(), by_set);
  std::printf("{\"ratio\": \"re2_set over shardwise_rule_index\", \"median\": %.2f}\n", bench::median(ratios));
}
