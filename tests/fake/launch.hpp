// SPDX-License-Identifier: Apache-2.0
// Starts one process per rank of a test, with the environment of torchrun and that of several NCCL ranks on one GPU.
#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace launch {

struct options {
  int ranks = 1;
  /// All ranks together; then they are killed.
  std::chrono::seconds deadline{120};
  /// One GPU per rank: LOCAL_RANK is the rank, and they are on one host. Without it all ranks use device 0, each with a
  /// NCCL_HOSTID of its own, without which NCCL refuses them.
  bool gpu_per_rank = false;
  /// Ranks whose death by a signal is no failure of the test.
  std::vector<int> may_die;
  /// Set in all ranks, after everything else.
  std::vector<std::pair<std::string, std::string>> environment;
  /// Where the folder of the ranks' logs is made, and whether it stays. Without a name: TMPDIR, else /tmp.
  std::string logs;
  bool keep_logs = false;
};

struct outcome {
  /// 0; 77 where every rank printed a line that begins with "SKIP:"; 124 where the deadline passed; else the code of
  /// the first rank that failed, 128 + the signal where it was killed.
  int code = 0;
  int failed_rank = -1;
  /// What each rank wrote to stdout and stderr.
  std::vector<std::string> output;
  /// What NCCL wrote to NCCL_DEBUG_FILE, all ranks.
  std::string nccl_log;
  /// The line that all ranks skipped with.
  std::string skip;
};

/// Runs `command` once per rank and waits for all. When one fails, the process groups of all are killed. To be called
/// by one thread at a time, which stays until all have ended: they are killed if it ends. Throws std::runtime_error
/// where a process cannot be started.
outcome run(const options& how, const std::vector<std::string>& command);

}  // namespace launch
