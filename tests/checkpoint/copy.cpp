// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/copy.hpp"

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace support;
using sw::box;
using sw::castable;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;

static_assert(castable(dtype::f32, dtype::bf16) && castable(dtype::bf16, dtype::f16) &&
              castable(dtype::f16, dtype::f32));
static_assert(castable(dtype::i64, dtype::i64) && castable(dtype::f8_e4m3, dtype::f8_e4m3));
static_assert(!castable(dtype::f64, dtype::f32) && !castable(dtype::i32, dtype::f32) &&
              !castable(dtype::u8, dtype::i8));

namespace {

std::size_t flat(const tensor_shape& shape, const std::vector<std::size_t>& at) {
  std::size_t i = 0;
  for (std::size_t d = 0; d < shape.dims(); ++d) i = i * shape[d] + at[d];
  return i;
}

/// A view over `memory` whose dims lie in a random order with random gaps.
tensor_view scattered(dice& d, dtype type, const tensor_shape& shape, std::vector<std::byte>& memory) {
  tensor_view v(nullptr, type, shape);
  std::vector<std::size_t> order(shape.dims());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[d.below(i)]);
  std::size_t stride = 1 + d.below(2);
  for (std::size_t dim : order) {
    v.strides[dim] = stride;
    stride = stride * std::max<std::size_t>(shape[dim], 1) + d.below(3);
  }
  memory.assign((stride + 1) * sw::size_of(type), std::byte{0xee});
  v.data = memory.data();
  return v;
}

// Element i of the whole tensor is the number i, in a type of `Size` bytes.
template <class T>
void check_random_boxes(dtype type) {
  dice d(sizeof(T));
  for (int round = 0; round < 400; ++round) {
    tensor_shape whole, offset, extent;
    const std::size_t dims = d.below(6);
    for (std::size_t k = 0; k < dims; ++k) {
      whole.push(1 + d.below(4));
      offset.push(d.below(whole[k] + 1));
      extent.push(d.below(whole[k] - offset[k] + 1));
    }
    const std::size_t misaligned = d.below(8);
    std::vector<std::byte> from(misaligned + whole.elements() * sizeof(T));
    for (std::size_t i = 0; i < whole.elements(); ++i) {
      const T value = static_cast<T>(i);
      std::memcpy(from.data() + misaligned + i * sizeof(T), &value, sizeof(T));
    }
    std::vector<std::byte> memory;
    const tensor_view to = scattered(d, type, extent, memory);
    std::vector<std::byte> expected = memory;
    for_each_index(extent, [&](const std::vector<std::size_t>& at) {
      std::vector<std::size_t> there = at;
      std::size_t place = 0;
      for (std::size_t k = 0; k < dims; ++k) {
        there[k] += offset[k];
        place += at[k] * to.strides[k];
      }
      const T value = static_cast<T>(flat(whole, there));
      std::memcpy(expected.data() + place * sizeof(T), &value, sizeof(T));
    });
    sw::copy_box("t", from.data() + misaligned, type, whole, {offset, extent}, to);
    REQUIRE((memory == expected));
  }
}

template <class To, class From>
std::vector<To> cast(dtype from, const std::vector<From>& values, dtype to) {
  std::vector<To> out(values.size());
  const tensor_shape shape{values.size()};
  sw::copy_box("t", reinterpret_cast<const std::byte*>(values.data()), from, shape, box::whole(shape),
               tensor_view(out.data(), to, shape));
  return out;
}

using halves = std::vector<std::uint16_t>;
using floats = std::vector<float>;

}  // namespace

TEST_CASE("a box of any shape is copied into any strides, from any alignment, and nothing else is touched") {
  check_random_boxes<std::uint8_t>(dtype::u8);
  check_random_boxes<std::uint16_t>(dtype::bf16);
  check_random_boxes<float>(dtype::f32);
  check_random_boxes<double>(dtype::f64);
}

