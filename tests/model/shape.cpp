// SPDX-License-Identifier: Apache-2.0
#include "shardwise/model/shape.hpp"

#include "catch.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/model/tensor_view.hpp"

namespace sw = shardwise;

namespace {

static_assert(sw::tensor_shape{2, 3, 4}.elements() == 24 && sw::tensor_shape{}.elements() == 1);
static_assert(sw::tensor_shape{2, 0, 4}.elements() == 0 && sw::tensor_shape{2, 3}.last() == 3);
static_assert(sw::tensor_shape{2, 3} != sw::tensor_shape{2, 3, 1} && sw::tensor_shape{} == sw::tensor_shape());
static_assert(sw::box::whole({2, 3}) == sw::box{{0, 0}, {2, 3}} && sw::box::whole({}).elements() == 1);

constexpr sw::tensor_view dense(nullptr, sw::dtype::bf16, {2, 3, 4});
static_assert(dense.strides[0] == 12 && dense.strides[1] == 4 && dense.strides[2] == 1);
static_assert(dense.contiguous() && dense.bytes() == 48);
constexpr bool dense_with(std::size_t dim, std::size_t stride, const sw::tensor_shape& shape) {
  sw::tensor_view v(nullptr, sw::dtype::f32, shape);
  v.strides[dim] = stride;
  return v.contiguous();
}
static_assert(!dense_with(0, 13, {2, 3, 4}) && !dense_with(2, 2, {2, 3, 4}));
static_assert(dense_with(0, 99, {1, 3, 4}));  // the stride of one row is never used

}  // namespace

TEST_CASE("a shape of more than eight dims is refused", "[model]") {
  CHECK_THROWS_MATCHES((sw::tensor_shape{1, 2, 3, 4, 5, 6, 7, 8, 9}), sw::shard_error,
                       says("a shape has 9 dims, and shardwise holds at most 8"));
  CHECK((sw::tensor_shape{1, 1, 1, 1, 1, 1, 1, 2}).elements() == 2);
}

TEST_CASE("dtypes have the names and sizes of a safetensors header", "[model]") {
  struct row {
    sw::dtype type;
    const char* name;
    std::size_t bytes;
  };
  for (const row& r :
       {row{sw::dtype::f64, "F64", 8}, row{sw::dtype::f32, "F32", 4}, row{sw::dtype::f16, "F16", 2},
        row{sw::dtype::bf16, "BF16", 2}, row{sw::dtype::f8_e4m3, "F8_E4M3", 1}, row{sw::dtype::f8_e5m2, "F8_E5M2", 1},
        row{sw::dtype::i64, "I64", 8}, row{sw::dtype::i32, "I32", 4}, row{sw::dtype::i16, "I16", 2},
        row{sw::dtype::i8, "I8", 1}, row{sw::dtype::u8, "U8", 1}, row{sw::dtype::boolean, "BOOL", 1}}) {
    CHECK(sw::name_of(r.type) == r.name);
    CHECK(sw::size_of(r.type) == r.bytes);
    sw::dtype parsed = sw::dtype::u8;
    CHECK(sw::parse_dtype(r.name, parsed));
    CHECK(parsed == r.type);
  }
  sw::dtype untouched = sw::dtype::i16;
  CHECK_FALSE(sw::parse_dtype("f32", untouched));
  CHECK(untouched == sw::dtype::i16);
}
