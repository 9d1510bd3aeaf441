// SPDX-License-Identifier: Apache-2.0
// For users' own CI: in-process ranks, and Catch2 matchers.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/testing/in_process.hpp"
#include "shardwise/testing/matchers.hpp"
// IWYU pragma: end_exports
