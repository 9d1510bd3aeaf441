// SPDX-License-Identifier: Apache-2.0
// What one rank does to the others; faults.cpp of the folder above looks at how the job ends.
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "rank.hpp"

namespace {
using namespace mpi_test;
using namespace std::chrono_literals;
using ranked = sw::mpi::communicator;
using sw::dtype;
using sw::reduction;

// All are there when the time begins.
ranked waits(std::chrono::milliseconds deadline) {
  MPI_Barrier(MPI_COMM_WORLD);
  return ranked::adopt(MPI_COMM_WORLD, {.deadline = deadline, .on_failure = [](const sw::comm_error& e) {
                                          std::fprintf(stderr, "log: %s\n", e.what());
                                        }});
}
bool chosen(const ranked& c) { return c.rank() == chosen_rank(); }

// A collective by name, right in itself.
void call(ranked& c, const std::string& op) {
  const auto n = static_cast<std::size_t>(c.size());
  static std::vector<float> send(64, 1), recv(64);
  const std::vector<std::size_t> ones(n, 1);
  std::vector<std::size_t> uneven(n, 1);
  uneven[0] = 2;
  if (op == "barrier") c.barrier();
  if (op == "all_reduce") c.all_reduce(send.data(), recv.data(), 8, dtype::f32, reduction::sum);
  if (op == "all_gather") c.all_gather(send.data(), recv.data(), 2, dtype::f32);
  if (op == "gather_last_dim") c.gather_last_dim(send.data(), 1, recv.data(), n, 2, ones, dtype::f32);
  if (op == "gather_last_dim uneven") c.gather_last_dim(send.data(), 2, recv.data(), n + 1, 2, uneven, dtype::f32);
  if (op == "reduce_scatter") c.reduce_scatter(send.data(), recv.data(), 2, dtype::f32, reduction::sum);
  // From the rank that is missed: any other root may be done without it.
  if (op == "broadcast") c.broadcast(recv.data(), 2, dtype::f32, chosen_rank());
  if (op == "all_to_all") c.all_to_all(send.data(), ones, recv.data(), ones, dtype::f32);
  if (op == "split") (void)c.split(0, 0);
}
const char* wanted_operation() {
  const char* op = std::getenv("MPI_TEST_OPERATION");
  return op != nullptr ? op : "barrier";
}

// One rank never comes.
const named never_comes("never comes", [] {
  const environment mpi;
  ranked c = waits(500ms);
  if (chosen(c)) std::this_thread::sleep_for(60s);
  call(c, wanted_operation());
  return 0;
});

// One rank ends without a word before the collective.
const named ends_before("ends before", [] {
  const environment mpi;
  ranked c = waits(500ms);
  if (chosen(c)) _exit(3);
  call(c, wanted_operation());
  return 0;
});

// One rank ends while all are at work.
const named ends_inside("ends inside", [] {
  const environment mpi;
  ranked c = waits(500ms);
  if (chosen(c)) {
    std::thread([] {
      std::this_thread::sleep_for(200ms);
      _exit(3);
    }).detach();
  }
  std::vector<float> x(1 << 18, 1);
  for (;;) c.all_reduce(x.data(), x.data(), x.size(), dtype::f32, reduction::max);
  return 0;
});

// One rank leaves MPI while the others wait for it.
const named leaves("leaves", [] {
  const environment mpi;
  ranked c = waits(500ms);
  if (chosen(c)) return 0;
  call(c, wanted_operation());
  return 0;
});

// One rank of a split lets it go; the other keeps it.
const named keeps("keeps", [] {
  const environment mpi;
  ranked c = waits(3s);
  ranked part = c.split(c.rank() / 2, 0);
  if (chosen(c)) std::this_thread::sleep_for(60s);
  return 0;
});

// One rank throws, and unwinds a communicator that a split made; the other never lets go of it.
const named throws("throws", [] {
  const environment mpi;
  ranked c = waits(3s);
  try {
    ranked part = c.split(0, 0);
    if (chosen(c)) throw sw::error("the engine's own");
    std::this_thread::sleep_for(60s);
  } catch (const sw::error& e) {
    std::fprintf(stderr, "caught: %s\n", e.what());
    _exit(4);
  }
  return 0;
});

// One rank sends more than another expects.
const named sends_more("sends more", [] {
  const environment mpi;
  ranked c = waits(20s);
  std::vector<float> send(64, 1), recv(64);
  const std::vector<std::size_t> ones(static_cast<std::size_t>(c.size()), 1);
  std::vector<std::size_t> sent = ones;
  if (chosen(c)) sent.back() = 20;
  c.all_to_all(send.data(), sent, recv.data(), ones, dtype::f32);
  c.barrier();
  return 0;
});

}  // namespace
