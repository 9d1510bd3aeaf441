// SPDX-License-Identifier: Apache-2.0
// Step 6, RUN: processes that find each other without MPI, over TCP or in a shared folder. POSIX; what else there is of
// a rendezvous is in comm.hpp.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/comm/environment.hpp"
#include "shardwise/comm/file_rendezvous.hpp"
#include "shardwise/comm/rendezvous.hpp"
#include "shardwise/comm/tcp_rendezvous.hpp"
// IWYU pragma: end_exports
