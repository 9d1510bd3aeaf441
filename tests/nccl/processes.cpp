// SPDX-License-Identifier: Apache-2.0
// One process a rank, started as a launcher does: from_environment, and what becomes of the others when one is killed.
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fake/launch.hpp"
#include "support.hpp"

using namespace nccl_test;

TEST_CASE("a rank that is killed before a collective or inside one is found by the others", "[nccl][faults]") {
  const int n = fault_rounds(20);
  for (int round = 0; round < n; ++round) {
    const int ranks = 2 + round % 2, victim = round / 2 % ranks;
    const char* const function = round % 3 == 0 ? "ncclBroadcast" : "ncclAllReduce";
    const char* const how = round % 4 < 2 ? "kill" : "kill-inside";
    CAPTURE(round, ranks, victim, function, how);
    launch::options opts;
    opts.ranks = ranks;
    opts.gpu_per_rank = true;
    opts.may_die = {victim};
    opts.environment = {{"FAKE_GPU_INJECT", "rank=" + std::to_string(victim) + ":" + function + ":3:" + how}};
    const launch::outcome outcome = launch::run(opts, {NCCL_FAULT_PROGRAM});
    CAPTURE(outcome.failed_rank, outcome.output);
    REQUIRE(outcome.code == 0);
  }
}

TEST_CASE("a rank takes the device of its local rank, or the only one, and errors say who launched it", "[nccl]") {
  // In this process: nothing is made, as an error comes before.
  const auto with = [](std::vector<std::pair<const char*, const char*>> variables) {
    const char* const all[] = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"};
    for (const char* name : all) unsetenv(name);
    for (const auto& [name, value] : variables) setenv(name, value, 1);
    std::string text;
    try {
      (void)gpu_rank::from_environment({.name = "tp", .init_deadline = 200ms});
    } catch (const sw::comm_error& e) {
      text = e.what();
    }
    for (const char* name : all) unsetenv(name);
    return text;
  };
  CHECK(has(with({}), "the communicator tp: no launcher has set rank and size: start the program with torchrun"));
  CHECK(has(with({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}}), "; launched by torchrun: rank 1 of 2"));
  CHECK(has(with({{"RANK", "9"}, {"WORLD_SIZE", "10"}, {"LOCAL_RANK", "9"}}),
            "local rank 9 has no device of its own: this process sees 8"));
  CHECK(has(with({{"RANK", "0"}, {"WORLD_SIZE", "2"}}), "nothing says which is its own: set SHARDWISE_LOCAL_RANK"));
  // Rank 3 of four finds no rank 0 until the deadline.
  CHECK(has(with({{"RANK", "3"},
                  {"WORLD_SIZE", "4"},
                  {"LOCAL_RANK", "3"},
                  {"MASTER_ADDR", "127.0.0.1"},
                  {"MASTER_PORT", "29611"}}),
            "; launched by torchrun: rank 3 of 4, local rank 3"));
  CHECK(cu::current_device() == 3);
  cu::set_device(0);

  using sw::nccl::detail::device_of;
  CHECK(device_of({.local_rank = 5}, 8) == 5);
  CHECK(device_of({.local_rank = 5}, 1) == 0);
  CHECK(device_of({}, 1) == 0);
  CHECK(has(error_of([] { (void)device_of({}, 0); }), "no CUDA device"));
}
