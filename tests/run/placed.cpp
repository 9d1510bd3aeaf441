// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/placed.hpp"

#include <concepts>
#include <type_traits>

#include "catch.hpp"

namespace sw = shardwise;

namespace {

using whole = sw::placed<int, sw::replicated>;
static_assert(sizeof(whole) == sizeof(int));
static_assert(!std::is_constructible_v<whole, int> && !std::is_default_constructible_v<whole>);
static_assert(!std::is_constructible_v<sw::placed<int>, sw::placement, int>);
static_assert(whole::where() == sw::placement{sw::replicated{}});
static_assert(sw::placed_as<whole, sw::replicated> && !sw::placed_as<whole, sw::partial<>>);

constexpr int add(int a, int b) { return a + b; }
constexpr auto twice = [](int x) { return 2 * x; };

// Two partial sums may be added first and reduced once; the sum of like is placed alike.
static_assert(std::same_as<decltype(sw::assume_placed<sw::partial<>>(1) + sw::assume_placed<sw::partial<>>(2)),
                           sw::placed<int, sw::partial<>>>);
static_assert((sw::assume_placed<sw::replicated>(1) + sw::assume_placed<sw::replicated>(2)).local() == 3);
static_assert(sw::sum_of(sw::assume_placed<sw::sharded<-1>>(1), sw::assume_placed<sw::sharded<-1>>(2), add).local() ==
              3);
static_assert(sw::elementwise(twice, sw::assume_placed<sw::sharded<-1>>(3)).local() == 6);
static_assert(std::same_as<decltype(sw::elementwise(twice, sw::assume_placed<sw::sharded<-1>>(3))),
                           sw::placed<int, sw::sharded<-1>>>);
static_assert(
    sw::elementwise(add, sw::assume_placed<sw::replicated>(3), sw::assume_placed<sw::replicated>(4)).local() == 7);

const sw::placement replicated = sw::replicated{}, cut = sw::sharded<-1>{}, sum = sw::partial<>{};

}  // namespace

TEST_CASE("placements known at run time are added and mapped by the same rules", "[run]") {
  const auto a = sw::assume_placed(sum, 1), b = sw::assume_placed(sum, 2), c = sw::assume_placed(cut, 4);
  CHECK((a + b).where() == sum);
  CHECK((a + b).local() == 3);
  CHECK(sw::elementwise(add, c, c).where() == cut);
  CHECK(sw::elementwise(add, c, c).local() == 8);
}

TEST_CASE("tensors that are placed differently are neither added nor combined", "[run]") {
  const auto a = sw::assume_placed(sum, 1), b = sw::assume_placed(replicated, 2), c = sw::assume_placed(cut, 4);
  CHECK_THROWS_MATCHES(a + b, sw::placement_error,
                       says("cannot add a tensor that is a partial sum and one that is replicated: bring both to one "
                            "placement first; the plan has one of their modules cut and the other not"));
  CHECK_THROWS_MATCHES(sw::elementwise(add, b, c), sw::placement_error,
                       says("cannot combine a tensor that is replicated and one that is sharded on its last dim"));
  CHECK_THROWS_AS(sw::elementwise(add, c, a), sw::placement_error);
}

TEST_CASE("a nonlinearity of a partial sum is refused", "[run]") {
  CHECK_THROWS_MATCHES(sw::elementwise(twice, sw::assume_placed(sum, 1)), sw::placement_error,
                       says("a nonlinearity of a partial sum is not the sum"));
}
