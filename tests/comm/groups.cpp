// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/groups.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace comm_test;

namespace {

using members = std::vector<std::int64_t>;

/// The ranks of the world that are in a communicator, in the order of their numbers there.
template <class C>
members members_of(C& part, std::int64_t me) {
  members all(as_size(part.size()));
  part.all_gather(&me, all.data(), 1, sw::dtype::i64, {});
  return all;
}

struct seen_by_a_rank {
  members dp, pp, tp, ep;
  sw::group_ranks at, numbers;
};

std::vector<seen_by_a_rank> seen_over(int ranks, const sw::group_sizes& n) {
  return sw::in_process(ranks, [&](sw::in_process_communicator& world) {
    auto g = sw::groups(world, n);
    const std::int64_t me = world.rank();
    return seen_by_a_rank{members_of(g.dp, me),
                          members_of(g.pp, me),
                          members_of(g.tp, me),
                          members_of(g.ep, me),
                          g.at,
                          {g.dp.rank(), g.pp.rank(), g.tp.rank(), g.ep.rank()}};
  });
}

/// What every rank is refused with; and the world has made no collective, so that it still can.
std::string refusal(int ranks, const sw::group_sizes& n) {
  const auto texts = sw::in_process(ranks, [&](sw::in_process_communicator& world) {
    sw::tally t;
    sw::counted counted(world, t);
    try {
      sw::groups(counted, n);
    } catch (const sw::comm_error& e) {
      return t.total().calls == 0 ? std::string(e.what()) : std::string("too late");
    }
    return std::string();
  });
  for (const std::string& text : texts) {
    if (text != texts[0]) return "not the same on all ranks";
  }
  return texts[0];
}

}  // namespace

TEST_CASE("8 ranks as dp 2 x pp 2 x tp 2 are grouped as vLLM groups them") {
  const auto seen = seen_over(8, {.dp = 2, .pp = 2, .tp = 2, .ep = 4});
  const members tp[] = {{0, 1}, {0, 1}, {2, 3}, {2, 3}, {4, 5}, {4, 5}, {6, 7}, {6, 7}};
  const members pp[] = {{0, 2}, {1, 3}, {0, 2}, {1, 3}, {4, 6}, {5, 7}, {4, 6}, {5, 7}};
  const members dp[] = {{0, 4}, {1, 5}, {2, 6}, {3, 7}, {0, 4}, {1, 5}, {2, 6}, {3, 7}};
  const members first{0, 1, 4, 5}, second{2, 3, 6, 7};
  for (std::size_t r = 0; r < 8; ++r) {
    CHECK(seen[r].tp == tp[r]);
    CHECK(seen[r].pp == pp[r]);
    CHECK(seen[r].dp == dp[r]);
    CHECK(seen[r].ep == (r % 4 < 2 ? first : second));
  }
  CHECK(seen[6].at == sw::group_ranks{.dp = 1, .pp = 1, .tp = 0, .ep = 2});
}

