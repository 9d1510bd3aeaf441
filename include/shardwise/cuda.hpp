// SPDX-License-Identifier: Apache-2.0
// The pieces of CUDA that stand below the communicator and the loader.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/cuda/device.hpp"
#include "shardwise/cuda/device_memory.hpp"
#include "shardwise/cuda/error.hpp"
#include "shardwise/cuda/event.hpp"
#include "shardwise/cuda/load.hpp"
#include "shardwise/cuda/logits_memory.hpp"
#include "shardwise/cuda/permute.hpp"
#include "shardwise/cuda/pinned.hpp"
#include "shardwise/cuda/staging.hpp"
#include "shardwise/cuda/stream.hpp"
// IWYU pragma: end_exports
