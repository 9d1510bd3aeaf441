// SPDX-License-Identifier: Apache-2.0
// Ranks that are processes of an MPI job: link shardwise::mpi.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/mpi/communicator.hpp"
#include "shardwise/mpi/options.hpp"
// IWYU pragma: end_exports
