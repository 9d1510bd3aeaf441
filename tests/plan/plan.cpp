// SPDX-License-Identifier: Apache-2.0
#include "shardwise/plan/plan.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "shardwise/match/match.hpp"

namespace sw = shardwise;

namespace {

constexpr auto attention = sw::plan({
    {"layers.*.{q,k,v}_proj", sw::colwise.units("num_heads")},
    {"layers.*.o_proj", sw::rowwise},
});
constexpr auto head = sw::plan({{"lm_head", sw::colwise_gather_output}});

constexpr sw::style style_of(sw::plan_view plan, std::string_view parameter) {
  const sw::owner who = sw::find_parameter_rule(plan, parameter);
  return who.rule == sw::no_rule || who.tied_with != sw::no_rule ? sw::style{.reason = "none"} : plan[who.rule].how;
}
constexpr bool is(const sw::style& have, const sw::style& want) { return have == want; }

// A sum has the rows of both, in order; equal rows merge.
constexpr auto both = attention + head;
static_assert(both.size() == 3 && decltype(both)::capacity == 3);
static_assert(is(both[2].how, sw::colwise_gather_output) && both[2].text == std::string_view("lm_head"));
static_assert((both + attention).size() == 3 && (both + attention + head).size() == 3);
static_assert(is(both[0].how, sw::style(sw::colwise).units("num_heads")));

// One segment for `*`, any number for `**`, one of several for braces: as segments, so that `{a,b}` is not `{b,a}`.
static_assert((sw::plan({{"{a,b}", sw::colwise}}) + sw::plan({{"{b,a}", sw::rowwise}})).size() == 2);

// A prefix goes in front of every row, and may itself be a pattern, once or more.
constexpr auto under = both.under("model.language_model");
static_assert(is(style_of(under, "model.language_model.layers.3.o_proj.weight"), sw::rowwise));
static_assert(style_of(under, "layers.3.o_proj.weight").reason == "none");
static_assert(is(style_of(both.under("{a,b}.*").under("c"), "c.b.x.lm_head.weight"), sw::colwise_gather_output));
static_assert(under[0].literals == both[0].literals + 2);
static_assert(both.under("**")[0].deep && !both[0].deep);
static_assert(is(style_of(both.under("**"), "any.depth.at.all.lm_head.weight"), sw::colwise_gather_output));
static_assert(both[0].pattern.count == 3);  // the plan itself is as it was

// Overrides replace a row of the same pattern, are added otherwise, and win over what is more literal.
constexpr auto base = sw::plan({{"layers.0.up", sw::colwise}, {"layers.*.up", sw::rowwise}, {"norm", sw::replicate}});
constexpr auto replaced = base.with({{"layers.0.up", sw::replicate("first")}});
static_assert(replaced.size() == 3 && style_of(replaced, "layers.0.up.weight").reason == "first");
static_assert(is(style_of(replaced, "layers.1.up.weight"), sw::rowwise));
constexpr auto added = base.with({{"layers.**", sw::replicate("all")}});
static_assert(added.size() == 4);
static_assert(style_of(added, "layers.0.up.weight").reason == "all" &&
              style_of(added, "layers.5.up.weight").reason == "all");
static_assert(style_of(added, "norm.weight").reason == "");
// A later override beats an earlier one, and the two may differ.
constexpr auto twice = added.with({{"**.up", sw::colwise}});
static_assert(is(style_of(twice, "layers.0.up.weight"), sw::colwise));
constexpr auto again = added.with({{"layers.**", sw::rowwise}});
static_assert(again.size() == 4 && is(style_of(again, "layers.0.up.weight"), sw::rowwise));
// An override of a plan that is then added to another still wins there.
static_assert(style_of(sw::plan({{"layers.0.up.weight", sw::rowwise}}) + added, "layers.0.up.weight").reason == "all");

// A family's plan may have rows that match nothing, and Hugging Face's are matched and cut its way.
static_assert(!both[0].optional && both.optional()[0].optional && both.optional()[2].optional);
constexpr auto imported = head.as_hugging_face();
static_assert(imported[0].optional && imported[0].matching == sw::dialect::hugging_face);
static_assert(imported[0].how.divided == sw::division::chunk && head[0].how.divided == sw::division::exact);
static_assert(is(head.as_hugging_face()[0].how.groups(1), imported[0].how));

constexpr sw::plan_view view = under;
static_assert(view.size() == 3 && view.end() - view.begin() == 3 && sw::plan_view().size() == 0);

// Reasons and groups are part of a style.
static_assert(sw::style(sw::replicate) != sw::replicate("why") && sw::replicate("why").reason == "why");
static_assert(sw::style(sw::packed_colwise<2>) == sw::colwise.groups(2) &&
              sw::colwise.groups(1) == sw::style(sw::colwise));
static_assert(sw::style(sw::packed_rowwise<3>).groups(2) == sw::packed_rowwise<2>);

}  // namespace

