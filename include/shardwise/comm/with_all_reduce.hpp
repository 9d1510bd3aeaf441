// SPDX-License-Identifier: Apache-2.0
// A communicator whose all-reduce is the engine's own.
#pragma once
#include <concepts>
#include <cstddef>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/forwarding.hpp"

namespace shardwise {
inline namespace v0 {

/// `with_all_reduce(comm, f)` is `comm`, which the caller keeps alive, in all but `all_reduce`: that calls
/// `f(send, recv, count, type, op, stream)`, which means and promises what communicator.hpp says of it. `comm` need not
/// have one of its own. `split` gives a split of `comm`: `f` is of all ranks.
template <communicator C, class F>
class with_all_reduce : public forwarding_communicator<C&> {
 public:
  using stream_type = typename C::stream_type;
  static_assert(std::invocable<F&, const void*, void*, std::size_t, dtype, reduction, stream_type>,
                "shardwise: with_all_reduce needs f(const void* send, void* recv, std::size_t count, dtype, reduction, "
                "stream)");

  with_all_reduce(C& comm, F f) : forwarding_communicator<C&>(comm), f_(std::move(f)) {}

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op, stream_type stream) {
    f_(send, recv, count, type, op, stream);
  }

 private:
  F f_;
};

}  // namespace v0
}  // namespace shardwise
