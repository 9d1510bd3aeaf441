// SPDX-License-Identifier: Apache-2.0
// One rank: `mpirun -np N tests_mpi_ranks NAME [RANK]` does what has that name, and ends with 0 where nothing is wrong.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "rank.hpp"

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  mpi_test::chosen_rank() = argc > 2 ? std::atoi(argv[2]) : 0;
  for (const auto& [known, run] : mpi_test::programs()) {
    if (name != known) continue;
    try {
      return run();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "error: %s\n", e.what());
      return 1;
    }
  }
  std::fprintf(stderr, "error: no program is called \"%s\"\n", name.c_str());
  return 2;
}
