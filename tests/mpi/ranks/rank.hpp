// SPDX-License-Identifier: Apache-2.0
// What a rank of tests/mpi can be asked to do.
#pragma once
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "shardwise/mpi.hpp"

namespace mpi_test {
namespace sw = shardwise;

/// By name; each returns the exit code.
using program = std::pair<std::string, int (*)()>;
std::vector<program>& programs();

/// `const named n{"name", f};` at namespace scope.
struct named {
  named(const char* name, int (*run)()) { programs().emplace_back(name, run); }
};

/// The rank that a fault is of.
int& chosen_rank();

/// MPI for as long as it lives.
struct environment {
  environment() { MPI_Init(nullptr, nullptr); }
  environment(const environment&) = delete;
  ~environment() { MPI_Finalize(); }
};

/// The wrong elements of all ranks, said; the exit code.
int verdict(std::size_t wrong_here);

}  // namespace mpi_test
