// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/same_schedule.hpp"

#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/tally.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;
using Catch::Matchers::ContainsSubstring;

namespace {

/// All that a rank's manifest is made of, so that a test can change one thing on one rank.
struct setup {
  struct parameter {
    std::string name;
    sw::dtype type;
    sw::tensor_shape shape;
  };
  std::vector<std::pair<const char*, sw::style>> rows, overrides;
  std::vector<parameter> parameters;
  int tp = 4;
  sw::library_version version{{0, 1, 0}};
  std::string refusal;  ///< what the rank was told; "" if nothing

  sw::sharding sharding() const {
    sw::plan<32> plan;
    for (const auto& [pattern, style] : rows) plan.add(sw::rule(pattern, style));
    sw::plan<33> all = plan.with({sw::rule("norm", sw::replicate)});
    if (!overrides.empty()) all = plan.with({sw::rule(overrides[0].first, overrides[0].second)});
    sw::tree t;
    for (const parameter& p : parameters) t.add(p.name, p.type, p.shape);
    return sw::shard(all, t, {.tp = tp});
  }
};

setup usual(std::size_t layers = 3) {
  setup s;
  s.rows = {{"embed", sw::embedding_rowwise},
            {"layers.*.up", sw::colwise},
            {"layers.*.down", sw::rowwise},
            {"norm", sw::replicate},
            {"head", sw::colwise_gather_output}};
  s.parameters = {{"embed.weight", sw::dtype::bf16, {96, 16}}};
  for (std::size_t i = 0; i < layers; ++i) {
    const std::string layer = "layers." + std::to_string(i);
    s.parameters.push_back({layer + ".up.weight", sw::dtype::bf16, {48, 16}});
    s.parameters.push_back({layer + ".down.weight", sw::dtype::bf16, {16, 48}});
  }
  s.parameters.push_back({"norm.weight", sw::dtype::bf16, {16}});
  s.parameters.push_back({"head.weight", sw::dtype::bf16, {96, 16}});
  return s;
}

/// Over 4 ranks, where `others` has a setup of its own for some: what each is told, and that every rank is told the
/// same. In how many broadcasts, so that agreement stays cheap.
struct outcome {
  std::string told;
  std::size_t broadcasts = 0;
  bool same = true;
};
outcome compare(const setup& all, const std::vector<std::pair<int, setup>>& others) {
  struct of_rank {
    std::string told;
    std::size_t broadcasts = 0;
  };
  const auto results =
      sw::in_process(4,
                     [&](sw::in_process_communicator& ranks) {
                       sw::tally t;
                       sw::counted comm(ranks, t);
                       setup mine = all;
                       for (const auto& [rank, s] : others) {
                         if (rank == comm.rank()) mine = s;
                       }
                       const sw::sharding sharding = mine.sharding();
                       const sw::schedule steps = sw::schedule_of(sharding);
                       sw::communicator_rendezvous meeting(comm);
                       of_rank r;
                       try {
                         sw::require_same_schedule(meeting, sw::manifest(sharding, steps, mine.version));
                       } catch (const sw::comm_error& e) {
                         r.told = e.what();
                       }
                       r.broadcasts = t[sw::operation::broadcast].calls;
                       return r;
                     },
                     {.deadline = std::chrono::seconds(60)});
  outcome o{results[0].told, results[0].broadcasts};
  for (const of_rank& r : results) o.same &= r.told == o.told && r.broadcasts == o.broadcasts;
  return o;
}

/// What the ranks are told where rank 2 differs by `change`.
std::string told(const std::function<void(setup&)>& change) {
  setup other = usual();
  change(other);
  const outcome o = compare(usual(), {{2, other}});
  CHECK(o.same);
  return o.told;
}

const std::string way_out = ". Start all ranks with the same plan, checkpoint, size and version of shardwise";
std::string rank_2(const std::string& first, const std::string& second) {
  return "rank 2 would not run what rank 0 runs: rank 0 has " + first + "; rank 2 has " + second + way_out;
}

}  // namespace

TEST_CASE("ranks with the same plan, shapes and version start, after one short broadcast of each") {
  const outcome o = compare(usual(), {});
  CHECK(o.told.empty());
  CHECK(o.broadcasts == 4);
  CHECK(o.same);
  // An only rank agrees with itself.
  sw::in_process(1, [](sw::in_process_communicator& comm) {
    sw::communicator_rendezvous meeting(comm);
    sw::require_same_schedule(meeting, usual().sharding());
  });
}

