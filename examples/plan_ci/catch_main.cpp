// SPDX-License-Identifier: Apache-2.0
// Catch2 version 2 is compiled here once.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
