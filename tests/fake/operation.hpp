// SPDX-License-Identifier: Apache-2.0
// One collective, send or receive as it was called, and a launch: what one communicator got in one group.
#pragma once
#include <nccl.h>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "fake/functions.hpp"
#include "fake/injection.hpp"

namespace fake {

struct communicator;

struct operation {
  function kind = function::ncclAllReduce;
  const void* send = nullptr;
  void* recv = nullptr;
  std::size_t count = 0;
  ncclDataType_t type = ncclInt8;
  ncclRedOp_t op = ncclSum;
  int root = 0;  // or the peer
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  std::optional<fault> hit = std::nullopt;

  bool reduces() const {
    return kind == function::ncclAllReduce || kind == function::ncclReduceScatter || kind == function::ncclReduce;
  }
  bool rooted() const { return kind == function::ncclBroadcast || kind == function::ncclReduce; }
  bool between_two() const { return kind == function::ncclSend || kind == function::ncclRecv; }
};

constexpr std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64: return 8;
    default: return 0;
  }
}
const char* name_of(ncclDataType_t type);
const char* name_of(ncclRedOp_t op);

struct launch {
  std::atomic<int> references{1};
  communicator* comm = nullptr;
  bool captured = false;
  std::size_t total = 0;
  operation* operations = nullptr;  // behind this object

  static launch* make(communicator& c, const operation* all, std::size_t total);  // those of `c` among `all`
  static void release(void* l);
};

/// The checks of an operation that NCCL makes in the call, and those that it should make.
ncclResult_t check_operation(const operation& o, communicator& c);

/// Takes an operation: to its stream, or into the open group.
ncclResult_t submit(operation o);

/// Gives a launch to its streams, which release it.
ncclResult_t start_launch(launch* l);

/// Does it, in the stream's thread.
void run_launch(const launch& l);

/// acc[i] = acc[i] op x[i], for `count` elements. `type` and `op` have been checked.
void accumulate(ncclDataType_t type, ncclRedOp_t op, void* acc, const void* x, std::size_t count);
/// acc[i] /= ranks, for ncclAvg.
void divide(ncclDataType_t type, void* acc, std::size_t count, int ranks);

}  // namespace fake
