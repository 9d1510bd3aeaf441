// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

#include "shardwise/plan/import.hpp"
#include "shardwise/shard/layout.hpp"

namespace shardwise {
inline namespace v0 {

struct audit_options {
  double memory_bandwidth = 3.35e12;       ///< of one GPU, in bytes a second: that of an H100 SXM
  double whole_threshold = 0.01;           ///< what is whole without a reason may be this share of the model's bytes
  std::size_t least_features = 0;          ///< of a weight's piece that the engine's kernels take; 0: any
  layout_view layout = {};                 ///< what the dims of the engine's parameters are made of, as for `shard`
  const renamed_style* renamed = nullptr;  ///< the renamed styles of an imported plan, `renamed_count` of them
  std::size_t renamed_count = 0;
};

}  // namespace v0
}  // namespace shardwise