TEST_CASE("every partition of up to 8 ranks has the groups that its definition says") {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int dp = 1; dp <= ranks; ++dp) {
      for (int pp = 1; pp <= ranks; ++pp) {
        for (int tp = 1; tp <= ranks; ++tp) {
          if (dp * pp * tp != ranks) continue;
          // Number the ranks by counting: tensor parallel fastest, data parallel slowest.
          std::vector<sw::group_ranks> at;
          for (int d = 0; d < dp; ++d) {
            for (int p = 0; p < pp; ++p) {
              for (int t = 0; t < tp; ++t) at.push_back({d, p, t, 0});
            }
          }
          const auto alike = [&](auto same) {
            members m;
            for (std::size_t r = 0; r < at.size(); ++r) {
              if (same(at[r])) m.push_back(static_cast<std::int64_t>(r));
            }
            return m;
          };
          for (int ep = 1; ep <= dp * tp; ++ep) {
            if (dp * tp % ep != 0) continue;
            INFO("dp " << dp << " pp " << pp << " tp " << tp << " ep " << ep);
            const auto seen = seen_over(ranks, {dp, pp, tp, ep});
            for (std::size_t r = 0; r < at.size(); ++r) {
              const sw::group_ranks& me = at[r];
              CHECK(seen[r].dp == alike([&](const auto& o) { return o.pp == me.pp && o.tp == me.tp; }));
              CHECK(seen[r].pp == alike([&](const auto& o) { return o.dp == me.dp && o.tp == me.tp; }));
              CHECK(seen[r].tp == alike([&](const auto& o) { return o.dp == me.dp && o.pp == me.pp; }));
              // The ranks of my stage in order, in blocks of ep.
              const members stage = alike([&](const auto& o) { return o.pp == me.pp; });
              std::size_t mine = 0;
              while (stage[mine] != static_cast<std::int64_t>(r)) ++mine;
              const std::size_t from = mine / as_size(ep) * as_size(ep);
              members block;
              for (std::size_t i = from; i < from + as_size(ep); ++i) block.push_back(stage[i]);
              CHECK(seen[r].ep == block);
              CHECK(seen[r].at == sw::group_ranks{me.dp, me.pp, me.tp, static_cast<int>(mine - from)});
              CHECK(seen[r].numbers == seen[r].at);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("groups of any communicator that splits, and of what observes it") {
  const auto seen = sw::in_process(4, [](sw::in_process_communicator& world) {
    sw::tally t;
    sw::counted counted(world, t);
    auto of_counted = sw::groups(counted, {.dp = 2, .tp = 2});
    of_counted.tp.barrier({});
    sw::any_communicator any = counted;
    auto of_any = sw::groups(any, {.pp = 4});
    static_assert(std::same_as<decltype(of_any.pp), sw::any_communicator>);
    return std::vector<std::size_t>{as_size(of_counted.tp.size()), as_size(of_any.pp.size()),
                                    t[sw::operation::split].calls, t[sw::operation::barrier].calls};
  });
  for (const auto& s : seen) CHECK(s == std::vector<std::size_t>{2, 4, 8, 1});
}

TEST_CASE("sizes that are not those of the world are refused with the legal ones, before anything is split") {
  CHECK(refusal(8, {.dp = 2, .pp = 2, .tp = 3}) ==
        "dp 2 x pp 2 x tp 3 is not the number of ranks, 8: legal with the others: tp 2");
  CHECK(refusal(8, {.dp = 1, .pp = 2, .tp = 2}) ==
        "dp 1 x pp 2 x tp 2 is not the number of ranks, 8: legal with the others: dp 2, or pp 4, or tp 4");
  CHECK(
      refusal(6, {.dp = 4, .pp = 4, .tp = 5}) ==
      "dp 4 x pp 4 x tp 5 is not the number of ranks, 6: each must be one of 1, 2, 3, 6, and their product all ranks");
  CHECK(refusal(4, {.tp = 0}) == "tp is 0 over 4 ranks; legal sizes: 1, 2, 4");
  CHECK(refusal(1, {.pp = -3}) == "pp is -3 over 1 rank; legal sizes: 1");
  CHECK(refusal(4, {.dp = 2, .pp = 2, .ep = 4}) ==
        "ep 4 does not divide dp 2 x tp 1, the ranks of a pipeline stage; legal sizes: 1, 2");
  // More than all ranks: 8 divides them, and is no size that would be taken.
  CHECK(refusal(8, {.pp = 2, .tp = 4, .ep = 16}) ==
        "ep 16 does not divide dp 1 x tp 4, the ranks of a pipeline stage; legal sizes: 1, 2, 4");
  CHECK(refusal(4, {.tp = 4, .ep = 0}) ==
        "ep 0 does not divide dp 1 x tp 4, the ranks of a pipeline stage; legal sizes: 1, 2, 4");
  CHECK(refusal(8, {.tp = 4, .ep = 16}) ==
        "dp 1 x pp 1 x tp 4 is not the number of ranks, 8: legal with the others: dp 2, or pp 2, or tp 8");
  // Sizes whose product overflows an int are no other case.
  CHECK(refusal(4, {.dp = 65536, .pp = 65536}) == "dp is 65536 over 4 ranks; legal sizes: 1, 2, 4");
}
