// SPDX-License-Identifier: Apache-2.0
// What a part and a box have in common, read from the source to its place.
#pragma once
#include <cstddef>

#include "shardwise/checkpoint/detail/assembly.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// `to` is of the box `what` of the assembled tensor. A box of the source is read straight to its place, with the
/// strides that it has there; nothing else is read.
template <tensor_source Source>
void read_part(const Source& source, checkpoint::part p, const box& what, const tensor_view& to) {
  if (!part_inside(p, what)) return;
  for_each_box(p, [&](const box& b, const tensor_shape& first) {
    std::size_t at = 0;
    for (std::size_t d = 0; d < what.offset.dims(); ++d) at += p.at.offset[d] * to.strides[d];
    tensor_view target;
    target.type = to.type;
    target.shape = b.extent;
    for (std::size_t d = 0; d < b.extent.dims(); ++d) {
      const std::size_t axis = p.axis[d];
      target.strides[d] = axis == checkpoint::part::no_axis ? 1 : p.step[axis] * to.strides[axis];
      at += first[d] * target.strides[d];
    }
    target.data = static_cast<std::byte*>(to.data) + at * size_of(to.type);
    source.read(p.tensor, b, target);
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
