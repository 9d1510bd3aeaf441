// SPDX-License-Identifier: Apache-2.0
#include "shardwise/match/match.hpp"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"

namespace sw = shardwise;

namespace {

constexpr bool matches(std::string_view pattern, std::string_view name) { return sw::name_matches(pattern, name); }

static_assert(matches("a.b", "a.b") && !matches("a.b", "a.c") && !matches("a.b", "a") && !matches("a", "a.b"));
static_assert(matches("*", "a") && !matches("*", "a.b") && matches("a.*.c", "a.b.c") && matches("a.*.c", "a.7.c"));
static_assert(!matches("a.*", "a") && !matches("a.*.c", "a.b.b.c") && !matches("*", ""));
static_assert(matches("**", "a") && matches("**", "a.b.c") && matches("**", ""));
static_assert(matches("a.**", "a") && matches("a.**", "a.b.c") && !matches("a.**", "b.a"));
static_assert(matches("**.c", "c") && matches("**.c", "a.b.c") && !matches("**.c", "a.c.b"));
static_assert(matches("a.**.c", "a.c") && matches("a.**.c", "a.c.b.c") && !matches("a.**.c", "a.c.b"));
static_assert(matches("**.b.**", "a.b") && matches("**.a.*.c.**.e", "x.a.a.b.c.d.d.e") && !matches("**.b.**", "a.c"));
static_assert(matches("a.{b,cd,e}", "a.cd") && !matches("a.{b,cd,e}", "a.c") && !matches("a.{b,cd,e}", "a.b,cd"));
static_assert(matches("{q,k,v}_proj", "k_proj") && !matches("{q,k,v}_proj", "k_pro") &&
              !matches("{q,k}_proj", "_proj"));
static_assert(matches("x{1,22}y", "x22y") && !matches("x{1,22}y", "x2y") && !matches("x{1,22}y", "x1") &&
              matches("{a}", "a"));
static_assert(!matches("{aa,a}a", "a") && matches("{aa,a}a", "aaa") && matches("{aa,a}a", "aa"));
static_assert(matches("**.{q,k}.*", "a.b.k.weight"));

constexpr auto rules = sw::plan({
    {"layers.*.attn.{q,k,v}", sw::colwise},    // 0
    {"layers.*.attn.q.bias", sw::replicate},   // 1
    {"layers.0.attn.q", sw::rowwise},          // 2
    {"layers.**", sw::replicate("the rest")},  // 3
    {"**.experts", sw::moe_tp_experts},        // 4
    {"layers.*.mlp.experts.up", sw::colwise},  // 5
    {"**.weight", sw::rowwise},                // 6
    {"layers.*.attn.v", sw::rowwise},          // 7
});
constexpr std::uint16_t rule_of(std::string_view name) { return sw::find_parameter_rule(rules, name).rule; }
constexpr std::uint16_t module_rule_of(std::string_view name) { return sw::find_module_rule(rules, name).rule; }

// A rule that names the parameter beats one that names its module, however literal that is.
static_assert(rule_of("layers.1.attn.q.bias") == 1 && rule_of("layers.0.attn.q.bias") == 1);
static_assert(rule_of("layers.0.attn.q.weight") == 6);
// Otherwise the more literal pattern wins.
static_assert(rule_of("layers.0.attn.q.scale") == 2 && rule_of("layers.1.attn.k.bias") == 0);
// A module's rule covers its own parameters, one level.
static_assert(rule_of("layers.1.attn.k.inner.bias") == 3);
// What ends in ** speaks of a subtree and is never a parameter rule; it is the least literal.
static_assert(rule_of("layers.9.anything.at.all") == 3 && rule_of("layers.0.attn.q.scale") == 2);
// A style without a parameter half owns none, and hides none.
static_assert(rule_of("layers.1.mlp.experts.up") == 5 && rule_of("layers.1.mlp.experts.down") == 3);
static_assert(rule_of("elsewhere.experts.down") == sw::no_rule);
// But a module: here it ties with `layers.**`, which is as literal.
static_assert(sw::find_module_rule(rules, "layers.1.mlp.experts") == sw::owner{3, 4});
static_assert(module_rule_of("layers.0.attn.q") == 2 && module_rule_of("nothing") == sw::no_rule);
// {a,b} counts as literal: a tie.
static_assert(sw::find_parameter_rule(rules, "layers.1.attn.v.bias") == sw::owner{0, 7});
static_assert(sw::find_module_rule(rules, "layers.1.attn.v") == sw::owner{0, 7});
static_assert(sw::find_parameter_rule(rules, "norm").rule == sw::no_rule);

// A matcher that is slow and plain: the reference.
bool plain_segment(const std::string& p, const std::string& s) {
  const std::size_t open = p.find('{');
  if (p == "*") return true;
  if (open == std::string::npos) return p == s;
  const std::size_t close = p.find('}');
  std::string choices = p.substr(open + 1, close - open - 1) + ",";
  for (std::size_t comma = choices.find(','); comma != std::string::npos; comma = choices.find(',')) {
    if (p.substr(0, open) + choices.substr(0, comma) + p.substr(close + 1) == s) return true;
    choices.erase(0, comma + 1);
  }
  return false;
}
bool plain_match(const std::vector<std::string>& p, std::size_t i, const std::vector<std::string>& s, std::size_t k) {
  if (i == p.size()) return k == s.size();
  if (p[i] == "**") return plain_match(p, i + 1, s, k) || (k < s.size() && plain_match(p, i, s, k + 1));
  return k < s.size() && plain_segment(p[i], s[k]) && plain_match(p, i + 1, s, k + 1);
}
std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& p : parts) all += (all.empty() ? "" : ".") + p;
  return all;
}

}  // namespace

