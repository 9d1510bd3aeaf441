// SPDX-License-Identifier: Apache-2.0
// The last call on a communicator, for the text of errors: a few stores a call.
#pragma once
#include <cstddef>

#include "shardwise/comm/detail/in_process_call.hpp"
#include "shardwise/comm/operation.hpp"
#include "shardwise/error.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

enum class direction : unsigned char { none, send, receive };

struct note {
  std::size_t count = 0;  ///< elements; rows of gather_last_dim
  int root = 0;           ///< of broadcast; the peer of send and recv
  operation op = operation::barrier;
  dtype type = dtype::u8;
  reduction how = reduction::sum;
  direction to = direction::none;
};

/// "all_reduce of 8 f32 by sum", in the words of the ranks in a process.
inline void words_of(comm_error& text, const note& n) {
  using namespace shardwise::detail;
  if (n.to == direction::none && n.op != operation::gather_last_dim) {
    words_of(text, in_process_call{.op = n.op, .count = n.count, .type = n.type, .how = n.how, .root = n.root});
    return;
  }
  text.append(n.to == direction::send ? "send" : n.to == direction::receive ? "recv" : name_of(n.op));
  text.append(" of ");
  text.append(n.count);
  text.append(n.to == direction::none ? " rows of " : " ");
  append_dtype(text, n.type);
  if (n.to == direction::none) return;
  text.append(n.to == direction::send ? " to rank " : " from rank ");
  text.append(n.root);
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
