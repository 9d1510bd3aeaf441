// SPDX-License-Identifier: Apache-2.0
#include "shardwise/nccl/dtype.hpp"

#include "catch.hpp"

namespace sw = shardwise;

TEST_CASE("what is reduced is NCCL's type of the same numbers, and what is moved has the same size", "[nccl]") {
  struct row {
    sw::dtype type;
    ncclDataType_t expected;
  };
  const row reduced[] = {{sw::dtype::f64, ncclFloat64},   {sw::dtype::f32, ncclFloat32}, {sw::dtype::f16, ncclFloat16},
                         {sw::dtype::bf16, ncclBfloat16}, {sw::dtype::i64, ncclInt64},   {sw::dtype::i32, ncclInt32},
                         {sw::dtype::u8, ncclUint8}};
  for (const auto& [type, expected] : reduced) {
    CAPTURE(sw::name_of(type));
    CHECK(sw::nccl::type_of(type) == expected);
    CHECK(sw::nccl::detail::wire.of[static_cast<std::size_t>(type)].reducible);
  }
  const row moved[] = {{sw::dtype::f8_e4m3, ncclUint8},
                       {sw::dtype::f8_e5m2, ncclUint8},
                       {sw::dtype::i8, ncclInt8},
                       {sw::dtype::boolean, ncclUint8},
                       {sw::dtype::i16, ncclFloat16}};
  for (const auto& [type, expected] : moved) {
    CAPTURE(sw::name_of(type));
    CHECK(sw::nccl::type_of(type) == expected);
    CHECK_FALSE(sw::nccl::detail::wire.of[static_cast<std::size_t>(type)].reducible);
  }
  CHECK(std::size(reduced) + std::size(moved) == std::size(sw::detail::dtype_table));
  CHECK(sw::nccl::type_of(sw::reduction::sum) == ncclSum);
  CHECK(sw::nccl::type_of(sw::reduction::max) == ncclMax);
}
