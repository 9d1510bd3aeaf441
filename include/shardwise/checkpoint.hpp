// SPDX-License-Identifier: Apache-2.0
// Step 5, LOAD: config.json and safetensors, the model's names for a file's, and only the bytes that a rank owns.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/conversion_list.hpp"
#include "shardwise/checkpoint/conversions_for.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/copy.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/headers.hpp"
#include "shardwise/checkpoint/joined.hpp"
#include "shardwise/checkpoint/load.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/checkpoint/reverted.hpp"
#include "shardwise/checkpoint/safetensors.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/checkpoint/tree_of.hpp"
#include "shardwise/checkpoint/write_safetensors.hpp"
// IWYU pragma: end_exports
