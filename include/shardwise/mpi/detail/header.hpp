// SPDX-License-Identifier: Apache-2.0
// The one place that includes MPI: its C interface, without the C++ one that MPI 3 removed.
#pragma once
#if !__has_include(<mpi.h>)
#error "shardwise/mpi needs mpi.h: link shardwise::mpi; apt-get install libopenmpi-dev openmpi-bin"
#endif
#ifndef OMPI_SKIP_MPICXX
#define OMPI_SKIP_MPICXX 1
#endif
#ifndef MPICH_SKIP_MPICXX
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>

#if MPI_VERSION < 3
#error "shardwise/mpi needs MPI 3.0 or newer, which has collectives that do not block"
#endif
