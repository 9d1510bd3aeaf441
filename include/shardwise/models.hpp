// SPDX-License-Identifier: Apache-2.0
// Plans of known model families, composed from named blocks.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/models/blocks.hpp"
#include "shardwise/models/deepseek_v3.hpp"
#include "shardwise/models/families.hpp"
#include "shardwise/models/gemma3.hpp"
#include "shardwise/models/gemma3_text.hpp"
#include "shardwise/models/gpt_oss.hpp"
#include "shardwise/models/granitemoe.hpp"
#include "shardwise/models/llama.hpp"
#include "shardwise/models/llama4.hpp"
#include "shardwise/models/mixtral.hpp"
#include "shardwise/models/olmo2.hpp"
#include "shardwise/models/phi3.hpp"
#include "shardwise/models/qwen2.hpp"
#include "shardwise/models/qwen3.hpp"
#include "shardwise/models/qwen3_5.hpp"
#include "shardwise/models/qwen3_5_moe.hpp"
#include "shardwise/models/qwen3_moe.hpp"
#include "shardwise/models/qwen3_next.hpp"
// IWYU pragma: end_exports
