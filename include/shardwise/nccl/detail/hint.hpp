// SPDX-License-Identifier: Apache-2.0
// The way out of what NCCL reports, where it is known.
#pragma once
#include <string_view>

#include "shardwise/nccl/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

/// "" where there is nothing better to say. `words`: what NCCL said last. `devices`: how many this process sees.
inline std::string_view hint_of(ncclResult_t result, std::string_view words, int devices) {
  const auto has = [&](std::string_view part) { return words.find(part) != std::string_view::npos; };
  if (has("Duplicate GPU") || has("same GPU")) {
    return "several ranks on one GPU must be separate processes, each with an NCCL_HOSTID of its own; from NCCL 2.30 "
           "on "
           "NCCL_MULTI_RANK_GPU_ENABLE=1 does it too";
  }
  if (has("Mismatched NCCL version")) return "all ranks must load the same libnccl.so.2";
  if (has("no socket interface") || has("socket interface found")) {
    return "name the network interface that the ranks share in NCCL_SOCKET_IFNAME";
  }
  switch (result) {
    case ncclUnhandledCudaError:
      if (devices == 0) return "this process sees no CUDA device: see to the driver, and to CUDA_VISIBLE_DEVICES";
      return "the device's own error is in NCCL's log (NCCL_DEBUG=WARN)";
    case ncclSystemError: return "the network or the system refused: NCCL_DEBUG=WARN says what";
    case ncclInternalError: return "it is NCCL's own fault or a corrupted memory: NCCL_DEBUG=WARN says where";
    case ncclInvalidArgument:
    case ncclInvalidUsage: return "NCCL_DEBUG=WARN says which argument";
    case ncclRemoteError: return "another rank ended or lost its connection: its own error says why";
    case ncclInProgress: return "a rank died, stands elsewhere, or called something else: compare what the ranks say";
    default: return "";
  }
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
