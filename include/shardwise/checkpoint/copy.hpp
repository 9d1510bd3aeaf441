// SPDX-License-Identifier: Apache-2.0
// Boxes of tensors copied from one memory layout to another, cast on the way.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/error.hpp"
#include "shardwise/model/half.hpp"
#include "shardwise/model/tensor_view.hpp"

namespace shardwise {
inline namespace v0 {

/// Can elements of `from` be written as `to`? Equal types, and f32, f16 and bf16 each way (rounded to nearest even).
constexpr bool castable(dtype from, dtype to) {
  const auto is_float = [](dtype t) { return t == dtype::f32 || t == dtype::f16 || t == dtype::bf16; };
  return from == to || (is_float(from) && is_float(to));
}

/// The part of a view that starts at `begin` in dim `dim` and is `extent` long there.
inline tensor_view part_of(const tensor_view& whole, std::size_t dim, std::size_t begin, std::size_t extent) {
  tensor_view part = whole;
  part.shape[dim] = extent;
  if (part.elements() != 0) {
    part.data = static_cast<std::byte*>(whole.data) + begin * whole.strides[dim] * size_of(whole.type);
  }
  return part;
}

namespace detail {

// Neither side need be aligned, so that elements are read and written as bytes.
template <class T>
T load_element(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <dtype Type>
float load_float(const std::byte* p) {
  if constexpr (Type == dtype::f32) return load_element<float>(p);
  if constexpr (Type == dtype::f16) return from_f16(load_element<std::uint16_t>(p));
  if constexpr (Type == dtype::bf16) return from_bf16(load_element<std::uint16_t>(p));
}
template <dtype Type>
void store_float(std::byte* p, float value) {
  if constexpr (Type == dtype::f32) std::memcpy(p, &value, sizeof value);
  if constexpr (Type != dtype::f32) {
    const std::uint16_t bits = Type == dtype::f16 ? to_f16(value) : to_bf16(value);
    std::memcpy(p, &bits, sizeof bits);
  }
}

// One row of `n` elements; strides in bytes.
using copy_row = void (*)(const std::byte* from, std::size_t from_stride, std::byte* to, std::size_t to_stride,
                          std::size_t n);

template <std::size_t Size>
void copy_equal(const std::byte* from, std::size_t from_stride, std::byte* to, std::size_t to_stride, std::size_t n) {
  if (from_stride == Size && to_stride == Size) {
    std::memmove(to, from, n * Size);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) std::memmove(to + i * to_stride, from + i * from_stride, Size);
}
template <dtype From, dtype To>
void copy_cast(const std::byte* from, std::size_t from_stride, std::byte* to, std::size_t to_stride, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) store_float<To>(to + i * to_stride, load_float<From>(from + i * from_stride));
}

template <dtype From>
copy_row cast_from(dtype to) {
  switch (to) {
    case dtype::f32: return copy_cast<From, dtype::f32>;
    case dtype::f16: return copy_cast<From, dtype::f16>;
    default: return copy_cast<From, dtype::bf16>;
  }
}
inline copy_row row_copier(dtype from, dtype to) {
  if (from == to) {
    switch (size_of(from)) {
      case 1: return copy_equal<1>;
      case 2: return copy_equal<2>;
      case 4: return copy_equal<4>;
      default: return copy_equal<8>;
    }
  }
  switch (from) {
    case dtype::f32: return cast_from<dtype::f32>(to);
    case dtype::f16: return cast_from<dtype::f16>(to);
    default: return cast_from<dtype::bf16>(to);
  }
}

// Dims of a copy, strides in bytes. Neighbours that lie densely on both sides are one dim, so that rows are long.
struct copy_dims {
  std::size_t extent[max_dims] = {}, from[max_dims] = {}, to[max_dims] = {};
  std::size_t count = 0;

  void push(std::size_t n, std::size_t from_stride, std::size_t to_stride) {
    if (n == 1) return;
    if (count != 0 && from[count - 1] == n * from_stride && to[count - 1] == n * to_stride) {
      --count;
      n *= extent[count];
    }
    extent[count] = n;
    from[count] = from_stride;
    to[count++] = to_stride;
  }
};

/// Copies `to.elements()` elements that lie at `from` with strides in elements. The types are castable.
inline void copy_strided(const std::byte* from, dtype type, const std::size_t* strides, const tensor_view& to) {
  if (to.elements() == 0) return;
  const std::size_t from_size = size_of(type), to_size = size_of(to.type);
  copy_dims dims;
  for (std::size_t d = 0; d < to.shape.dims(); ++d) {
    dims.push(to.shape[d], strides[d] * from_size, to.strides[d] * to_size);
  }
  if (dims.count == 0) dims = {{1}, {from_size}, {to_size}, 1};
  const copy_row copy = row_copier(type, to.type);
  const std::size_t row = dims.count - 1;
  auto* target = static_cast<std::byte*>(to.data);
  std::size_t at[max_dims] = {}, from_at = 0, to_at = 0;
  for (;;) {
    copy(from + from_at, dims.from[row], target + to_at, dims.to[row], dims.extent[row]);
    std::size_t d = row;
    for (;;) {  // on to the next row, as an odometer
      if (d-- == 0) return;
      from_at += dims.from[d];
      to_at += dims.to[d];
      if (++at[d] < dims.extent[d]) break;
      from_at -= dims.from[d] * dims.extent[d];
      to_at -= dims.to[d] * dims.extent[d];
      at[d] = 0;
    }
  }
}

/// Throws `checkpoint_error` unless `what` is a box of a tensor of this shape and `to` can take it.
inline void check_read(std::string_view name, dtype type, const tensor_shape& whole, const box& what,
                       const tensor_view& to) {
  bool inside = what.offset.dims() == whole.dims() && what.extent.dims() == whole.dims();
  for (std::size_t d = 0; inside && d < whole.dims(); ++d) {
    inside = what.offset[d] <= whole[d] && what.extent[d] <= whole[d] - what.offset[d];
  }
  if (!inside) {
    raise(checkpoint_error("the box of extent ", shape_text(what.extent), " at ", shape_text(what.offset),
                           " is not inside ", in_quotes(name), ", whose shape is ", shape_text(whole)));
  }
  if (!(to.shape == what.extent)) {
    raise(checkpoint_error("a box of shape ", shape_text(what.extent), " of ", in_quotes(name),
                           " was to be read into a tensor of shape ", shape_text(to.shape), "; both must be equal"));
  }
  if (!castable(type, to.type)) {
    raise(checkpoint_error(in_quotes(name), " is ", name_of(type), " and was to be read as ", name_of(to.type),
                           "; only F32, F16 and BF16 are cast into each other"));
  }
  if (to.data == nullptr && to.elements() != 0) {
    raise(checkpoint_error(in_quotes(name), " was to be read into a tensor without memory"));
  }
}

}  // namespace detail

/// Copies the box `what` of a dense, row-major tensor that lies at `from` (any alignment) into `to`: `to.shape` is
/// `what.extent`, its strides are its own, and its type is castable from `type`. `name` is for errors. Throws
/// `checkpoint_error` before a byte is written.
inline void copy_box(std::string_view name, const std::byte* from, dtype type, const tensor_shape& whole,
                     const box& what, const tensor_view& to) {
  detail::check_read(name, type, whole, what, to);
  if (to.elements() == 0) return;
  std::size_t strides[max_dims] = {};
  std::size_t stride = 1, first = 0;
  for (std::size_t d = whole.dims(); d-- > 0;) {
    strides[d] = stride;
    first += what.offset[d] * stride;
    stride *= whole[d];
  }
  detail::copy_strided(from + first * size_of(type), type, strides, to);
}

}  // namespace v0
}  // namespace shardwise
