// SPDX-License-Identifier: Apache-2.0
// What one rank asks of the others, and whether all asked for the same.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

#include "shardwise/comm/operation.hpp"
#include "shardwise/error.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The arguments of a collective. Pointers are valid while the rank is inside it.
struct in_process_call {
  operation op = operation::barrier;
  const void* send = nullptr;
  void* recv = nullptr;
  std::size_t count = 0;  ///< elements; rows of gather_last_dim
  dtype type = dtype::u8;
  reduction how = reduction::sum;
  int root = 0;                                   ///< of broadcast
  std::size_t send_stride = 0, recv_stride = 0;   ///< of gather_last_dim
  std::span<const std::size_t> send_counts = {};  ///< of all_to_all; columns of gather_last_dim
  std::span<const std::size_t> recv_counts = {};  ///< of all_to_all
  int color = 0, key = 0;                         ///< of split

  const std::byte* sent() const { return static_cast<const std::byte*>(send); }
  std::byte* received() const { return static_cast<std::byte*>(recv); }
};

inline void append_dtype(comm_error& text, dtype type) {
  for (const char c : name_of(type)) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    text.append(std::string_view(&lower, 1));
  }
}

/// "all_reduce of 8 f32 by sum"
inline void words_of(comm_error& text, const in_process_call& c) {
  text.append(name_of(c.op));
  if (c.op == operation::barrier || c.op == operation::split) return;
  text.append(" of ");
  if (c.op == operation::gather_last_dim) {
    text.append(c.count);
    text.append(" rows, columns [");
    for (std::size_t i = 0; i < c.send_counts.size(); ++i) {
      if (i != 0) text.append(", ");
      text.append(c.send_counts[i]);
    }
    text.append("], ");
  } else if (c.op != operation::all_to_all) {
    text.append(c.count);
    text.append(" ");
  }
  append_dtype(text, c.type);
  if (c.op == operation::all_reduce || c.op == operation::reduce_scatter) {
    text.append(c.how == reduction::sum ? " by sum" : " by max");
  }
  if (c.op == operation::broadcast) {
    text.append(" from root ");
    text.append(c.root);
  }
}

/// Did two ranks call the same? Fields that an operation does not have are equal by default; `send_counts` of
/// all_to_all differ, and are compared pair by pair.
inline bool same(const in_process_call& a, const in_process_call& b) {
  return a.op == b.op && a.count == b.count && a.type == b.type && a.how == b.how && a.root == b.root &&
         (a.op != operation::gather_last_dim || std::ranges::equal(a.send_counts, b.send_counts));
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
