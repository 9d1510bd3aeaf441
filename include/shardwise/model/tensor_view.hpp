// SPDX-License-Identifier: Apache-2.0
// How shardwise sees an engine's tensor: it owns none.
#pragma once
#include <cstddef>

#include "shardwise/model/dtype.hpp"
#include "shardwise/model/shape.hpp"

namespace shardwise {
inline namespace v0 {

/// A pointer, an element type, extents and strides (in elements). Owns nothing; whoever makes one keeps the memory
/// alive.
struct tensor_view {
  void* data = nullptr;
  dtype type = dtype::f32;
  tensor_shape shape;
  std::size_t strides[max_dims] = {};

  constexpr tensor_view() = default;
  /// A dense, row-major tensor.
  constexpr tensor_view(void* data_, dtype type_, const tensor_shape& shape_)
      : data(data_), type(type_), shape(shape_) {
    std::size_t stride = 1;
    for (std::size_t d = shape.dims(); d-- > 0;) {
      strides[d] = stride;
      stride *= shape[d];
    }
  }

  /// Row-major without gaps?
  constexpr bool contiguous() const {
    std::size_t stride = 1;
    for (std::size_t d = shape.dims(); d-- > 0;) {
      if (shape[d] != 1 && strides[d] != stride) return false;
      stride *= shape[d];
    }
    return true;
  }
  constexpr std::size_t elements() const { return shape.elements(); }
  constexpr std::size_t bytes() const { return elements() * size_of(type); }
};

/// How an engine's own tensor type is seen as a `tensor_view`, and how a new one like it is made. Specialise once:
/// ```
/// template <> struct shardwise::tensor_traits<my_tensor> {
///   static tensor_view view(my_tensor& t);
///   static my_tensor empty_like(const my_tensor& like, const tensor_shape& s);   // needed where a collective changes
///   the shape
/// };
/// ```
template <class Tensor>
struct tensor_traits;

template <>
struct tensor_traits<tensor_view> {
  static constexpr tensor_view view(const tensor_view& t) { return t; }
};

}  // namespace v0
}  // namespace shardwise
