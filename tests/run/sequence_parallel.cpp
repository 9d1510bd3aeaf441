// SPDX-License-Identifier: Apache-2.0
// A reduce-scatter and an all-gather stand where one all-reduce was, for every number of tokens and of ranks.
#include "shardwise/run/sequence_parallel.hpp"

#include <cstddef>
#include <utility>

#include "catch.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/tally.hpp"
#include "support.hpp"

namespace {
namespace sw = shardwise;
using Catch::Matchers::ContainsSubstring;
using support::tensor;
using ranks_t = sw::in_process_communicator;

constexpr sw::placement whole = sw::replicated{}, on_tokens = sw::sharded<0>{}, a_sum = sw::partial<>{},
                        columns = sw::sharded<-1>{};
constexpr std::size_t hidden = 8;

tensor squared(tensor t) {
  for (float& f : t.data) f = f * f;
  return t;
}

struct outcome {
  sw::placement own, all;
  sw::tensor_shape own_shape;
  tensor gathered, summed, reduced;
  sw::tally counts;
};

TEST_CASE("each token is on one rank, in order, and every rank has as many rows", "[run]") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (std::size_t tokens = 0; tokens <= 11; ++tokens) {
      INFO(tokens << " tokens over " << ranks);
      const sw::token_shards t(tokens, ranks);
      std::size_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        CHECK(t.of(r).begin == next);
        next = t.of(r).end;
        CHECK(t.of(r).size() <= t.rows());
      }
      CHECK(next == tokens);
      CHECK(t.all_rows() == t.rows() * static_cast<std::size_t>(ranks));
      CHECK(t.all_rows() < tokens + static_cast<std::size_t>(ranks));
    }
  }
}

TEST_CASE("what leaves a rowwise weight on token shards is gathered to what an all-reduce gives", "[run]") {
  for (const int ranks : {1, 2, 3, 4}) {
    const sw::sharding plan = support::head(hidden, ranks, sw::division::chunk, sw::rowwise);
    const sw::step step = plan.step("lm_head");
    for (const unsigned tokens : {0u, 1u, 2u, 3u, 5u, 8u}) {
      INFO(tokens << " tokens over " << ranks);
      const tensor residual = support::numbers({tokens, hidden}, 3), bias = support::numbers({hidden}, 4);
      tensor expected = residual;
      for (int r = 0; r < ranks; ++r) {
        expected = expected + support::numbers({tokens, hidden}, 10 + static_cast<unsigned>(r));
      }
      sw::tensor_traits<tensor>::add_to_rows(expected, bias, {});
      expected = squared(expected);
      const auto outcomes = sw::in_process(ranks, [&](ranks_t& group) {
        outcome o;
        sw::counted comm(group, o.counts);
        const sw::token_shards shards(tokens, ranks);
        const tensor mine = support::numbers({tokens, hidden}, 10 + static_cast<unsigned>(comm.rank()));
        const auto y =
            sw::run_to_tokens(step, comm, {}, sw::assume_placed(a_sum, mine), sw::assume_placed(whole, bias), shards);
        const auto kept = sw::own_tokens("residual", comm, {}, sw::assume_placed(whole, residual), shards);
        const auto all = sw::gather_tokens("block", comm, {}, sw::elementwise(squared, y + kept), shards);
        o.own = y.where();
        o.all = all.where();
        o.own_shape = y.local().shape;
        o.gathered = all.local();
        const sw::tally so_far = o.counts;
        // The same with placements as types.
        const auto typed = sw::run_to_tokens<sw::rowwise>(comm, {}, sw::assume_placed<sw::partial<>>(mine), shards);
        o.summed = sw::gather_tokens("block", comm, {}, typed, shards).local();
        o.reduced = sw::run<sw::rowwise>(comm, {}, sw::assume_placed<sw::partial<>>(mine)).local();
        o.counts = so_far;
        return o;
      });
      // One of each, of rows that are padded to as many on each rank.
      const std::size_t rows = sw::token_shards(tokens, ranks).rows(), bytes = rows * hidden * sizeof(float);
      for (const outcome& o : outcomes) {
        CHECK(o.own == on_tokens);
        CHECK(o.own_shape == sw::tensor_shape{rows, hidden});
        CHECK(o.all == whole);
        CHECK(o.gathered == expected);
        CHECK(o.counts[sw::operation::reduce_scatter] == sw::tally::entry{1, bytes});
        CHECK(o.counts[sw::operation::all_gather] == sw::tally::entry{1, static_cast<std::size_t>(ranks) * bytes});
        CHECK(o.counts.total().calls == 2);
        CHECK(o.summed == o.reduced);
      }
    }
  }
}

