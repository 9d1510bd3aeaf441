// SPDX-License-Identifier: Apache-2.0
// The reports of an audit for fmt.
#pragma once
// IWYU pragma: begin_exports
#include "shardwise/fmt/audit.hpp"
// IWYU pragma: end_exports
