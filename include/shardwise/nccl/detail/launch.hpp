// SPDX-License-Identifier: Apache-2.0
// A rank that a launcher has started: which device it takes, and how it meets the others.
#pragma once
#include <memory>
#include <utility>

#include "shardwise/comm/environment.hpp"
#include "shardwise/comm/tcp_rendezvous.hpp"
#include "shardwise/nccl/detail/open.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

/// The device of the local rank; the only one where the process sees one, as launchers may give each process its own.
inline int device_of(const launch_environment& launched, int devices) {
  const auto refused = [](const auto&... parts) {
    shardwise::detail::raise(nccl::error(fault::refused, ncclInvalidUsage, parts...));
  };
  if (devices == 0) refused("this process sees no CUDA device: see to the driver, and to CUDA_VISIBLE_DEVICES");
  if (devices == 1) return 0;
  if (launched.local_rank < 0) {
    refused("this process sees ", devices, " devices, and nothing says which is its own: set SHARDWISE_LOCAL_RANK");
  }
  if (launched.local_rank >= devices) {
    refused("local rank ", launched.local_rank, " has no device of its own: this process sees ", devices,
            "; start as many ranks on a machine as it has devices");
  }
  return launched.local_rank;
}

inline std::shared_ptr<state> open_launched(const launch_environment& launched, nccl::options opts) {
  opts = checked(std::move(opts));
  cuda::set_device(device_of(launched, cuda::device_count()));
  tcp_rendezvous_options how;
  how.deadline = opts.init_deadline;
  tcp_rendezvous meeting = tcp_rendezvous::from_environment(launched, std::move(how));
  const ncclUniqueId id = share_unique_id(meeting, opts);
  return open_communicator(id, meeting.size(), meeting.rank(), std::move(opts));
}

/// What fails also says whose variables were read.
inline std::shared_ptr<state> open_from_environment(nccl::options opts) {
  const auto launched = launched_by();
  if (!launched) {
    shardwise::detail::raise(nccl::error(
        fault::refused, ncclInvalidUsage, "the communicator ", opts.name,
        ": no launcher has set rank and size: start the program with torchrun, mpirun or srun, or set SHARDWISE_RANK, "
        "SHARDWISE_WORLD_SIZE, SHARDWISE_LOCAL_RANK, SHARDWISE_MASTER_ADDR and SHARDWISE_MASTER_PORT"));
  }
#if defined(__cpp_exceptions)
  try {
    return open_launched(*launched, std::move(opts));
  } catch (shardwise::error& e) {
    e.append("; launched by ");
    e.append(words_of(*launched));
    throw;
  }
#else
  return open_launched(*launched, std::move(opts));
#endif
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
