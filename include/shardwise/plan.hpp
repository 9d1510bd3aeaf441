// SPDX-License-Identifier: Apache-2.0
// Step 1, PLAN: what the author writes.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/plan/export.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/plan/lora.hpp"
#include "shardwise/plan/plan.hpp"
#include "shardwise/plan/rule.hpp"
#include "shardwise/plan/style.hpp"
#include "shardwise/plan/style_table.hpp"
// IWYU pragma: end_exports
