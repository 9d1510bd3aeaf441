// SPDX-License-Identifier: Apache-2.0
// What the engine really asks of its communicator for a token is what the schedule says, to the last element.
#include <algorithm>
#include <string>
#include <vector>

#include "model.hpp"
#include "opened.hpp"
#include "shardwise/comm.hpp"
#include "shardwise/shard/schedule.hpp"

namespace {
using namespace program;
namespace sw = shardwise;

using lines = std::vector<std::string>;

struct recorded {
  lines calls;
  void begin(const sw::collective_event&) {}
  void end(const sw::collective_event& e) {
    calls.push_back(std::string(sw::name_of(e.op)) + " of " + std::to_string(e.bytes / sizeof(float)) + " by '" +
                    std::string(e.module) + "'");
  }
};

}  // namespace

TEST_CASE("the collectives of a decoded token are the schedule's entries", "[examples]") {
  for (const golden_model& g : goldens()) {
    const opened_golden model(g.folder);
    const auto prompt = model.prompt({1, 2, 3});
    for (const char* name : {"auto", "hf"}) {
      const auto plan = generate::choose_plan(name, model.files.config());
      for (const int tp : {1, 2, 4}) {
        INFO(g.folder << ", plan " << name << ", tp " << tp);
        const sw::sharding sharding = generate::shard_for(plan, model.tree, model.config.type, tp);
        lines expected;
        for (const sw::schedule_entry& e : sw::schedule_of(sharding, sw::dtype::f32)) {
          if (e.module.starts_with("model.visual")) continue;  // sees images, not tokens
          expected.push_back(std::string(sw::name_of(e.op)) + " of " + std::to_string(e.count) + " by '" +
                             std::string(e.module) + "'");
        }
        std::sort(expected.begin(), expected.end());
        const auto seen = sw::in_process(tp, [&](sw::in_process_communicator& ranks) {
          recorded calls;
          sw::observed watched(ranks, calls);
          sw::any_communicator comm(watched);
          generate::weights parameters(sharding, comm.rank());
          const generate::model m({sharding, comm, parameters}, model.config);
          parameters.load(model.source);
          generate::memory past;
          past.capacity = 4;
          m.prefill(prompt, past);
          calls.calls.clear();
          const std::int64_t next = 4;
          m.decode({&next, 1}, prompt, past);
          std::sort(calls.calls.begin(), calls.calls.end());
          return calls.calls;
        });
        CHECK(!expected.empty());
        for (const lines& of_rank : seen) CHECK(of_rank == expected);
      }
    }
  }
}
