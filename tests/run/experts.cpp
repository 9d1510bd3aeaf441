// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/experts.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "experts_support.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/run/run.hpp"

namespace sw = shardwise;
using namespace experts_test;
using support::refusal;

TEST_CASE("who holds which expert comes from the sharding", "[run]") {
  const sw::sharding dealt = sharding_of(12, 4), whole = sharding_of(12, 4, sw::replicate, sw::replicate);
  const sw::experts_by_rank experts(dealt, "moe.experts"), all(whole, "moe.experts");
  CHECK(experts.dealt());
  CHECK(!all.dealt());
  for (int rank = 0; rank < 4; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    CHECK(experts.of(rank) == sw::interval{3 * r, 3 * r + 3});
    CHECK(all.of(rank) == sw::interval{0, 12});
    for (std::size_t e = 3 * r; e < 3 * r + 3; ++e) CHECK(experts.holder(e) == rank);
  }
  // Uneven: the first four ranks have two of 12 experts, the others one.
  const sw::sharding uneven = sharding_of(12, 8, sw::grouped_gemm.uneven());
  const sw::experts_by_rank some(uneven, "moe.experts");
  for (std::size_t e = 0; e < 12; ++e) {
    const int rank = some.holder(e);
    CHECK(rank == static_cast<int>(e < 8 ? e / 2 : e - 4));
    CHECK((some.of(rank).begin <= e && e < some.of(rank).end));
  }
  CHECK(experts.module() == "moe.experts");
  CHECK(experts.experts() == 12);
  CHECK(sw::answers(sw::replicated{}, experts) == sw::placement(sw::partial<>{}));
  CHECK(sw::answers(sw::replicated{}, all) == sw::placement(sw::replicated{}));
  CHECK(refusal([&] { (void)sw::answers(sw::sharded<-1>{}, experts); }) ==
        "the experts of 'moe.experts' are whole, and their input is sharded on its last dim: no row of the plan makes "
        "it whole before");
}

TEST_CASE("experts that would be counted several times, or that no parameter holds, are refused", "[run]") {
  CHECK(
      refusal([] { sw::experts_by_rank(sharding_of(12, 4, sw::replicate, sw::ep_dispatch_experts), "moe.experts"); }) ==
      "'moe.experts' is ep_dispatch_experts, and each of 4 ranks has all its experts, so that every answer would be "
      "added up 4 times: its parameters are grouped_gemm");
  CHECK(refusal([] {
          sw::experts_by_rank(sharding_of(12, 1, sw::replicate, sw::ep_dispatch_experts), "moe.experts");
        }) == "");
  CHECK(refusal([] { sw::experts_by_rank(sharding_of(12, 4), "moe"); }) ==
        "'moe' owns no parameters, and was taken for a module of experts");
  CHECK(refusal([] { sw::experts_by_rank(sharding_of(12, 4), "attention"); }) ==
        "the model has no module 'attention' to take a step of");
  sw::tree t;
  t.add("experts.up", sw::dtype::f32, {4, 6, 2}).add("experts.down", sw::dtype::f32, {4, 2, 6});
  const sw::rule rules[] = {{"experts.up", sw::grouped_gemm}, {"experts.down", sw::replicate}};
  const sw::sharding half = sw::shard({rules, 2}, t, {.tp = 2});
  CHECK(
      refusal([&] { sw::experts_by_rank(half, "experts"); }) ==
      "'experts.up' has 4 experts that are dealt, and 'experts.down' has 4 that are not dealt: give all parameters of "
      "'experts' one style");
}

TEST_CASE("a rank's routes are Hugging Face's: those of other ranks are one beyond its experts, and weigh nothing",
          "[run]") {
  const sw::sharding s = sharding_of(4, 2);
  const sw::experts_by_rank experts(s, "moe.experts");
  const std::vector<std::int64_t> global{0, 2, 1, 3, 2, 0, 3, 1};
  const std::vector<float> scores{.5f, .5f, .6f, .4f, .7f, .3f, .2f, .8f};
  const std::vector<std::vector<std::int64_t>> ids{{0, 2, 1, 2, 2, 0, 2, 1}, {2, 0, 2, 1, 0, 2, 1, 2}};
  const std::vector<std::vector<float>> shares{{.5f, 0, .6f, 0, 0, .3f, 0, .8f}, {0, .5f, 0, .4f, .7f, 0, .2f, 0}};
  for (int rank : {0, 1}) {
    auto own = global;
    auto own_shares = scores;
    sw::keep_own_experts(experts, rank, 2, std::span(own), std::span(own_shares));
    CHECK(own == ids[static_cast<std::size_t>(rank)]);
    CHECK(own_shares == shares[static_cast<std::size_t>(rank)]);
  }
}

