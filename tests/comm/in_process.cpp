// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/in_process.hpp"

#include <chrono>
#include <vector>

#include "catch.hpp"
#include "suite.hpp"

using namespace comm_test;
using ranked = sw::in_process_communicator;

static_assert(sw::full_communicator<ranked>);
static_assert(!std::copyable<ranked>, "two copies on one rank would be one rank twice");

TEST_CASE("ranks in a process hold to what a communicator promises") {
  for (const auto& c : suite<host_backend, ranked>()) {
    for (const int ranks : rank_counts) {
      CAPTURE(c.name, ranks);
      std::vector<int> board(as_size(ranks), 0);  // plain numbers: the thread sanitizer looks on
      host_backend backend(board.data());
      CHECK(wrong_on(ranks, [&](ranked& comm) { return c.run(backend, comm, {}); }) == 0);
    }
  }
}

TEST_CASE("in_process returns what the ranks return, by rank, and refuses what no ranks can be") {
  struct token {  // neither default constructible nor copyable
    explicit token(int i) : id(i) {}
    token(token&&) = default;
    int id;
  };
  const auto tokens = sw::in_process(4, [](ranked& c) { return token(c.rank() * 10); });
  REQUIRE(tokens.size() == 4);
  for (int r = 0; r < 4; ++r) CHECK(tokens[as_size(r)].id == r * 10);
  const std::vector<bool> odd = sw::in_process(3, [](ranked& c) { return c.rank() % 2 == 1; });
  CHECK(odd == std::vector<bool>{false, true, false});
  static_assert(std::is_void_v<decltype(sw::in_process(1, [](ranked&) {}))>);
  std::vector<int> seen(2, 0);
  sw::in_process(2, [&](ranked& c) { seen[as_size(c.rank())] = c.size(); });
  CHECK(seen == std::vector<int>{2, 2});
  CHECK_THROWS_MATCHES(sw::in_process(0, [](ranked&) {}), sw::comm_error, says("at least 1 rank"));
  CHECK_THROWS_MATCHES(sw::in_process(2, [](ranked&) {}, {.deadline = std::chrono::milliseconds(0)}), sw::comm_error,
                       says("the deadline of in_process is 0 ms; it must be above 0"));
}
