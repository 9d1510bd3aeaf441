// SPDX-License-Identifier: Apache-2.0
// How a job ends when one of its ranks dies, leaves, never comes or is wrong: with a sentence of the others, not with
// 0, soon after the deadline, and with nothing left behind.
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "command.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

outcome run_on(int ranks, const std::string& name, const std::string& environment = "") {
  return run_command(environment + " timeout 60 " LAUNCH " " + std::to_string(ranks) + " '" RANKS "' '" + name + "' 1");
}

// The processes of this machine that are ranks of ours. Another process may end while we look.
std::size_t left_running() {
  std::size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    n += text_of(entry.path() / "cmdline").rfind(std::string(RANKS) + '\0', 0) == 0 ? 1u : 0u;
  }
  return n;
}

void check_ended(const outcome& r, const std::string& sentence) {
  INFO(r.err);
  CHECK(r.exit > 0);
  CHECK(r.exit != 124);  // `timeout` had to end it
  CHECK_THAT(r.err, ContainsSubstring("shardwise: rank ") && ContainsSubstring(sentence));
  CHECK_THAT(r.err, ContainsSubstring("; MPI_Abort ends the job\n"));
  CHECK_THAT(r.err, ContainsSubstring("log: rank "));  // options::on_failure
  CHECK(left_running() == 0);
}

const std::string too_late = ", and it was not done within 500 ms: a rank died, left, never came, or called";

TEST_CASE("a rank that never comes ends the job at the deadline, in each collective", "[mpi]") {
  const auto check = [](const std::string& operation, const std::string& words) {
    INFO(operation);
    check_ended(run_on(4, "never comes", "MPI_TEST_OPERATION='" + operation + "'"),
                " of 4 called " + words + " (collective 1)" + too_late);
  };
  check("barrier", "barrier");
  check("all_reduce", "all_reduce of 8 f32 by sum");
  check("all_gather", "all_gather of 2 f32");
  check("gather_last_dim", "gather_last_dim of 2 rows, columns [1, 1, 1, 1], f32");
  check("gather_last_dim uneven", "gather_last_dim of 2 rows, columns [2, 1, 1, 1], f32");
  check("reduce_scatter", "reduce_scatter of 2 f32 by sum");
  check("broadcast", "broadcast of 2 f32 from root 1");
  check("all_to_all", "all_to_all of f32");
  check("split", "split");
}

TEST_CASE("a rank that dies or leaves ends the job", "[mpi]") {
  check_ended(run_on(2, "ends before", "MPI_TEST_OPERATION=all_reduce"), too_late);
  check_ended(run_on(2, "ends inside"), too_late);
  check_ended(run_on(2, "leaves"), too_late);
}

TEST_CASE("the release of a split has a deadline too", "[mpi]") {
  check_ended(run_on(2, "keeps"), "rank 0 of 2 released the communicator of the split {0, 1}, and it was not done");
}

TEST_CASE("an exception is not kept waiting by the splits that it unwinds", "[mpi]") {
  const outcome r = run_on(2, "throws");
  CHECK(r.exit > 0);
  CHECK_THAT(r.err, ContainsSubstring("caught: the engine's own\n") && !ContainsSubstring("rank 1 of 2"));
  CHECK(left_running() == 0);
}

TEST_CASE("what MPI reports is told in its words", "[mpi]") {
  check_ended(run_on(2, "sends more"),
              "called all_to_all of f32 (collective 1): MPI_Ialltoallw failed, \"MPI_ERR_TRUNCATE: message truncated");
}

TEST_CASE("a call that is wrong by itself is thrown, and nothing is lost", "[mpi]") {
  for (const char* name : {"wrong arguments", "outside", "engine"}) {
    const outcome r = run_on(2, name);
    INFO(name << ": " << r.err);
    CHECK(r.exit == 0);
  }
}

TEST_CASE("ranks that compare their calls are all told of the first two that differ", "[mpi]") {
  const outcome r = run_on(3, "different calls");
  INFO(r.err);
  CHECK(r.exit == 0);
  CHECK(r.out == "3 ranks: 0 wrong\n");
}

}  // namespace