TEST_CASE("an id that is no expert, and lists of other lengths, are refused before anything is changed", "[run]") {
  const sw::sharding s = sharding_of(4, 2);
  const sw::experts_by_rank experts(s, "moe.experts");
  const auto kept = [&](std::vector<int> ids, std::vector<float> shares, std::size_t per_token) {
    const auto before = ids;
    const std::string text =
        refusal([&] { sw::keep_own_experts(experts, 0, per_token, std::span(ids), std::span(shares)); });
    CHECK((ids == before) == !text.empty());
    return text;
  };
  CHECK(kept({3, 0, 1, 4}, {1, 1, 1, 1}, 2) ==
        "the router of 'moe.experts' sends token 1 to expert 4; there are 4, numbered from 0");
  CHECK(kept({3, 0, -1, 0}, {1, 1, 1, 1}, 2) ==
        "the router of 'moe.experts' sends token 1 to expert -1; there are 4, numbered from 0");
  CHECK(kept({3, 0, 1}, {1, 1, 1}, 2) ==
        "the router of 'moe.experts' gives 3 expert ids and 3 shares; 1 tokens of 2 experts each have 2");
  CHECK(kept({3, 0}, {1}, 2) ==
        "the router of 'moe.experts' gives 2 expert ids and 1 shares; 1 tokens of 2 experts each have 2");
  CHECK(kept({3, 0}, {1, 1}, 0) ==
        "the router of 'moe.experts' gives 2 expert ids and 2 shares; 0 tokens of 0 experts each have 0");
  CHECK(kept({3, 0}, {1, 1}, 2) == "");
}

TEST_CASE("each rank's own experts, reduced once by the module's step, are the whole mixture", "[run]") {
  for (const int ranks : {1, 2, 3, 4, 5, 8}) {
    for (const std::size_t tokens : {0u, 1u, 15u}) {
      INFO(ranks << " ranks, " << tokens << " tokens");
      const mixture m(12, tokens, 3, 7);
      const sw::sharding s = sharding_of(12, ranks, sw::grouped_gemm.uneven());
      const auto results = sw::in_process(ranks, [&](sw::in_process_communicator& comm) {
        const sw::experts_by_rank experts(s, "moe.experts");
        const sw::step step = s.step("moe.experts");
        const auto x = sw::input(step, comm, sw::assume_placed(sw::replicated{}, m.x));
        auto ids = m.ids;
        auto shares = m.shares;
        sw::keep_own_experts(experts, comm.rank(), m.per_token, std::span(ids), std::span(shares));
        const auto y =
            sw::assume_placed(sw::answers(x.where(), experts), m.ask(experts.of(comm.rank()), x.local(), ids, shares));
        return sw::run(step, comm, {}, y);
      });
      for (const auto& y : results) {
        CHECK(y.where() == sw::placement(sw::replicated{}));
        CHECK(y.local() == m.answer());
      }
    }
  }
}

TEST_CASE("an identity expert's share of the sum is one part in as many as there are ranks", "[run]") {
  sw::tree t;
  t.add("experts.up", sw::dtype::f32, {4, 6, 2}).add("experts.identity.scale", sw::dtype::f32, {1});
  const sw::rule rules[] = {{"experts.up", sw::grouped_gemm},
                            {"experts", sw::ep_dispatch_experts},
                            {"experts.identity", sw::moe_identity_expert},
                            {"experts.identity.scale", sw::replicate}};
  const sw::sharding s = sw::shard({rules, 4}, t, {.tp = 4});
  const support::tensor x = support::numbers({3, 2}, 5);
  const auto results = sw::in_process(4, [&](sw::in_process_communicator& comm) {
    const sw::step identity = s.step("experts.identity"), experts = s.step("experts");
    support::tensor part = sw::input(identity, comm, sw::assume_placed(sw::replicated{}, x)).local();
    for (float& f : part.data) f /= static_cast<float>(comm.size());
    const auto y = sw::run(identity, comm, {}, sw::assume_placed(identity.local(), part));
    return sw::run(experts, comm, {}, y);
  });
  for (const auto& y : results) CHECK(y.local() == x);
}
