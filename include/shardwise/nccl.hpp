// SPDX-License-Identifier: Apache-2.0
// Ranks on GPUs.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/nccl/communicator.hpp"
#include "shardwise/nccl/dtype.hpp"
#include "shardwise/nccl/error.hpp"
#include "shardwise/nccl/group.hpp"
#include "shardwise/nccl/options.hpp"
// IWYU pragma: end_exports
