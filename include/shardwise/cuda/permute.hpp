// SPDX-License-Identifier: Apache-2.0
// Gathered segments of a device's memory made row-major, for a consumer that must have it so.
#pragma once
#include <cstddef>

#include "shardwise/cuda/stream.hpp"
#include "shardwise/run/gathered.hpp"

namespace shardwise {
inline namespace v0 {

/// `permute` in the memory of a device: one copy for each rank's segment is put on the stream, and nothing waits. The
/// two do not overlap. Throws `placement_error` for an `out` of another shape or type, `cuda::error` for a copy that
/// CUDA refuses.
inline void permute(const gathered& from, const tensor_view& out, cuda::stream_ref stream) {
  detail::check_permuted(from, out);
  const gathered_shape& shape = from.shape();
  if (shape.tokens == 0) return;
  const std::size_t bytes = size_of(from.type()), pitch = (shape.tokens == 1 ? shape.columns : out.strides[0]) * bytes;
  for (const row_segment s : from.row(0)) {
    cuda::check(cudaMemcpy2DAsync(static_cast<std::byte*>(out.data) + s.begin * bytes, pitch,
                                  static_cast<const std::byte*>(from.data()) + s.offset * bytes, s.count * bytes,
                                  s.count * bytes, shape.tokens, cudaMemcpyDeviceToDevice, stream),
                "cudaMemcpy2DAsync");
  }
}

}  // namespace v0
}  // namespace shardwise