TEST_CASE("the same pattern with two styles is refused at run time too, with both styles and the pattern", "[plan]") {
  const auto refused = [](auto&& make) {
    CHECK_THROWS_MATCHES(make(), sw::plan_error,
                         says("the same pattern has two styles, rowwise and colwise: layers.*.o_proj; keep one, or say "
                              "the second in .with({...})"));
  };
  refused([] { return attention + sw::plan({{"layers.*.o_proj", sw::colwise}}); });
  refused([] { return sw::plan({{"layers.*.o_proj", sw::rowwise}, {"layers.*.o_proj", sw::colwise}}); });
  refused([] { return attention.with({{"layers.*.o_proj", sw::rowwise}, {"layers.*.o_proj", sw::colwise}}); });
  // A unit, a reason, a number of groups makes another style.
  CHECK_THROWS_AS(attention + sw::plan({{"layers.*.o_proj", sw::rowwise.units("num_heads")}}), sw::plan_error);
  CHECK_THROWS_AS(attention + sw::plan({{"layers.*.o_proj", sw::packed_rowwise<2>}}), sw::plan_error);
  CHECK_THROWS_MATCHES((both.under("model") + sw::plan({{"model.lm_head", sw::replicate}})), sw::plan_error,
                       says("the same pattern has two styles, colwise_gather_output and replicate: model.lm_head"));
}

TEST_CASE("a malformed pattern is refused at run time too, with the pattern and what is wrong", "[plan]") {
  struct row {
    std::string pattern, says;
  };
  const std::string long_name(256, 'x');
  const row rows[] = {
      {"", "the pattern '' is empty: name a module or a parameter, or write ** for all"},
      {"a..b", "the pattern 'a..b' has an empty segment: names are joined by single dots"},
      {".a", "the pattern '.a' has an empty segment: names are joined by single dots"},
      {"a.", "the pattern 'a.' has an empty segment: names are joined by single dots"},
      {"a*",
       "the pattern 'a*' has a star beside other characters: '*' is a whole segment, '**' any number of segments"},
      {"***",
       "the pattern '***' has a star beside other characters: '*' is a whole segment, '**' any number of segments"},
      {"{a", "the pattern '{a' has a brace that is not closed in its segment: write {a,b}, without dots inside"},
      {"a}", "the pattern 'a}' has a brace that is not closed in its segment: write {a,b}, without dots inside"},
      {"{a.b}", "the pattern '{a.b}' has a brace that is not closed in its segment: write {a,b}, without dots inside"},
      {"{a,{b}}", "the pattern '{a,{b}}' has more than one pair of braces in a segment, which is not understood"},
      {"{a}{b}", "the pattern '{a}{b}' has more than one pair of braces in a segment, which is not understood"},
      {"{}", "the pattern '{}' has an empty choice in braces"},
      {"{a,}", "the pattern '{a,}' has an empty choice in braces"},
      {"{,a}", "the pattern '{,a}' has an empty choice in braces"},
      {"{a,,b}", "the pattern '{a,,b}' has an empty choice in braces"},
      {"1.2.3.4.5.6.7.8.9.10.11.12.13",
       "the name '1.2.3.4.5.6.7.8.9.10.11.12.13' has more than 12 segments, which is the most that a path may have"},
      {long_name, "the name '" + long_name + "' has a segment of more than 255 bytes"},
  };
  for (const row& r : rows) {
    INFO(r.pattern);
    CHECK_THROWS_MATCHES(sw::rule(r.pattern.c_str(), sw::colwise), sw::plan_error, says(r.says));
    CHECK_THROWS_AS(sw::rule(r.pattern, sw::colwise, sw::dialect::shardwise), sw::plan_error);
  }
  // To Hugging Face they are names.
  CHECK_NOTHROW(sw::rule(std::string_view("a*"), sw::colwise, sw::dialect::hugging_face));
  CHECK_NOTHROW(sw::rule(std::string_view(""), sw::colwise, sw::dialect::hugging_face));
  CHECK_THROWS_AS(both.under("a..b"), sw::plan_error);
  CHECK_THROWS_AS(both.under("1.2.3.4.5.6.7.8.9.10"), sw::plan_error);
  CHECK_THROWS_MATCHES(sw::colwise.groups(9), sw::plan_error,
                       says("a packed dim was given 9 groups; it may have 1 to 8"));
}