TEST_CASE("the matcher agrees with a plain one on random patterns and names", "[match]") {
  std::mt19937 engine(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(engine() % n); };
  const std::vector<std::string> words = {"a", "b", "ab", "ba", "a1b", "0", "12"};
  const std::vector<std::string> forms = {"a", "b", "ab", "*", "**", "{a,b}", "{a,ab}b", "a{1,2}b", "b{a}", "0"};
  std::size_t hits = 0;
  for (int n = 0; n < 60000; ++n) {
    std::vector<std::string> p(1 + below(5)), s(1 + below(6));
    for (auto& x : p) x = forms[below(forms.size())];
    for (auto& x : s) x = words[below(words.size())];
    const bool expected = plain_match(p, 0, s, 0);
    hits += expected;
    if (sw::name_matches(joined(p), joined(s)) != expected) {
      FAIL(joined(p) << " on " << joined(s) << " should be " << expected);
    }
  }
  CHECK(hits > 1000);
}

TEST_CASE("a pattern of many ** takes no exponential time", "[match]") {
  std::string pattern = "**.a", name = "a";
  for (int i = 0; i < 4; ++i) pattern += ".**.a";
  for (int i = 0; i < 10; ++i) name += ".a";
  CHECK(sw::name_matches(pattern + ".**", name));
  CHECK_FALSE(sw::name_matches(pattern + ".b", name));
}

TEST_CASE("names that differ only in the middle of a segment are told apart", "[match]") {
  // A segment's key holds its length, first, last and middle byte: the rest is compared too.
  CHECK_FALSE(sw::name_matches("abcdefgh", "axcdefgh"));
  CHECK_FALSE(sw::name_matches("abcdefgh", "abcdefxh"));
  CHECK(sw::name_matches("abcdefgh", "abcdefgh"));
}

TEST_CASE("a list of patterns matches what one of them matches, and an empty list everything", "[match]") {
  const auto any = [](std::string_view patterns, std::string_view name) {
    return sw::detail::any_pattern_matches(patterns, name);
  };
  CHECK(any("", "a"));
  CHECK(any("  ", "a"));
  CHECK(any("b a", "a"));
  CHECK(any(" b  a.** ", "a.c"));
  CHECK_FALSE(any("b c", "a"));
  CHECK_THROWS_AS(any("b c..d", "a"), sw::plan_error);
}

TEST_CASE("a name that no pattern could hold is refused with the name", "[match]") {
  CHECK_THROWS_MATCHES(sw::find_parameter_rule(rules, "1.2.3.4.5.6.7.8.9.10.11.12.13"), sw::plan_error,
                       says("the name '1.2.3.4.5.6.7.8.9.10.11.12.13' has more than 12 segments"));
}
