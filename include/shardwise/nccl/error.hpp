// SPDX-License-Identifier: Apache-2.0
// What goes wrong between ranks on GPUs.
#pragma once
#include "shardwise/error.hpp"
#include "shardwise/nccl/detail/header.hpp"

namespace shardwise {
inline namespace v0 {
/// Ranks on GPUs, one node or many.
namespace nccl {

/// How a call failed.
enum class fault : unsigned char {
  refused,    ///< an argument, the device or the moment was wrong: NCCL was not called, the communicator is as it was
  failed,     ///< NCCL or CUDA reported an error
  timed_out,  ///< the deadline passed
  ended       ///< the communicator was closed, aborted or moved from
};

/// A call on a communicator that failed: "rank 1 of 4 (tp, device 1): all_reduce of 8 f32 by sum: ncclAllReduce gave
/// ncclSystemError (2), unhandled system error", and what else is known: what became of the communicator, a way out,
/// the versions, NCCL's last words. Immutable; holds no memory of its own, so it may be copied to and read by any
/// thread.
class error : public comm_error {
 public:
  template <class... Parts>
  explicit error(nccl::fault kind, ncclResult_t result, const Parts&... parts)
      : comm_error(parts...), result_(result), kind_(kind) {}

  /// What NCCL gave. Without a result of NCCL's: ncclInvalidUsage where it was refused, ncclInProgress where it timed
  /// out, ncclUnhandledCudaError where CUDA failed.
  ncclResult_t result() const noexcept { return result_; }
  nccl::fault kind() const noexcept { return kind_; }

 private:
  ncclResult_t result_;
  nccl::fault kind_;
};

}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
