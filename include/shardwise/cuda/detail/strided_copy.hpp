// SPDX-License-Identifier: Apache-2.0
// A dense run of bytes on the host into a tensor of a device that may be strided, by as few copies as its strides
// allow.
#pragma once
#include <cstddef>

#include "shardwise/checkpoint/copy.hpp"
#include "shardwise/cuda/stream.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {
namespace detail {

// The dims of a tensor from the one with the largest stride to the one with the smallest: the order of its memory.
struct memory_order {
  std::size_t dim[max_dims] = {};

  explicit memory_order(const tensor_view& t) {
    for (std::size_t d = 0; d < t.shape.dims(); ++d) {
      std::size_t at = d;
      for (; at != 0 && t.strides[dim[at - 1]] < t.strides[d]; --at) dim[at] = dim[at - 1];
      dim[at] = d;
    }
  }
};

// A tensor of the same shape and type that lies densely at `data`, its dims in that order.
inline tensor_view dense_like(const tensor_view& t, const memory_order& order, std::byte* data) {
  tensor_view dense = t;
  dense.data = data;
  std::size_t stride = 1;
  for (std::size_t k = t.shape.dims(); k-- > 0;) {
    dense.strides[order.dim[k]] = stride;
    stride *= t.shape[order.dim[k]];
  }
  return dense;
}

// Rows of `width` bytes, one after the other on the host, `pitch` apart on the device.
inline void copy_rows(std::byte* to, std::size_t pitch, const std::byte* from, std::size_t width, std::size_t rows,
                      stream_ref stream) {
  constexpr std::size_t max_pitch = 0x7fffffff;  // cudaDeviceProp::memPitch, the same on every device
  if (rows != 1 && pitch >= width && pitch <= max_pitch) {
    const cudaError_t code =
        cudaMemcpy2DAsync(to, pitch, from, width, width, rows, cudaMemcpyHostToDevice, stream.get());
    if (code != cudaSuccess) [[unlikely]]
      fail(code, "cudaMemcpy2DAsync", " of ", rows, " rows of ", width, " bytes, ", pitch, " apart");
    return;
  }
  for (std::size_t row = 0; row < rows; ++row) {
    const cudaError_t code =
        cudaMemcpyAsync(to + row * pitch, from + row * width, width, cudaMemcpyHostToDevice, stream.get());
    if (code != cudaSuccess) [[unlikely]]
      fail(code, "cudaMemcpyAsync", " of ", width, " bytes");
  }
}

// Puts the copies of `dense` (see dense_like) to `to` on the stream. Of equal shapes and types, not empty.
inline void copy_to_device(const tensor_view& dense, const memory_order& order, const tensor_view& to,
                           stream_ref stream) {
  const std::size_t element = size_of(to.type);
  shardwise::detail::copy_dims dims;
  for (std::size_t k = 0; k < to.shape.dims(); ++k) {
    const std::size_t d = order.dim[k];
    dims.push(to.shape[d], dense.strides[d] * element, to.strides[d] * element);
  }
  // What is left: outer dims, rows, and the bytes of a row, which are one element where the innermost dim has gaps.
  std::size_t width = element, rows = 1, pitch = element;
  if (dims.count != 0 && dims.to[dims.count - 1] == element) width = element * dims.extent[--dims.count];
  if (dims.count != 0) {
    rows = dims.extent[--dims.count];
    pitch = dims.to[dims.count];
  }
  const auto* from = static_cast<const std::byte*>(dense.data);
  auto* target = static_cast<std::byte*>(to.data);
  std::size_t at[max_dims] = {};
  for (;;) {
    copy_rows(target, pitch, from, width, rows, stream);
    from += rows * width;
    std::size_t d = dims.count;
    for (;;) {  // on to the next rows, as an odometer
      if (d-- == 0) return;
      target += dims.to[d];
      if (++at[d] < dims.extent[d]) break;
      target -= dims.to[d] * dims.extent[d];
      at[d] = 0;
    }
  }
}

}  // namespace detail
}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
