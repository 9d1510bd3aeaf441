// SPDX-License-Identifier: Apache-2.0
// The open group of a thread: operations and long work that begin when it is closed.
#pragma once
#include <nccl.h>

#include "fake/communicator.hpp"
#include "fake/operation.hpp"

namespace fake {

bool group_is_open();
void open_group();
ncclResult_t close_group();
void add_to_group(const operation& o);
void add_to_group(const long_work& work);

/// Returns `result`; an error also ends the open group, as in NCCL (group.cc ncclGroupErrCheck).
ncclResult_t group_result(ncclResult_t result);

/// Begins the operations now.
ncclResult_t launch_all(const operation* operations, std::size_t total);

}  // namespace fake
