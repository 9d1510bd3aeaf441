// SPDX-License-Identifier: Apache-2.0
// What a deadline costs: our collectives over MPI beside MPI's blocking ones, which can wait for ever, and beside its
// own non-blocking ones with MPI_Wait. Each round times all three, on every rank between barriers; the ranks' mean is
// one sample, of which the median counts.
//
//   mpirun -np N mpi_collectives [seconds a size = 0.3] [largest bytes = 67108864]
//
// `bytes` is what one rank contributes, in f32. A line of JSON for each size from rank 0; exit code 1 for a wrong
// result.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "shardwise/mpi.hpp"

namespace {
namespace sw = shardwise;

struct bench {
  sw::mpi::communicator& comm;
  double budget;
  std::vector<float> from, to;
  bool right = true;

  template <class F>
  double seconds_of(F f) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    f();
    return MPI_Wtime() - start;
  }

  template <class Ours, class Blocking, class NonBlocking>
  void compare(const char* name, std::size_t bytes, float expected, Ours ours, Blocking blocking, NonBlocking started) {
    const auto finished = [&] {
      MPI_Request request = MPI_REQUEST_NULL;
      started(&request);
      MPI_Wait(&request, MPI_STATUS_IGNORE);
    };
    const double once = seconds_of([&] {
      ours();
      blocking();
      finished();
    });
    int rounds = std::clamp(static_cast<int>(budget / (once + 1e-6)), 15, 2000);
    MPI_Bcast(&rounds, 1, MPI_INT, 0, MPI_COMM_WORLD);
    std::array<std::vector<double>, 3> samples;
    for (int i = 0; i < rounds; ++i) {
      std::fill(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(bytes / 4), 0.0f);
      double took[3] = {seconds_of(ours), 0, 0}, all[3] = {};
      right &= to[0] == expected && to[bytes / 4 - 1] == expected;
      took[1] = seconds_of(blocking);
      took[2] = seconds_of(finished);
      MPI_Allreduce(took, all, 3, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
      for (std::size_t k = 0; k < 3; ++k) samples[k].push_back(all[k] / comm.size());
    }
    for (auto& s : samples) std::nth_element(s.begin(), s.begin() + rounds / 2, s.end());
    if (comm.rank() != 0) return;
    const auto us = [&](std::size_t k) { return samples[k][static_cast<std::size_t>(rounds / 2)] * 1e6; };
    std::printf(
        "{\"op\": \"%s\", \"ranks\": %d, \"bytes\": %zu, \"ours_us\": %.2f, \"blocking_us\": %.2f, \"nonblocking_us\": "
        "%.2f, \"ratio\": %.2f, \"rounds\": %d}\n",
        name, comm.size(), bytes, us(0), us(1), us(2), us(0) / us(1), rounds);
    std::fflush(stdout);
  }
};

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  bool right = true;
  {
    auto comm = sw::mpi::communicator::adopt(MPI_COMM_WORLD);
    const std::size_t largest = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::size_t{64} << 20;
    bench b{comm, argc > 1 ? std::atof(argv[1]) : 0.3, std::vector<float>(largest / 4, 1),
            std::vector<float>(largest / 4 * static_cast<std::size_t>(comm.size()))};
    float *from = b.from.data(), *to = b.to.data();
    for (std::size_t bytes = 8; bytes <= largest; bytes *= 8) {
      const std::size_t n = bytes / 4;
      const int count = static_cast<int>(n);
      b.compare(
          "all_reduce", bytes, static_cast<float>(comm.size()),
          [&] { comm.all_reduce(from, to, n, sw::dtype::f32, sw::reduction::sum); },
          [&] { MPI_Allreduce(from, to, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); },
          [&](MPI_Request* r) { MPI_Iallreduce(from, to, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, r); });
      b.compare(
          "all_gather", bytes, 1, [&] { comm.all_gather(from, to, n, sw::dtype::f32); },
          [&] { MPI_Allgather(from, count, MPI_FLOAT, to, count, MPI_FLOAT, MPI_COMM_WORLD); },
          [&](MPI_Request* r) { MPI_Iallgather(from, count, MPI_FLOAT, to, count, MPI_FLOAT, MPI_COMM_WORLD, r); });
    }
    right = b.right;
  }
  MPI_Finalize();
  return right ? 0 : 1;
}
