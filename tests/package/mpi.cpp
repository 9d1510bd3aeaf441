// SPDX-License-Identifier: Apache-2.0
// A consumer of shardwise::mpi: its headers and libraries are there.
#include <shardwise/mpi.hpp>

int main() {
  int version = 0, minor = 0;
  MPI_Get_version(&version, &minor);
  return version >= 3 && shardwise::full_communicator<shardwise::mpi::communicator> ? 0 : 1;
}
