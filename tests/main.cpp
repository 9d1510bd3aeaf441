// SPDX-License-Identifier: Apache-2.0
// The one main of all test executables, compiled once.
#define CATCH_CONFIG_RUNNER
#include <unistd.h>
#include <csignal>

#include "catch.hpp"

int main(int argc, char** argv) {
  // ctest kills what hangs without a word. Shortly before, this makes it a fault of the case that the program is in,
  // which Catch names with what it captured.
  constexpr unsigned seconds = 880;
  std::signal(SIGALRM, [](int) { std::raise(SIGABRT); });
  if (!Catch::isDebuggerActive()) alarm(seconds);
  return Catch::Session().run(argc, argv);
}