TEST_CASE("the floats are cast into each other, rounded to nearest even") {
  const floats values = {0.0f, -1.0f, 1.00390625f, 1.01171875f, 65504.0f, 1e-30f};
  CHECK(cast<std::uint16_t>(dtype::f32, values, dtype::bf16) == halves{0, 0xbf80, 0x3f80, 0x3f82, 0x4780, 0x0da2});
  CHECK(cast<std::uint16_t>(dtype::f32, values, dtype::f16) == halves{0, 0xbc00, 0x3c04, 0x3c0c, 0x7bff, 0});
  CHECK(cast<float>(dtype::bf16, halves{0x3f80, 0xc040, 0x0001}, dtype::f32) == floats{1.0f, -3.0f, 0x1p-133f});
  CHECK(cast<float>(dtype::f16, halves{0x3c00, 0xc200, 0x0001}, dtype::f32) == floats{1.0f, -3.0f, 0x1p-24f});
  CHECK(cast<std::uint16_t>(dtype::f16, halves{0x3c00, 0x7bff}, dtype::bf16) == halves{0x3f80, 0x4780});
  CHECK(cast<std::uint16_t>(dtype::bf16, halves{0x3f80, 0x7f00}, dtype::f16) == halves{0x3c00, 0x7c00});
}

TEST_CASE("a cast reaches strided and misaligned elements too") {
  const floats values = {0, 1, 2, 3, 4, 5};
  std::vector<std::byte> from(1 + values.size() * sizeof(float));
  std::memcpy(from.data() + 1, values.data(), values.size() * sizeof(float));
  halves out(6, 0xeeee);
  tensor_view to(out.data(), dtype::bf16, {2, 2});
  to.strides[0] = 1;
  to.strides[1] = 3;  // the transpose, with a gap
  sw::copy_box("t", from.data() + 1, dtype::f32, {2, 3}, {{0, 1}, {2, 2}}, to);
  CHECK(out == halves{0x3f80, 0x4080, 0xeeee, 0x4000, 0x40a0, 0xeeee});
}

TEST_CASE("what cannot be copied is refused by name, before a byte is written") {
  const floats values(6, 1.0f);
  floats out(6, 7.0f);
  const auto* from = reinterpret_cast<const std::byte*>(values.data());
  const auto copy = [&](const box& what, const tensor_view& to) {
    sw::copy_box("a.weight", from, dtype::f32, {2, 3}, what, to);
  };
  const tensor_view row(out.data(), dtype::f32, {1, 3});
  CHECK_THROWS_MATCHES(copy({{2, 0}, {1, 3}}, row), sw::checkpoint_error,
                       says("the box of extent [1, 3] at [2, 0] is not inside 'a.weight', whose shape is [2, 3]"));
  CHECK_THROWS_MATCHES(copy({{0, 1}, {1, 3}}, row), sw::checkpoint_error, says("is not inside 'a.weight'"));
  CHECK_THROWS_MATCHES(copy({{1, ~std::size_t{}}, {1, 3}}, row), sw::checkpoint_error, says("is not inside"));
  CHECK_THROWS_MATCHES(copy({{1, 1}, {1, ~std::size_t{}}}, row), sw::checkpoint_error, says("is not inside"));
  CHECK_THROWS_MATCHES(copy({{0}, {1}}, row), sw::checkpoint_error, says("is not inside"));
  CHECK_THROWS_MATCHES(copy({{0, 0}, {2, 3}}, row), sw::checkpoint_error,
                       says("a box of shape [2, 3] of 'a.weight' was to be read into a tensor of shape [1, 3]"));
  CHECK_THROWS_MATCHES(copy({{0, 0}, {1, 3}}, tensor_view(out.data(), dtype::i32, {1, 3})), sw::checkpoint_error,
                       says("'a.weight' is F32 and was to be read as I32"));
  CHECK_THROWS_MATCHES(copy({{0, 0}, {1, 3}}, tensor_view(nullptr, dtype::f32, {1, 3})), sw::checkpoint_error,
                       says("without memory"));
  CHECK(out == floats(6, 7.0f));
  CHECK_NOTHROW(copy({{0, 0}, {0, 3}}, tensor_view(nullptr, dtype::f32, {0, 3})));
}

TEST_CASE("a part of a view starts at its place and keeps the strides") {
  floats values(6);
  std::iota(values.begin(), values.end(), 0.0f);
  const tensor_view right = sw::part_of(tensor_view(values.data(), dtype::f32, {2, 3}), 1, 1, 2);
  CHECK(right.shape == tensor_shape{2, 2});
  CHECK(static_cast<float*>(right.data)[0] == 1.0f);
  CHECK(static_cast<float*>(right.data)[right.strides[0]] == 4.0f);
  const tensor_view below = sw::part_of(tensor_view(values.data(), dtype::f32, {2, 3}), 0, 1, 1);
  CHECK(below.shape == tensor_shape{1, 3});
  CHECK(static_cast<float*>(below.data)[0] == 3.0f);
}
