// SPDX-License-Identifier: Apache-2.0
// One rank, in a process of its own, that does one collective after another until it fails: another rank is killed.
// Ends with 0 where it was told so by name, within the deadline, and again by the next call.
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>

#include "shardwise/cuda.hpp"
#include "shardwise/nccl.hpp"

namespace sw = shardwise;
using clock_type = std::chrono::steady_clock;

namespace {

int run() {
  constexpr auto deadline = std::chrono::milliseconds(500);
  auto comm = sw::nccl::communicator::from_environment({.name = "tp", .deadline = deadline});
  const sw::cuda::stream stream;
  const sw::cuda::device_memory memory(1 << 20);
  auto* x = static_cast<float*>(memory.data());
  const auto count = memory.bytes() / sizeof(float);
  auto start = clock_type::now();
  std::string first;
  try {
    for (int i = 0; i < 20; ++i) {
      start = clock_type::now();
      comm.all_reduce(x, x, count, sw::dtype::f32, sw::reduction::sum, stream);
      comm.wait(stream);
      start = clock_type::now();
      comm.broadcast(x, count, sw::dtype::f32, 0, stream);
      comm.barrier(stream);
    }
    std::puts("no error");
    return 1;
  } catch (const sw::nccl::error& e) {
    first = e.what();
  }
  const auto took = clock_type::now() - start;
  std::puts(first.c_str());
  const std::string place = "rank " + std::to_string(comm.rank()) + " of " + std::to_string(comm.size()) +
                            " (tp, device " + std::to_string(comm.device()) + "): ";
  if (first.compare(0, place.size(), place) != 0) return 2;
  if (took > deadline + std::chrono::seconds(20)) return 3;  // what the machine is busy with, generously
  try {
    comm.wait(stream);
    return 4;
  } catch (const sw::nccl::error& e) {
    return first == e.what() ? 0 : 5;
  }
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 6;
  }
}
