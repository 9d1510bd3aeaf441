// SPDX-License-Identifier: Apache-2.0
// launch_ranks [OPTIONS] N -- PROGRAM ARGUMENTS...: launch::run as a program. Prints the output of rank 0, or of the
// rank that failed and of the others.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "fake/launch.hpp"

namespace {

int usage() {
  std::fprintf(stderr,
               "launch_ranks [OPTIONS] N -- PROGRAM ARGUMENTS...\n"
               "  --deadline SECONDS  kill all ranks after that (default 120)\n"
               "  --gpu-per-rank      LOCAL_RANK is the rank; without it all ranks share device 0\n"
               "  --may-die RANK      its death by a signal is no failure\n"
               "  --env NAME=VALUE    set in all ranks\n"
               "  --logs FOLDER       keep the ranks' logs there\n");
  return 2;
}

void print(const char* title, const std::string& text) {
  std::printf("--- %s\n%s", title, text.c_str());
  if (!text.empty() && text.back() != '\n') std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) try {
  launch::options how;
  how.ranks = 0;
  int i = 1;
  for (; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    const std::string option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (option == "--gpu-per-rank") {
      how.gpu_per_rank = true;
    } else if (option.rfind("--", 0) != 0) {
      how.ranks = std::atoi(argv[i]);
    } else if (value == nullptr) {
      return usage();
    } else {
      ++i;
      if (option == "--deadline") {
        how.deadline = std::chrono::seconds(std::atoi(value));
      } else if (option == "--may-die") {
        how.may_die.push_back(std::atoi(value));
      } else if (const char* equal = std::strchr(value, '='); option == "--env" && equal != nullptr) {
        how.environment.emplace_back(std::string(value, equal), equal + 1);
      } else if (option == "--logs") {
        how.logs = value;
        how.keep_logs = true;
      } else {
        return usage();
      }
    }
  }
  const std::vector<std::string> command(argv + std::min(i + 1, argc), argv + argc);
  if (how.ranks < 1 || command.empty()) return usage();

  const auto result = launch::run(how, command);
  if (result.code == 77) {
    std::printf("%s\n", result.skip.c_str());
    return 77;
  }
  if (result.code == 0) {
    print("rank 0", result.output[0]);
    return 0;
  }
  std::printf("%s of %d ranks\n", result.code == 124 ? "the deadline passed" : "a rank failed", how.ranks);
  const auto name = [](int r) { return "rank " + std::to_string(r); };
  if (result.failed_rank >= 0) {
    print((name(result.failed_rank) + ", code " + std::to_string(result.code)).c_str(),
          result.output[static_cast<std::size_t>(result.failed_rank)]);
  }
  for (int r = 0; r < how.ranks; ++r) {
    if (r != result.failed_rank) print(name(r).c_str(), result.output[static_cast<std::size_t>(r)]);
  }
  if (!result.nccl_log.empty()) print("NCCL", result.nccl_log);
  return result.code;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
