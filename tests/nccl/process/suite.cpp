// SPDX-License-Identifier: Apache-2.0
// The suite of communicators over NCCL, one process a rank: started by a launcher, as an engine is.
#include <cstddef>
#include <cstdio>
#include <exception>

#include "nccl/backend.hpp"

namespace sw = shardwise;

namespace {
int run() {
  auto comm = sw::nccl::communicator::from_environment({.name = "suite", .deadline = std::chrono::minutes(2)});
  const sw::cuda::stream stream;
  nccl_test::device_backend backend(comm);
  int cases = 0, failed = 0;
  for (const auto& c : comm_test::suite<nccl_test::device_backend, sw::nccl::communicator>()) {
    ++cases;
    const std::size_t wrong = c.run(backend, comm, stream);
    if (wrong == 0) continue;
    ++failed;
    std::printf("rank %d: %s: %zu wrong\n", comm.rank(), c.name.c_str(), wrong);
  }
  comm.close();
  std::printf("rank %d of %d on device %d: %d cases, %d failed\n", comm.rank(), comm.size(), comm.device(), cases,
              failed);
  return failed == 0 ? 0 : 1;
}
}  // namespace

int main() {
  if (sw::cuda::device_count() == 0) {
    std::puts("SKIP: no CUDA device");
    return 0;
  }
  try {
    return run();
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}
