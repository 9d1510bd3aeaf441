// SPDX-License-Identifier: Apache-2.0
// Who watches a communicator learns from a step which module its collective is of.
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/comm.hpp"
#include "shardwise/run/run.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

namespace sw = shardwise;
using support::numbers;
using support::tensor;

namespace {
struct modules {
  std::vector<std::string> seen;
  void begin(const sw::collective_event& e) {
    seen.push_back(std::string(sw::name_of(e.op)) + " of '" + std::string(e.module) + "'");
  }
  void end(const sw::collective_event&) {}
};
}  // namespace

TEST_CASE("a step says its module before its collective and takes it back after it", "[run]") {
  sw::tree t;
  t.add("layers.0.down.weight", sw::dtype::f32, {4, 4}).add("head.weight", sw::dtype::f32, {4, 4});
  const sw::sharding s =
      sw::shard(sw::plan({{"layers.*.down", sw::rowwise}, {"head", sw::colwise_gather_output}}), t, {.tp = 2});
  const auto seen = sw::in_process(2, [&](sw::in_process_communicator& ranks) {
    modules m;
    sw::observed comm(ranks, m);
    sw::any_communicator any = comm;
    const auto half = numbers({3, 2}, 1);
    sw::run(s.step("layers.0.down"), comm, {}, sw::assume_placed(sw::partial<>{}, numbers({3, 4}, 1)));
    comm.barrier({});
    sw::run(s.step("head"), any, {}, sw::assume_placed(sw::sharded<-1>{}, half));
    // A style alone has no module: what the engine says stays.
    comm.in_module("mine");
    sw::run<sw::rowwise>(comm, {}, sw::assume_placed<sw::partial<>>(half));
    comm.barrier({});
    return m.seen;
  });
  for (const auto& of_rank : seen) {
    CHECK(of_rank == std::vector<std::string>{"all_reduce of 'layers.0.down'", "barrier of ''",
                                              "gather_last_dim of 'head'", "all_reduce of 'mine'",
                                              "barrier of 'mine'"});
  }
}
