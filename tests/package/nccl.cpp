// SPDX-License-Identifier: Apache-2.0
// A consumer of shardwise::nccl: its headers and libraries are there. Nothing runs without a GPU.
#include <shardwise/nccl.hpp>

int main() {
  int version = 0;
  return ncclGetVersion(&version) == ncclSuccess && shardwise::full_communicator<shardwise::nccl::communicator> ? 0 : 1;
}
