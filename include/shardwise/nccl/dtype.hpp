// SPDX-License-Identifier: Apache-2.0
// shardwise's dtypes and reductions as NCCL's.
#pragma once
#include <cstddef>
#include <iterator>

#include "shardwise/comm/detail/reduce.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/nccl/detail/header.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

struct wire_type {
  ncclDataType_t type;
  bool reducible;
};

constexpr ncclDataType_t element_of(dtype type) {
  switch (type) {
    case dtype::f64: return ncclFloat64;
    case dtype::f32: return ncclFloat32;
    case dtype::f16: return ncclFloat16;
    case dtype::bf16: return ncclBfloat16;
    case dtype::i64: return ncclInt64;
    case dtype::i32: return ncclInt32;
    case dtype::i16: return ncclFloat16;  // moved, never computed with: NCCL has no integer of 16 bits
    case dtype::i8: return ncclInt8;
    default: return ncclUint8;  // also fp8, which NCCL knows by name since 2.24 and can move as bytes in every version
  }
}

struct wire_types {
  wire_type of[std::size(shardwise::detail::dtype_table)];
};
constexpr wire_types make_wire_types() {
  wire_types types{};
  for (const auto& row : shardwise::detail::dtype_table) {
    types.of[static_cast<std::size_t>(row.type)] = {element_of(row.type), shardwise::detail::can_reduce(row.type)};
  }
  return types;
}
inline constexpr wire_types wire = make_wire_types();

}  // namespace detail

/// NCCL's type of the same size: the same numbers where `shardwise` reduces them, else one that is only moved.
constexpr ncclDataType_t type_of(dtype type) { return detail::wire.of[static_cast<std::size_t>(type)].type; }
constexpr ncclRedOp_t type_of(reduction op) { return op == reduction::sum ? ncclSum : ncclMax; }

}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
