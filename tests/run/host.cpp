// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/host.hpp"

#include <cstdint>
#include <vector>

#include "catch.hpp"

namespace sw = shardwise;

TEST_CASE("a masked lookup copies the rank's own rows and zeroes the others", "[run]") {
  std::vector<std::uint8_t> table = {30, 31, 40, 41, 50, 51, 1, 1}, out(10, 99);  // and what lies behind it
  const std::vector<std::int64_t> ids = {4, 2, 3, 6, 5};
  sw::masked_lookup(ids, {3, 6}, 8, {table.data(), sw::dtype::u8, {3, 2}}, {out.data(), sw::dtype::u8, {5, 2}});
  CHECK(out == std::vector<std::uint8_t>{40, 41, 0, 0, 30, 31, 0, 0, 50, 51});
}

TEST_CASE("a rank without rows gives zeros", "[run]") {
  std::vector<float> out(4, 9);
  const std::vector<std::int64_t> ids = {0, 7};
  sw::masked_lookup(ids, {8, 8}, 8, {nullptr, sw::dtype::f32, {0, 2}}, {out.data(), sw::dtype::f32, {2, 2}});
  CHECK(out == std::vector<float>(4, 0));
}

TEST_CASE("an id outside the vocabulary is refused on every rank, also where the vocabulary is padded", "[run]") {
  std::vector<float> table(16), out(2);
  const auto look_up = [&](std::int64_t id) {
    const std::vector<std::int64_t> ids = {0, id};
    sw::masked_lookup(ids, {0, 16}, 8, {table.data(), sw::dtype::f32, {16, 1}}, {out.data(), sw::dtype::f32, {2, 1}});
  };
  look_up(7);
  CHECK_THROWS_MATCHES(look_up(8), sw::placement_error,
                       says("token id 8 at position 1 is outside the vocabulary of 8"));
  CHECK_THROWS_MATCHES(look_up(-1), sw::placement_error, says("token id -1 at position 1"));
}
