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
    if (elements() == 0) return true;
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

/// How an engine's own tensor type is seen as a `tensor_view`, and the three things that steps ask of the engine.
/// Specialise once:
/// ```
/// template <> struct shardwise::tensor_traits<my_tensor> {
///   static tensor_view view(my_tensor& t);
///   // where a gather changes the shape: a new dense tensor of the same dtype, on the same device
///   static my_tensor empty_like(const my_tensor& like, const tensor_shape& s);
///   // where a style splits its input: the columns [begin, begin + extent) of the last dim, as a view or a copy
///   static my_tensor columns(const my_tensor& t, std::size_t begin, std::size_t extent);
///   // where a bias [n] is added to each row of x [..., n], on the stream
///   static void add_to_rows(my_tensor& x, const my_tensor& bias, my_stream stream);
/// };
/// ```
template <class Tensor>
struct tensor_traits;

template <>
struct tensor_traits<tensor_view> {
  static constexpr tensor_view view(const tensor_view& t) { return t; }
  static constexpr tensor_view columns(tensor_view t, std::size_t begin, std::size_t extent) {
    const std::size_t last = t.shape.dims() - 1;
    t.data = static_cast<std::byte*>(t.data) + begin * t.strides[last] * size_of(t.type);
    t.shape[last] = extent;
    return t;
  }
};

}  // namespace v0
}  // namespace shardwise
