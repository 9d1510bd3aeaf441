// SPDX-License-Identifier: Apache-2.0
// Where weights come from: whatever can say names, shapes and dtypes, and read a box.
#pragma once
#include <concepts>
#include <cstddef>
#include <string_view>

#include "shardwise/checkpoint/copy.hpp"
#include "shardwise/model/tensor_view.hpp"

namespace shardwise {
inline namespace v0 {

/// A tensor of a source. The name is stable while the source lives.
struct tensor_info {
  std::string_view name;
  dtype type = dtype::f32;
  tensor_shape shape;
};

/// A source of tensors, each name once:
/// - `size()`: their number; `info(i)`: name, type and whole shape of one.
/// - `read(i, what, to)`: copies the box `what` of tensor `i` into `to`, whose shape is `what.extent`, which may be
///   strided, and to whose type it casts where `castable` says so. Throws `checkpoint_error` for anything else.
///
/// All three are const and may be called from several threads at once, one for each rank. The sources of this library
/// also have `bytes_read()`, the bytes of the tensors' own types that were asked for since they were made.
template <class S>
concept tensor_source = requires(const S& source, std::size_t i, const box& what, const tensor_view& to) {
  { source.size() } -> std::convertible_to<std::size_t>;
  { source.info(i) } -> std::convertible_to<tensor_info>;
  source.read(i, what, to);
};

}  // namespace v0
}  // namespace shardwise
