// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <cstddef>
#include <utility>

#include "shardwise/comm/communicator.hpp"

namespace shardwise {
inline namespace v0 {

/// `with_all_reduce(comm, f)`: a communicator that is `comm` in all but all_reduce, which is the engine's own
/// `f(send, recv, count, type, op, stream)`: a custom kernel for small messages, say. Moved or copied in; give a
/// reference wrapper of your own where the communicator must stay where it is.
///
/// It derives from the communicator and hides one member, which is all that replacing a capability takes.
template <communicator Comm, class AllReduce>
requires std::invocable<AllReduce&, const void*, void*, std::size_t, dtype, reduction, typename Comm::stream_type>
class with_all_reduce : public Comm {
 public:
  with_all_reduce(Comm comm, AllReduce all_reduce) : Comm(std::move(comm)), all_reduce_(std::move(all_reduce)) {}

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                  typename Comm::stream_type stream) {
    all_reduce_(send, recv, count, type, op, stream);
  }

 private:
  AllReduce all_reduce_;
};

}  // namespace v0
}  // namespace shardwise
