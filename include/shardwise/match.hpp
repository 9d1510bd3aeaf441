// SPDX-License-Identifier: Apache-2.0
// Step 3, MATCH: which rule owns which parameter and which module.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/match/coverage.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/match/rule_index.hpp"
#include "shardwise/match/tree_coverage.hpp"
// IWYU pragma: end_exports
