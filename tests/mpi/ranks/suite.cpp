// SPDX-License-Identifier: Apache-2.0
// The suite of the communicator concept, on processes.
#include <cstdio>
#include <vector>

#include "comm/suite.hpp"
#include "rank.hpp"

namespace {
using namespace mpi_test;
using comm_test::host_backend;
using ranked = sw::mpi::communicator;

// Ints that all ranks of a machine share.
class board {
 public:
  board() {
    int* mine = nullptr;
    MPI_Win_allocate_shared(sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &mine, &window_);
    *mine = 0;
    MPI_Aint bytes = 0;
    int unit = 0;
    MPI_Win_shared_query(window_, 0, &bytes, &unit, &first_);
    MPI_Barrier(MPI_COMM_WORLD);
  }
  board(const board&) = delete;
  ~board() { MPI_Win_free(&window_); }
  int* data() const { return first_; }

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  int* first_ = nullptr;
};

std::size_t run_suite(sw::mpi::options options) {
  ranked comm = ranked::adopt(MPI_COMM_WORLD, std::move(options));
  const board shared;
  host_backend backend(shared.data());
  std::size_t wrong = 0;
  for (const auto& c : comm_test::suite<host_backend, ranked>()) {
    const std::size_t n = c.run(backend, comm, {});
    if (n != 0) std::printf("rank %d: %zu wrong: %s\n", comm.rank(), n, c.name.c_str());
    wrong += n;
  }
  return wrong;
}

// Once as it is, and once with messages so small that every collective is made of several, and calls compared.
const named suite("suite", [] {
  const environment mpi;
  return verdict(run_suite({}) + run_suite({.largest_message = 1000, .compare_calls = true}));
});

}  // namespace
