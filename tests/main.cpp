// SPDX-License-Identifier: Apache-2.0
// The one main of all test executables, compiled once.
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
