// SPDX-License-Identifier: Apache-2.0
// A consumer's own test: compiled, and checked by the compiler, not run.
#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_macros.hpp>
#else
#include <catch2/catch.hpp>
#endif
#include "program.hpp"
#include "shardwise/testing.hpp"

TEST_CASE("the plan of a consumer") { CHECK(shardwise::coverage<consumer::model, consumer::plan>); }
