// SPDX-License-Identifier: Apache-2.0
// Step 2, MODEL: the tree that a plan is applied to.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/model/describe.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/model/members.hpp"
#include "shardwise/model/schema.hpp"
#include "shardwise/model/shape.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/model/visit.hpp"
// IWYU pragma: end_exports
