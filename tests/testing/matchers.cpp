// SPDX-License-Identifier: Apache-2.0
#include "shardwise/testing/matchers.hpp"

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/plan/plan.hpp"

namespace sw = shardwise;
using sw::testing::IsCoveredBy;
using sw::testing::MatchesUnsharded;
using sw::testing::RejoinsAfter;

namespace {

inline constexpr auto plan = sw::plan({{"up", sw::colwise}, {"down", sw::rowwise}, {"norm", sw::replicate("small")}});
inline constexpr auto hole = sw::plan({{"up", sw::colwise}, {"down", sw::rowwise}});
inline constexpr auto idle = plan + sw::plan({{"head", sw::colwise}});

/// y = down(up(x)), with x of ones; the weights are small integers, so that every order of the sums is exact.
struct model {
  std::vector<float> up = std::vector<float>(12 * 4), down = std::vector<float>(4 * 12), norm = std::vector<float>(4);
  sw::tree tree;
  sw::memory_source source;
  model() {
    std::iota(up.begin(), up.end(), 0.f);
    std::iota(down.begin(), down.end(), 1.f);
    add("up.weight", up, {12, 4});
    add("down.weight", down, {4, 12});
    add("norm.weight", norm, {4});
  }
  void add(const char* name, std::vector<float>& data, const sw::tensor_shape& shape) {
    tree.add(name, sw::dtype::f32, shape);
    source.add(name, sw::tensor_view(data.data(), sw::dtype::f32, shape));
  }
};

/// A correct engine, or one that forgets the reduce.
sw::testing::engine engine_of(const model& m, bool reduces) {
  return [&m, reduces](const sw::sharding& s, sw::in_process_communicator& comm) {
    const auto local = [&](const char* name) {
      const std::size_t i = s.find(name);
      std::vector<float> data(s.local_shape(i, comm.rank()).elements());
      const sw::tensor_view view(data.data(), sw::dtype::f32, s.local_shape(i, comm.rank()));
      const std::vector<float>& whole = i == s.find("up.weight") ? m.up : m.down;
      sw::shard_tensor(s, i, comm.rank(), sw::tensor_view(const_cast<float*>(whole.data()), sw::dtype::f32, s[i].shape),
                       view);
      return data;
    };
    const std::vector<float> up = local("up.weight"), down = local("down.weight");
    const std::size_t width = up.size() / 4;
    std::vector<float> y(4);
    for (std::size_t h = 0; h < width; ++h) {
      const float hidden = up[h * 4] + up[h * 4 + 1] + up[h * 4 + 2] + up[h * 4 + 3];
      for (std::size_t o = 0; o < 4; ++o) y[o] += down[o * width + h] * hidden;
    }
    if (reduces) comm.all_reduce(y.data(), y.data(), y.size(), sw::dtype::f32, sw::reduction::sum, {});
    return y;
  };
}

}  // namespace

TEST_CASE("a plan that speaks of every parameter covers a model, and one with a hole or an idle rule does not",
          "[testing]") {
  const model m;
  CHECK_THAT(m.tree, IsCoveredBy(plan));
  CHECK_THAT(m.tree, !IsCoveredBy(hole));
  CHECK_THAT(m.tree, !IsCoveredBy(idle));
  IsCoveredBy matcher(hole);
  CHECK_FALSE(matcher.match(m.tree));
  CHECK_THAT(matcher.describe(), Catch::Matchers::ContainsSubstring("norm.weight"));
}

TEST_CASE("what is cut at every legal size rejoins to the same bytes", "[testing]") {
  const model m;
  CHECK_THAT(m.source, RejoinsAfter(plan, m.tree, {1, 2, 3, 4, 5, 8}));  // 5 and 8 do not divide 12: passed over
  CHECK_FALSE(RejoinsAfter(plan, m.tree, {5}).match(m.source));
}

TEST_CASE("a source that lacks a parameter does not rejoin", "[testing]") {
  model m;
  m.tree.add("more.weight", sw::dtype::f32, {2, 2});
  const RejoinsAfter matcher(plan, m.tree, {2});
  CHECK_FALSE(matcher.match(m.source));
  CHECK_THAT(matcher.describe(), Catch::Matchers::ContainsSubstring("more.weight"));
}

TEST_CASE("an engine that follows its plan gives the unsharded output at every size", "[testing]") {
  const model m;
  CHECK_THAT(engine_of(m, true), MatchesUnsharded(plan, m.tree, {1, 2, 3, 4}).within(0));
}

TEST_CASE("an engine that forgets a collective is found", "[testing]") {
  const model m;
  CHECK_THAT(engine_of(m, false), !MatchesUnsharded(plan, m.tree, {2}).within(1e-3));
  CHECK_THAT(engine_of(m, false), MatchesUnsharded(plan, m.tree, {1}).within(0));
}

TEST_CASE("an engine that throws on one rank is found, with its words", "[testing]") {
  const model m;
  const sw::testing::engine dies = [](const sw::sharding&, sw::in_process_communicator& comm) -> std::vector<float> {
    if (comm.size() > 1 && comm.rank() == 1) throw sw::shard_error("no weights here");
    return {1};
  };
  MatchesUnsharded matcher(plan, m.tree, {2});
  CHECK_FALSE(matcher.match(dies));
  CHECK_THAT(matcher.describe(), Catch::Matchers::ContainsSubstring("no weights here"));
}

TEST_CASE("a NaN anywhere is a difference", "[testing]") {
  const model m;
  for (std::size_t at : {0u, 1u, 3u}) {
    const sw::testing::engine poisoned = [at](const sw::sharding& s, sw::in_process_communicator&) {
      std::vector<float> y(4, 1.f);
      if (s.tp() > 1) y[at] = std::nanf("");
      return y;
    };
    CHECK_THAT(poisoned, !MatchesUnsharded(plan, m.tree, {2}).within(1e9));
  }
}

TEST_CASE("no sizes and no values match nothing", "[testing]") {
  const model m;
  CHECK_THAT(engine_of(m, true), !MatchesUnsharded(plan, m.tree, {}));
  const sw::testing::engine empty = [](const sw::sharding&, sw::in_process_communicator&) {
    return std::vector<float>();
  };
  CHECK_THAT(empty, !MatchesUnsharded(plan, m.tree, {2}));
  CHECK_FALSE(RejoinsAfter(plan, m.tree, {}).match(m.source));
}

TEST_CASE("coverage is of names alone: what does not divide, or a config that lacks a number, is no hole",
          "[testing]") {
  const model m;
  constexpr auto units =
      sw::plan({{"up", sw::colwise.units("heads")}, {"down", sw::rowwise}, {"norm", sw::replicate("small")}});
  CHECK_THAT(m.tree, IsCoveredBy(units));
}
