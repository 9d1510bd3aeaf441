// SPDX-License-Identifier: Apache-2.0
// Runs lm_head_nccl, one process for each rank.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fake/launch.hpp"

namespace lm_head_test {

inline std::string golden(const std::string& name) { return std::string(SHARDWISE_TEST_DATA) + "/goldens/" + name; }

/// `arguments` are separated by blanks. All ranks share a GPU.
inline launch::outcome run(int ranks, const std::string& arguments, launch::options how = {}) {
  how.ranks = ranks;
  std::vector<std::string> command = {PROGRAM};
  for (std::size_t at = 0; at < arguments.size();) {
    const std::size_t end = std::min(arguments.find(' ', at), arguments.size());
    command.push_back(arguments.substr(at, end - at));
    at = end + 1;
  }
  return launch::run(how, command);
}

/// The same by a shell, so that ranks may differ: "exec \"$0\" $RANK".
inline launch::outcome run_by_shell(int ranks, const std::string& script, launch::options how = {}) {
  how.ranks = ranks;
  return launch::run(how, {"sh", "-c", script, PROGRAM});
}

inline std::string all_output(const launch::outcome& done) {
  std::string text;
  for (const std::string& rank : done.output) text += rank;
  return text + done.nccl_log;
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// What the rank that failed wrote.
inline std::string failure(const launch::outcome& done) {
  return done.failed_rank < 0 ? "" : done.output[static_cast<std::size_t>(done.failed_rank)];
}

}  // namespace lm_head_test
