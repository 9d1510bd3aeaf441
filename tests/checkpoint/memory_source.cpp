// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/memory_source.hpp"

#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_view;

static_assert(sw::tensor_source<sw::memory_source>);
static_assert(!sw::tensor_source<tensor_view>);

TEST_CASE("tensors in memory are read by name, a box at a time, strided ones too") {
  std::vector<float> values = {0, 1, 2, 3, 4, 5};
  tensor_view transposed(values.data(), dtype::f32, {3, 2});
  transposed.strides[0] = 1;
  transposed.strides[1] = 3;
  sw::memory_source source;
  {
    const std::string name = "gone after this";
    source.add("a", tensor_view(values.data(), dtype::f32, {2, 3})).add(name, transposed);
  }
  REQUIRE(source.size() == 2);
  CHECK(source.info(1).name == "gone after this");
  CHECK(source.info(1).shape == sw::tensor_shape{3, 2});
  CHECK(source.find("gone after this") == 1);
  CHECK(source.find("b") == sw::memory_source::npos);

  std::vector<float> out(4);
  source.read(1, {{1, 0}, {2, 2}}, tensor_view(out.data(), dtype::f32, {2, 2}));
  CHECK(out == std::vector<float>{1, 4, 2, 5});
  CHECK(source.bytes_read() == 16);
  std::vector<std::uint16_t> half(1);
  source.read(0, {{1, 2}, {1, 1}}, tensor_view(half.data(), dtype::bf16, {1, 1}));
  CHECK(half[0] == 0x40a0);
  CHECK(source.bytes_read() == 20);
}

TEST_CASE("a tensor in memory needs memory and a name of its own, and gives only what it has") {
  float value = 0;
  sw::memory_source source;
  source.add("a", tensor_view(&value, dtype::f32, {1})).add("nothing", tensor_view(nullptr, dtype::f32, {0, 4}));
  CHECK_THROWS_MATCHES(source.add("a", tensor_view(&value, dtype::f32, {1})), sw::checkpoint_error, says("'a'"));
  CHECK_THROWS_MATCHES(source.add("b", tensor_view(nullptr, dtype::f32, {1})), sw::checkpoint_error, says("no memory"));
  CHECK_THROWS_MATCHES(source.read(0, {{0}, {2}}, tensor_view(&value, dtype::f32, {2})), sw::checkpoint_error,
                       says("not inside 'a'"));
  CHECK_NOTHROW(source.read(1, {{0, 1}, {0, 2}}, tensor_view(nullptr, dtype::f32, {0, 2})));
  CHECK(source.size() == 2);
  CHECK(source.bytes_read() == 0);
}
