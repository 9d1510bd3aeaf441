// SPDX-License-Identifier: Apache-2.0
// Where the result of an engine's own arithmetic is, given where its operands are. For plans known at run time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/error.hpp"
#include "shardwise/placement.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {

/// How the last two dims of a weight lie: as a linear layer has them, or transposed (the experts of gpt-oss).
enum class weight_axes : std::uint8_t { out_in, in_out };

/// The placement of `x` times `weight` [..., out, in], or [..., in, out] if `axes` says so, summed over `in`.
/// - a whole weight keeps a whole x whole, and a partial sum partial;
/// - a weight cut on `out` makes a whole x sharded on its last dim;
/// - a weight cut on `in` makes an x that is sharded on its last dim a partial sum.
/// Throws `placement_error`, which names the weight, for everything else.
inline placement product(placement x, const sharded_parameter& weight, weight_axes axes = weight_axes::out_in) {
  const placement w = weight.where();
  const std::size_t dims = weight.shape.dims();
  const bool on_last = w.kind == placement::sharded && w.dim == -1;
  const bool on_other = w.kind == placement::sharded && dims >= 2 && w.dim == static_cast<int>(dims) - 2;
  const bool on_in = axes == weight_axes::out_in ? on_last : on_other;
  const bool on_out = axes == weight_axes::out_in ? on_other : on_last;
  if (w.kind == placement::replicated && (x.kind == placement::replicated || x == placement(partial<>{}))) return x;
  if (on_out && x.kind == placement::replicated) return sharded<-1>{};
  if (on_in && x == placement(sharded<-1>{})) return partial<>{};
  if (on_in && x.kind == placement::replicated) {
    detail::raise(placement_error("'", weight.name, "' is cut on its input features, and its input is ", x.name(),
                                  ": cut the module that makes the input by colwise, or use rowwise_split_input"));
  }
  if (x.kind == placement::sharded) {
    detail::raise(placement_error(
        "'", weight.name, "' is ", w.kind == placement::replicated ? "whole" : "cut on its output features",
        ", and its input is ", x.name(), ": give it rowwise, or gather the input (colwise_gather_output)"));
  }
  detail::raise(placement_error("'", weight.name, "' is ", w.name(), ", and its input is ", x.name(),
                                ": no row of the plan reduces that sum before this product"));
}

/// The placement of rows looked up in `table` [vocabulary, hidden], where a token of another rank's rows gives zeros.
inline placement lookup(const sharded_parameter& table) {
  if (table.how.whole()) return replicated{};
  if (table.how.dim == 0) return partial<>{};
  return sharded<-1>{};
}

/// A parameter that the engine can use only whole: a norm's weight, a router's.
/// Throws `placement_error`, which names it, where the plan cuts it.
inline const sharded_parameter& whole(const sharded_parameter& p) {
  if (p.how.whole()) return p;
  detail::raise(placement_error("the engine needs '", p.name, "' whole, and the plan cuts it on dim ", p.how.dim,
                                ": replicate it"));
}

}  // namespace v0
}  // namespace shardwise
