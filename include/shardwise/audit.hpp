// SPDX-License-Identifier: Apache-2.0
// Step 8, VERIFY: what a plan does to a model, before a byte is read.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/audit/audit.hpp"
#include "shardwise/audit/diff.hpp"
#include "shardwise/audit/explain.hpp"
#include "shardwise/audit/finding.hpp"
#include "shardwise/audit/flow.hpp"
#include "shardwise/audit/options.hpp"
#include "shardwise/audit/picture.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/audit/report_json.hpp"
#include "shardwise/audit/sizes.hpp"
#include "shardwise/audit/whole.hpp"
// IWYU pragma: end_exports