TEST_CASE("a step that sums nothing leaves whole outputs on each rank's own tokens, and cut columns as they are",
          "[run]") {
  const std::size_t tokens = 3;
  const tensor x = support::numbers({tokens, hidden}, 1);
  const auto halves = [&](std::size_t rank) { return sw::tensor_traits<tensor>::columns(x, rank * 4, 4); };
  const auto of_style = [&](sw::style how) {
    const auto plan = support::head(hidden, 2, sw::division::exact, how);
    return sw::in_process(2, [&](ranks_t& comm) {
      const tensor mine = halves(static_cast<std::size_t>(comm.rank()));
      return sw::run_to_tokens(plan.step("lm_head"), comm, {}, sw::assume_placed(columns, mine), {tokens, 2});
    });
  };
  const auto own = of_style(sw::colwise_gather_output), cut = of_style(sw::colwise);
  for (const std::size_t r : {0u, 1u}) {
    CHECK(own[r].where() == on_tokens);
    CHECK(own[r].local() == sw::tensor_traits<tensor>::rows(x, 2 * r, 2, {}));
    CHECK(cut[r].where() == columns);
    CHECK(cut[r].local() == halves(r));
  }
}

TEST_CASE("tokens that are not where they are said to be are refused, before any collective", "[run]") {
  support::claimed_rank comm{0, 2};
  const auto plan = support::head(hidden, 2, sw::division::exact, sw::rowwise);
  const sw::token_shards shards(5, 2);
  const auto of = [](sw::placement where, std::size_t rows) {
    return sw::assume_placed(where, tensor({rows, hidden}));
  };
  CHECK_THROWS_WITH(sw::run_to_tokens(plan.step("lm_head"), comm, {}, of(a_sum, 4), shards),
                    ContainsSubstring("'lm_head' was given 4 rows in 2 dims, and 5 tokens over 2 ranks need 5"));
  CHECK_THROWS_WITH(sw::run_to_tokens(plan.step("lm_head"), comm, {}, of(on_tokens, 3), shards),
                    ContainsSubstring("rowwise"));
  CHECK_THROWS_WITH(sw::run_to_tokens(plan.step("lm_head"), comm, {}, of(a_sum, 5), {5, 3}),
                    ContainsSubstring("give token_shards(tokens, comm.size())"));
  CHECK_THROWS_WITH(sw::run_to_tokens(plan.step("lm_head"), comm, {}, of(a_sum, 5), of(a_sum, 1), shards),
                    ContainsSubstring("the bias of 'lm_head' is a partial sum"));
  CHECK_THROWS_WITH(sw::gather_tokens("block", comm, {}, of(on_tokens, 5), shards), ContainsSubstring("need 3 of"));
  CHECK_THROWS_WITH(sw::gather_tokens("block", comm, {}, of(whole, 3), shards),
                    ContainsSubstring("'block' gathers tokens, and was given a tensor that is replicated"));
  CHECK_THROWS_WITH(sw::own_tokens("block", comm, {}, of(a_sum, 5), shards), ContainsSubstring("a partial sum"));
  CHECK(comm.collectives == 0);
}

}  // namespace
