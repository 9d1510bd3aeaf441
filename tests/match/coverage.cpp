// SPDX-License-Identifier: Apache-2.0
#include "shardwise/match/coverage.hpp"

#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/model/members.hpp"

namespace sw = shardwise;

namespace covered {
struct tensor {};
struct linear {
  tensor weight;
  std::optional<tensor> bias;
  SHARDWISE_MEMBERS(linear, weight, bias)
};
struct experts {
  tensor gate_up, down;
  SHARDWISE_MEMBERS(experts, gate_up, down)
};
struct layer {
  linear q, k, o;
  experts moe;
  SHARDWISE_MEMBERS(layer, q, k, o, moe)
};
struct model {
  std::vector<layer> layers;
  linear lm_head;
  SHARDWISE_MEMBERS(model, layers, lm_head)
};
struct wide {
  tensor p0, p1, p2, p3, p4, p5, p6, p7, p8, p9;
  SHARDWISE_MEMBERS(wide, p0, p1, p2, p3, p4, p5, p6, p7, p8, p9)
};
}  // namespace covered
template <>
inline constexpr bool sw::is_parameter<covered::tensor> = true;

namespace {

using covered::model;
using covered::wide;

constexpr auto layers = sw::plan({{"layers.*.{q,k}", sw::colwise},
                                  {"layers.*.o", sw::rowwise},
                                  {"layers.*.moe.gate_up", sw::packed_colwise<2>},
                                  {"layers.*.moe.down", sw::rowwise},
                                  {"layers.*.moe", sw::moe_tp_experts}});
constexpr auto head = sw::plan({{"lm_head", sw::colwise_gather_output}});
constexpr auto complete = layers + head;
static_assert(sw::covers<model, complete>);
static_assert(sw::coverage<model, complete>);

constexpr std::string_view parameter(std::size_t i) { return sw::schema<model>.parameters[i].name.view(); }
template <class M, const auto& Plan>
std::string hole(std::size_t n) {
  const sw::detail::segments path = sw::schema<M>.parameter_path(sw::coverage<M, Plan>.hole[n]);
  std::string t(sw::detail::length_of(path), ' ');
  sw::detail::write_path(path, t.data());
  return t;
}

// A hole: two parameters of the head.
static_assert(!sw::coverage<model, layers>);
static_assert(sw::coverage<model, layers>.holes == 2 && sw::coverage<model, layers>.ties == 0 &&
              sw::coverage<model, layers>.idle == 0);
static_assert(parameter(sw::coverage<model, layers>.hole[0]) == "weight");

// A style without a parameter half covers nothing, and is not idle.
constexpr auto experts_only = sw::plan({{"layers.*.moe", sw::moe_tp_experts}, {"**", sw::replicate}});
static_assert(sw::coverage<model, experts_only>);
constexpr auto forgotten = sw::plan({{"layers.*.{q,k,o}", sw::colwise},
                                     {"layers.*.moe.gate_up", sw::packed_colwise<2>},
                                     {"layers.*.moe", sw::moe_tp_experts},
                                     {"lm_head", sw::colwise}});
static_assert(sw::coverage<model, forgotten>.holes == 1 && sw::coverage<model, forgotten>.idle == 0);

// An idle rule: no parameter and no module. A module without parameters of its own is enough.
constexpr auto misspelt = complete + sw::plan({{"layers.*.qq", sw::colwise}, {"layers.*", sw::all_reduce}});
static_assert(sw::coverage<model, misspelt>.idle == 1 && sw::coverage<model, misspelt>.idle_rule[0] == 6);
constexpr auto family = misspelt.optional();
static_assert(sw::coverage<model, family>);
// A rule whose parameters are all owned by others is of use to nobody, but matches.
constexpr auto shadowed = complete + sw::plan({{"**.bias", sw::replicate}, {"layers.*.q.bias", sw::colwise}});
static_assert(sw::coverage<model, shadowed>);

// A tie: of every parameter of k.
constexpr auto tie = complete + sw::plan({{"layers.*.k", sw::rowwise}});
static_assert(sw::coverage<model, tie>.ties == 2 && sw::coverage<model, tie>.holes == 0);

// All are counted, eight are kept.
constexpr auto nothing = sw::plan({{"p0", sw::replicate}});
static_assert(sw::coverage<wide, nothing>.holes == 9 && sw::coverage<wide, nothing>.hole[7] == 8);
constexpr auto idle_rules = sw::plan({{"**", sw::replicate},
                                      {"a", sw::colwise},
                                      {"b", sw::colwise},
                                      {"c", sw::colwise},
                                      {"d", sw::colwise},
                                      {"e", sw::colwise},
                                      {"f", sw::colwise},
                                      {"g", sw::colwise},
                                      {"h", sw::colwise},
                                      {"i", sw::colwise}});
static_assert(sw::coverage<wide, idle_rules>.idle == 9 && sw::coverage<wide, idle_rules>.idle_rule[7] == 8);

// More rules than one word of marks holds.
template <std::size_t... I>
constexpr auto many(std::index_sequence<I...>) {
  constexpr const char* names[] = {"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"};
  constexpr const char* more[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
  sw::plan<100> p;
  for (std::size_t n = 0; n < 70; ++n) {
    sw::rule r(more[n % 10], sw::replicate);
    for (std::size_t k = 0; k < n / 10; ++k) r.pattern.push(r.pattern.at[0], "");
    r.count();
    r.optional = true;
    p.add(r);
  }
  (p.add(sw::rule(names[I], sw::replicate)), ...);
  return p;
}
constexpr auto eighty = many(std::make_index_sequence<10>{});
static_assert(eighty.size() == 80 && sw::coverage<wide, eighty>);

// As a constraint, where `covers` would not do.
template <class M, const auto& Plan>
concept fits = bool(sw::coverage<M, Plan>);
static_assert(fits<model, complete> && !fits<model, layers>);

// A plan may be a static constant of a class or a function too.
struct holder {
  static constexpr auto plan = layers + head;
};
static_assert(sw::covers<model, holder::plan>);

}  // namespace

TEST_CASE("coverage names what is open", "[match]") {
  static constexpr auto local = layers + head;
  static_assert(sw::covers<model, local>);
  CHECK(hole<model, layers>(0) == "lm_head.weight");
  CHECK(hole<model, layers>(1) == "lm_head.bias");
  CHECK(hole<model, forgotten>(0) == "layers.*.moe.down");
  CHECK(hole<wide, nothing>(7) == "p8");
}

TEST_CASE("an imported plan covers a described model by Hugging Face's matching", "[match]") {
  // A container is one `*` in a schema, which stands for the numbers there.
  static constexpr auto imported =
      sw::plan({{"layers.*.q", sw::colwise}, {"layers.*.k.weight", sw::colwise}}).as_hugging_face();
  constexpr sw::coverage_verdict v = sw::coverage<model, imported>;
  CHECK(v.holes == 7);
  CHECK(hole<model, imported>(0) == "layers.*.k.bias");
}
