// SPDX-License-Identifier: Apache-2.0
// What the least of users writes: a described model, its plan, and the check that the plan leaves nothing out.
#pragma once
#include "shardwise/match.hpp"
#include "shardwise/model.hpp"
#include "shardwise/plan.hpp"
#include "shardwise/shard.hpp"

namespace consumer {
namespace sw = shardwise;

struct tensor {};
struct linear {
  tensor weight;
  static consteval auto shardwise_members() { return sw::members<sw::field<&linear::weight>>{}; }
};
struct model {
  linear up, down;
  static consteval auto shardwise_members() { return sw::members<sw::field<&model::up>, sw::field<&model::down>>{}; }
};
}  // namespace consumer

template <>
inline constexpr bool shardwise::is_parameter<consumer::tensor> = true;

namespace consumer {
inline constexpr auto plan = sw::plan({{"up", sw::colwise}, {"down", sw::rowwise}});
static_assert(sw::covers<model, plan>);

inline constexpr auto hole = sw::plan({{"up", sw::colwise}});
static_assert(!sw::coverage<model, hole>);

/// The rows of `up` that each of two ranks owns: 4 of 8.
inline std::size_t rows_of_rank() {
  sw::tree tree;
  tree.add("up.weight", sw::dtype::f32, {8, 4});
  tree.add("down.weight", sw::dtype::f32, {4, 8});
  return static_cast<std::size_t>(sw::shard(plan, tree, {.tp = 2}).local_shape(0, 1)[0]);
}
}  // namespace consumer
