// SPDX-License-Identifier: Apache-2.0
// Experts that lie one by one in the file and stacked in the model, which most families' rules are made of.
#pragma once
#include <span>

#include "shardwise/checkpoint/conversion_list.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {
using namespace convert;

/// Gate rows, then up rows; and down as it is.
inline constexpr auto experts = rules({
    stack("mlp.experts.*.gate_proj.weight", "mlp.experts.*.up_proj.weight").into("mlp.experts.gate_up_proj"),
    stack("mlp.experts.*.down_proj.weight").into("mlp.experts.down_proj"),
});

/// Where w1 is gate, w3 is up, and w2 is down.
inline constexpr auto experts_w123 = rules({
    stack(".experts.*.w1.weight", ".experts.*.w3.weight").into(".experts.gate_up_proj"),
    stack(".experts.*.w2.weight").into(".experts.down_proj"),
});

/// The scales that lie beside the blocks of FP8 weights, in the way of the experts that they are of.
inline constexpr auto expert_scales = rules({
    stack("experts.*.gate_proj.weight_scale_inv", "experts.*.up_proj.weight_scale_inv")
        .into("experts.gate_up_proj_scale_inv"),
    stack("experts.*.down_proj.weight_scale_inv").into("experts.down_proj_scale_inv"),
    stack("experts.*.w1.weight_scale_inv", "experts.*.w3.weight_scale_inv").into("experts.gate_up_proj_scale_inv"),
    stack("experts.*.w2.weight_scale_inv").into("experts.down_proj_scale_inv"),
});

inline constexpr auto mixtral = rules({rename(".block_sparse_moe.", ".mlp.")}) + experts_w123;

}  // namespace conversions

/// What is done where there is no config to say which model it is: experts that lie one by one are stacked, as of
/// Qwen3-MoE, DeepSeek-V3 or Mixtral. What has other names stays as it is: Granite's stacked `block_sparse_moe.experts`
/// too, which is the model's own.
inline std::span<const conversion> default_conversions() {
  static constexpr auto all =
      conversions::experts +
      convert::rules({
          convert::rename(".block_sparse_moe.gate.weight", ".mlp.gate.weight"),
          convert::stack(".block_sparse_moe.experts.*.w1.weight", ".block_sparse_moe.experts.*.w3.weight")
              .into(".mlp.experts.gate_up_proj"),
          convert::stack(".block_sparse_moe.experts.*.w2.weight").into(".mlp.experts.down_proj"),
      }) +
      conversions::experts_w123;
  return all;
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
