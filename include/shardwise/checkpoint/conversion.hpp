// SPDX-License-Identifier: Apache-2.0
// How the tensors of a file become a model's parameters: rules over names, and what they come to as boxes.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/model/shape.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// One parameter of the model, made of tensors of the file that are laid side by side, stacked, or only named
/// differently. A rule is data.
///
/// In a name `**` may stand first, for any number of segments (the same in `to` and `from`), and in `from` one `*` for
/// a number: the tensors that differ in it are stacked, 0 first, along a new dim 0. Tensors that no rule names keep
/// their names. Where a file has the parameter already the rule does nothing.
struct conversion {
  std::string to;                 ///< the model's name: "**.mlp.experts.gate_up_proj"
  std::vector<std::string> from;  ///< the file's: "**.mlp.experts.*.gate_proj.weight", ...
  std::size_t dim = 0;            ///< the dim of the model's parameter along which several `from` follow each other
  /// Fields of the config that may say how many are stacked, so that a missing last one is missed.
  std::vector<std::string> counted_by = {};
};

/// Experts that lie one by one in the file and stacked in the model: Qwen3-MoE, Qwen3.5-MoE, DeepSeek-V3; and Mixtral,
/// which calls them w1 (gate), w3 (up) and w2 (down).
inline const std::vector<conversion>& default_conversions() {
  static const std::vector<conversion> rules = {
      {"**.mlp.experts.gate_up_proj",
       {"**.mlp.experts.*.gate_proj.weight", "**.mlp.experts.*.up_proj.weight"},
       1,
       {"num_experts", "n_routed_experts"}},
      {"**.mlp.experts.down_proj", {"**.mlp.experts.*.down_proj.weight"}, 0, {"num_experts", "n_routed_experts"}},
      {"**.mlp.gate.weight", {"**.block_sparse_moe.gate.weight"}},
      {"**.mlp.experts.gate_up_proj",
       {"**.block_sparse_moe.experts.*.w1.weight", "**.block_sparse_moe.experts.*.w3.weight"},
       1,
       {"num_local_experts"}},
      {"**.mlp.experts.down_proj", {"**.block_sparse_moe.experts.*.w2.weight"}, 0, {"num_local_experts"}},
  };
  return rules;
}

/// A piece of a model's parameter: where it lies there, and which box of which tensor it is. All of a conversion comes
/// down to these, so that the slice of any rank is known as boxes of the file.
struct part {
  std::size_t tensor = 0;           ///< index in the source
  box at;                           ///< in the parameter
  tensor_shape from;                ///< the offset in the tensor
  std::size_t axis[max_dims] = {};  ///< the dim of the parameter that each dim of the tensor is
};

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
