// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The version of the library: the one place where it is said. CMake reads it from here.
#define SHARDWISE_VERSION_MAJOR 0
#define SHARDWISE_VERSION_MINOR 4
#define SHARDWISE_VERSION_PATCH 0