TEST_CASE("a plan made at run time is the plan of compile time", "[plan]") {
  const sw::rule rows[] = {{"layers.*.{q,k,v}_proj", sw::colwise.units("num_heads")}, {"layers.*.o_proj", sw::rowwise}};
  const auto made = (sw::plan(rows) + head).under("model.language_model");
  REQUIRE(made.size() == under.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    CHECK(made[i].same_pattern(under[i]));
    CHECK(made[i].how == under[i].how);
    CHECK(made[i].literals == under[i].literals);
  }
}

TEST_CASE("groups and units are refused where a style cuts nothing that could have them", "[plan]") {
  CHECK_THROWS_MATCHES(sw::rowwise_split_input.groups(2), sw::plan_error,
                       says("'rowwise_split_input' has no groups: only colwise, colwise_gather_output, rowwise and "
                            "rowwise_partial_output cut a packed dim"));
  CHECK_THROWS_MATCHES(sw::replicate.units("heads"), sw::plan_error,
                       says("'replicate' cuts nothing, so that it has no units"));
  CHECK_THROWS_AS(sw::moe_tp_experts.units("heads"), sw::plan_error);
  CHECK(sw::replicate.groups(1) == sw::style(sw::replicate));
  // What is paired stays cut, and has units: a gather of what ranks share would have it twice.
  const sw::style heads = sw::colwise.units("heads");
  const auto no_pairs = [](const char* name) {
    return says(std::string("'") + name + "' has no units that are paired with others: say .units(\"...\") first");
  };
  CHECK_THROWS_MATCHES(sw::style(sw::colwise).reading("kv"), sw::plan_error, no_pairs("colwise"));
  CHECK_THROWS_MATCHES(sw::colwise_gather_output.units("kv").read_by("q"), sw::plan_error,
                       no_pairs("colwise_gather_output"));
  CHECK_THROWS_MATCHES(sw::colwise_gather_output.groups(sw::heads("q"), sw::heads("kv").read_by("q")), sw::plan_error,
                       no_pairs("colwise_gather_output"));
  CHECK_THROWS_MATCHES(heads.groups(sw::heads("q"), sw::heads("kv")), sw::plan_error, says("not both"));
  CHECK_THROWS_MATCHES(sw::colwise.groups(sw::heads("q"), sw::heads("kv")).units("q"), sw::plan_error,
                       says("not both"));
  CHECK_THROWS_MATCHES(sw::rowwise.groups(2).interleaved(), sw::plan_error, says("interleaved() is of groups(heads"));
  CHECK_THROWS_MATCHES(sw::rowwise.tiles(0), sw::plan_error, says("tiles(0): a tile has at least 1 element"));
  CHECK_THROWS_MATCHES(heads.reading("kv").tiles(2), sw::plan_error, says("tiles(n) are paired with nothing"));
  CHECK_THROWS_MATCHES(sw::style(sw::rowwise).convolution(), sw::plan_error, says("'rowwise' cuts no output features"));
  CHECK_THROWS_AS(sw::style(sw::partial_output).uneven(), sw::plan_error);
}
