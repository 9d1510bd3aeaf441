// SPDX-License-Identifier: Apache-2.0
// What a communicator is called, how long it waits, and what NCCL is told of it.
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/nccl/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {

/// A value; all ranks of a communicator give the same.
struct options {
  /// For errors, and for NCCL's own logs and tools. A split of it is called "name/color".
  std::string name = "world";
  /// How long the host waits for one thing: for the stream in `wait` and `barrier`, for `close` and the destructor, and
  /// for a collective that NCCL has not yet put on its stream: the first one of a kind connects the ranks.
  std::chrono::milliseconds deadline = std::chrono::seconds(30);
  /// How long making a communicator or splitting one may take.
  std::chrono::milliseconds init_deadline = std::chrono::minutes(2);
  /// How long an abort is waited for. NCCL's may hang where a driver or a network does.
  std::chrono::milliseconds abort_grace = std::chrono::seconds(5);
  /// How many thread blocks a collective may take; NCCL decides where they are not set.
  std::optional<int> min_ctas = std::nullopt, max_ctas = std::nullopt;
  /// NCCL's blocking mode. Where it is false NCCL starts a thread for each collective of several ranks, or each group
  /// of them, and the call waits for it. Where it is true the calling thread does that work, as cheap as NCCL's own
  /// calls are; but making a communicator, splitting it, and a first collective then wait inside NCCL without a
  /// deadline of ours. `wait`, `barrier`'s wait, `close` and the destructor keep theirs; but work that hangs when it is
  /// closed is left hanging, as only `wait` can abort it: wait before. An adopted one is what its engine made it: say
  /// here which, for the splits of it and for cudaStreamPerThread. The environment's NCCL_COMM_BLOCKING overrides this.
  bool blocking = false;
};

namespace detail {
// As they are used.
inline options checked(options o) {
  for (std::chrono::milliseconds* t : {&o.deadline, &o.init_deadline, &o.abort_grace}) {
    if (*t <= std::chrono::milliseconds(0)) {
      shardwise::detail::raise(error(fault::refused, ncclInvalidUsage, "a deadline of the communicator ", o.name,
                                     " is ", t->count(), " ms; it must be above 0"));
    }
    *t = shardwise::detail::at_most_a_year(*t);
  }
  return o;
}

// NCCL keeps the pointer to the name, not the name.
inline ncclConfig_t config_of(const options& o, [[maybe_unused]] const char* name) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = o.blocking ? 1 : 0;
  // NCCL compares the two, and takes a greatest number that is not set for a negative one. It has 64 at most.
  if (o.min_ctas) config.minCTAs = *o.min_ctas;
  if (o.min_ctas || o.max_ctas) config.maxCTAs = o.max_ctas ? *o.max_ctas : std::max(*o.min_ctas, 64);
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 0)
  config.commName = name;
#endif
  return config;
}
}  // namespace detail

}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
