// SPDX-License-Identifier: Apache-2.0
// Runs rank_program on several processes.
#pragma once
#include <unistd.h>
#include <atomic>
#include <cstdio>
#include <string>

#include "fake/launch.hpp"

namespace processes {

inline launch::outcome run(int size, const std::string& what, launch::options how = {}) {
  static std::atomic<int> last{0};
  const std::string file = "/tmp/rank_program." + std::to_string(getpid()) + '.' + std::to_string(++last);
  how.ranks = size;
  auto outcome = launch::run(how, {SHARDWISE_RANK_PROGRAM, what, file});
  std::remove(file.c_str());
  return outcome;
}

}  // namespace processes