TEST_CASE("one difference on one rank is told to all, with what it is") {
  CHECK(told([](setup& s) { s.version.numbers[2] = 1; }) == rank_2("shardwise 0.1.0", "shardwise 0.1.1"));
  CHECK(told([](setup& s) { s.tp = 2; }) == rank_2("tp 4", "tp 2"));
  CHECK(told([](setup& s) { s.rows[1].second = sw::packed_colwise<2>; }) ==
        rank_2("rule 1: 'layers.*.up' colwise", "rule 1: 'layers.*.up' packed_colwise of 2 groups"));
  CHECK(told([](setup& s) { s.rows[4].second = sw::replicate; }) ==
        rank_2("rule 3: 'head' colwise_gather_output", "rule 3: 'head' replicate"));
  CHECK(told([](setup& s) { s.rows[1].first = "layers.*.{up,gate}"; }) ==
        rank_2("rule 1: 'layers.*.up' colwise", "rule 1: 'layers.*.{up,gate}' colwise"));
  CHECK(told([](setup& s) {
          s.overrides = {{"layers.1.**", sw::replicate}};
        }) == rank_2("rule 3: 'head' colwise_gather_output", "rule 3: 'norm' replicate"));
  CHECK(told([](setup& s) {
          s.parameters[4].shape = {16, 64};
        }) == rank_2("parameter 4: 'layers.1.down.weight' BF16 [16, 48], cut on dim 1",
                     "parameter 4: 'layers.1.down.weight' BF16 [16, 64], cut on dim 1"));
  CHECK(told([](setup& s) { s.parameters[3].type = sw::dtype::f16; }) ==
        rank_2("parameter 3: 'layers.1.up.weight' BF16 [48, 16], cut on dim 0",
               "parameter 3: 'layers.1.up.weight' F16 [48, 16], cut on dim 0"));
  CHECK(told([](setup& s) { s.parameters.pop_back(), s.rows.pop_back(); }) ==
        rank_2("rule 3: 'head' colwise_gather_output", "rule 3: 'norm' replicate, override 1"));
  CHECK(told([](setup& s) { std::swap(s.parameters[1], s.parameters[2]); }) ==
        rank_2("parameter 1: 'layers.0.up.weight' BF16 [48, 16], cut on dim 0",
               "parameter 1: 'layers.0.down.weight' BF16 [16, 48], cut on dim 1"));
}

TEST_CASE("a difference in the schedule alone is told as an entry of it") {
  const auto results = sw::in_process(3, [](sw::in_process_communicator& comm) {
    const sw::sharding s = usual().sharding();
    // Rank 2 computes in f32.
    const sw::schedule steps = comm.rank() == 2 ? sw::schedule_of(s, sw::dtype::f32) : sw::schedule_of(s);
    sw::communicator_rendezvous meeting(comm);
    try {
      sw::require_same_schedule(meeting, sw::manifest(s, steps));
    } catch (const sw::comm_error& e) {
      return std::string(e.what());
    }
    return std::string();
  });
  for (const std::string& r : results) {
    CHECK(r == rank_2("entry 0: all_reduce of 16 BF16 after 'embed'", "entry 0: all_reduce of 16 F32 after 'embed'"));
  }
  setup shorter = usual(), longer = usual();
  shorter.tp = longer.tp = 2;
  shorter.parameters.erase(shorter.parameters.begin() + 5, shorter.parameters.begin() + 7);  // the last layer
  CHECK(compare(longer, {{2, shorter}}).told == rank_2("parameter 5: 'layers.2.up.weight' BF16 [48, 16], cut on dim 0",
                                                       "parameter 5: 'norm.weight' BF16 [16], whole"));
}

TEST_CASE("several that differ are counted, and rank 0 may be the odd one") {
  setup other = usual();
  other.tp = 1;
  CHECK_THAT(compare(usual(), {{1, other}, {3, other}}).told,
             ContainsSubstring("rank 1 has tp 1; 1 more differ from rank 0."));
  CHECK_THAT(compare(usual(), {{0, other}}).told,
             ContainsSubstring("rank 1 would not run what rank 0 runs: rank 0 has tp 1; rank 1 has tp 4; 2 more"));
}

TEST_CASE("200 random differences are all found, and told alike") {
  std::mt19937 random(20250612);
  const auto up_to = [&](std::size_t n) { return static_cast<std::size_t>(random() % (n + 1)); };
  for (int compared = 0; compared < 200;) {
    const setup all = usual(1 + up_to(120));  // more lines than one message holds
    setup other = all;
    auto& p = other.parameters[up_to(other.parameters.size() - 1)];
    switch (up_to(4)) {
      case 0: p.type = p.type == sw::dtype::f16 ? sw::dtype::f32 : sw::dtype::f16; break;
      case 1: p.shape[up_to(p.shape.dims() - 1)] *= 2; break;
      case 2: p.name.back() = 'x'; break;
      case 3: other.version.numbers[up_to(2)] += 1 + static_cast<unsigned>(up_to(9)); break;
      default:
        other.overrides = {{"layers.0.up", up_to(1) == 0 ? sw::style(sw::replicate) : sw::colwise.groups(2)}};
        break;
    }
    INFO("difference " << compared << " in " << p.name);
    const int who = static_cast<int>(up_to(3));
    bool sharded = true;
    try {
      other.sharding();
    } catch (const sw::error&) {
      sharded = false;  // such a rank does not come to the comparison
    }
    if (!sharded) continue;
    ++compared;
    const outcome o = compare(all, {{who, other}});
    CHECK(o.same);
    CHECK_THAT(o.told, ContainsSubstring("would not run what rank 0 runs"));
  }
}

TEST_CASE("ranks that compare against one that does something else, or nothing, are told so by the deadline") {
  for (const bool barrier : {true, false}) {
    CHECK_THROWS_AS(sw::in_process(3,
                                   [&](sw::in_process_communicator& comm) {
                                     if (comm.rank() == 1) {
                                       if (barrier) comm.barrier({});
                                       return;
                                     }
                                     sw::communicator_rendezvous meeting(comm);
                                     sw::require_same_schedule(meeting, usual().sharding());
                                   },
                                   {.deadline = std::chrono::seconds(20)}),
                    sw::comm_error);
  }
}
