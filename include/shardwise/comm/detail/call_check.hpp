// SPDX-License-Identifier: Apache-2.0
// What is wrong with a collective call by itself, whatever the other ranks do.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/comm/detail/counts.hpp"
#include "shardwise/comm/detail/in_process_call.hpp"
#include "shardwise/comm/detail/reduce.hpp"
#include "shardwise/comm/operation.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The end of the sentence "rank r called ...: "; empty where the call may be made.
inline std::string_view fault_of(const in_process_call& c, int rank, int size) {
  const auto mine = static_cast<std::size_t>(rank), ranks = static_cast<std::size_t>(size);
  std::size_t sent = c.count, received = c.count;
  switch (c.op) {
    case operation::barrier:
    case operation::split: return {};
    case operation::all_gather: break;
    case operation::all_reduce:
    case operation::reduce_scatter:
      if (!can_reduce(c.type)) {
        return "reductions are of f32, f64, f16, bf16, i32, i64 and u8; cast the tensor to one of them";
      }
      break;
    case operation::broadcast:
      if (c.root < 0 || c.root >= size) return "the root is not a rank of this communicator";
      break;
    case operation::gather_last_dim: {
      if (c.send_counts.size() != ranks) return "it needs one count for each rank of this communicator";
      const std::size_t width = c.send_counts[mine], all = sum_of_counts(c.send_counts);
      if (c.count > 1 && (c.send_stride < width || c.recv_stride < all)) {
        return "rows overlap: a stride is too short";
      }
      sent = c.count * width;
      received = c.count * all;
      break;
    }
    case operation::all_to_all:
      if (c.send_counts.size() != ranks || c.recv_counts.size() != ranks) {
        return "it needs one count for each rank of this communicator";
      }
      sent = sum_of_counts(c.send_counts);
      received = sum_of_counts(c.recv_counts);
      break;
  }
  if ((sent != 0 && c.send == nullptr) || (received != 0 && c.recv == nullptr)) return "a buffer is null";
  if (c.op == operation::all_to_all && c.send == c.recv && sent != 0 && received != 0) {
    return "it cannot be done in place";
  }
  return {};
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
