// SPDX-License-Identifier: Apache-2.0
// A plan that leaves something open in a described model is refused, and what it leaves open is named: g++ prints a
// path as text, clang as characters.
// clang-format off
//! error[HOLE]: shardwise: no rule of this plan matches the parameter named in no_rule_matches<parameter<...>>
//! error[HOLE] gcc: no_rule_matches<[^ ]*"lm_head.weight"
//! error[HOLE] gcc: no_rule_matches<[^ ]*"lm_head.bias"
//! error[HOLE] clang: never<shardwise::parameter<'l', 'm', '_', 'h', 'e', 'a', 'd', '\.', 'w', 'e', 'i', 'g', 'h', 't'>>
//! error[HOLE] clang: never<shardwise::parameter<'l', 'm', '_', 'h', 'e', 'a', 'd', '\.', 'b', 'i', 'a', 's'>>
//! error[HOLE_IN_A_LAYER] gcc: no_rule_matches<[^ ]*"layers.\*.down.weight"
//! error[HOLE_IN_A_LAYER] clang: never<shardwise::parameter<'l', 'a', 'y', 'e', 'r', 's', '\.', '\*', '\.', 'd', 'o', 'w', 'n', '\.', 'w'
//! error[NO_PARAMETER_HALF]: shardwise: no rule of this plan matches the parameter
//! error[NO_PARAMETER_HALF] gcc: "layers.\*.down.weight"
//! error[DEAD_RULE]: shardwise: the rule named in rule_matches_nothing<pattern<...>> matches nothing in this model
//! error[DEAD_RULE] gcc: rule_matches_nothing<[^ ]*"layers.\*.upp"
//! error[DEAD_RULE] clang: never<shardwise::pattern<'l', 'a', 'y', 'e', 'r', 's', '\.', '\*', '\.', 'u', 'p', 'p'>>
//! error[TIE]: shardwise: two rules are equally specific for the parameter named in rules_tie<parameter<...>, pattern
//! error[TIE] gcc: rules_tie<[^ ]*"layers.\*.up.weight"}>, [^ ]*"layers.\*.up"}>, [^ ]*"layers.\*.{up,down}"}>
//! error[TIE] clang: rules_tie<shardwise::parameter<'l', [^>]*'w', 'e', 'i', 'g', 'h', 't'>, shardwise::pattern<'l', [^>]*'u', 'p'>, shardwise::pattern<'l', [^>]*'{', 'u', 'p', ',', 'd', 'o', 'w', 'n', '}'>
//! error[UNDESCRIBED]: shardwise: this_member_is_neither_described_nor_a_parameter<type, field<&owner::member>>
//! error[UNDESCRIBED]: this_member_is_neither_described_nor_a_parameter<stranger, .*layer::norm
//! error[LOCAL_PLAN] gcc: is not a valid template argument
//! error[LOCAL_PLAN] clang: add 'static' to give it a constant address
//! error[TIE_OF_A_MODULE]: shardwise: two rules are equally specific for the parameter named in rules_tie<parameter<...>, pattern
//! error[TIE_OF_A_MODULE] gcc: rules_tie<[^ ]*"layers.\*"}>, [^ ]*"layers.\*"}>, [^ ]*"{layers,blocks}.\*"}>
//! error[TIE_OF_A_MODULE] clang: rules_tie<shardwise::parameter<'l', 'a', 'y', 'e', 'r', 's', '\.', '\*'>, shardwise::pattern<
//! error[INHERITED]: shardwise: the_description_is_inherited_and_misses_members<type>: describe the type itself
//! error[INHERITED]: the_description_is_inherited_and_misses_members<grown_linear>
// clang-format on
#include "shardwise/match.hpp"
#include "shardwise/model.hpp"
#include "shardwise/plan.hpp"

namespace sw = shardwise;

struct tensor {};
template <>
inline constexpr bool sw::is_parameter<tensor> = true;
struct stranger {
  float scale;
};

struct linear {
  tensor weight, bias;
  SHARDWISE_MEMBERS(linear, weight, bias)
};
struct same_linear : linear {};  // nothing of its own: its base's description is its own
struct grown_linear : linear {
  tensor scale;
#if !defined(INHERITED)
  SHARDWISE_MEMBERS(grown_linear, weight, bias, scale)
#endif
};
struct grown {
  same_linear same;
  grown_linear more;
  SHARDWISE_MEMBERS(grown, same, more)
};
static_assert(sw::schema<grown>.parameter_count == 5);

struct layer {
  linear up, down;
#if defined(UNDESCRIBED)
  stranger norm;
#else
  tensor norm;
#endif
  SHARDWISE_MEMBERS(layer, up, down, norm)
};
struct model {
  layer layers[2];
  linear lm_head;
  SHARDWISE_MEMBERS(model, layers, lm_head)
};

constexpr auto layers = sw::plan({{"layers.*.up", sw::colwise}, {"layers.*.norm", sw::replicate}});
constexpr auto down = sw::plan({{"layers.*.down", sw::rowwise}});
constexpr auto head = sw::plan({{"lm_head", sw::colwise_gather_output}});

#if defined(HOLE)
constexpr auto plan = layers + down;
#elif defined(HOLE_IN_A_LAYER)
constexpr auto plan = layers + head;
#elif defined(NO_PARAMETER_HALF)
constexpr auto plan = layers + head + sw::plan({{"layers.*.down", sw::all_reduce}});
#elif defined(DEAD_RULE)
constexpr auto plan = layers + down + head + sw::plan({{"layers.*.upp", sw::colwise}});
#elif defined(TIE_OF_A_MODULE)
constexpr auto plan =
    layers + down + head + sw::plan({{"layers.*", sw::all_reduce}, {"{layers,blocks}.*", sw::local_params}});
#elif defined(TIE)
constexpr auto plan = layers + down + head + sw::plan({{"layers.*.{up,down}", sw::colwise}});
#else
constexpr auto plan = layers + down + head;
#endif
#if defined(LOCAL_PLAN)
bool check() {
  constexpr auto local = layers + down + head;
  return bool(sw::coverage<model, local>);
}
#endif
static_assert(sw::covers<model, plan>);
