// SPDX-License-Identifier: Apache-2.0
#include "shardwise/cuda/permute.hpp"

#include <cstddef>
#include <vector>

#include "device_tensors.hpp"

using namespace support;

namespace {
float logit(std::size_t t, std::size_t v) { return static_cast<float>(t * 4099 + v * 7 + 1); }
}  // namespace

TEST_CASE("segments in a device's memory become row-major, and what lies between the rows stays") {
  if (!has_device()) return;
  const sw::cuda::stream stream;
  for (const std::size_t tokens : {0u, 1u, 3u, 65u}) {
    for (const std::size_t columns : {1u, 9u, 240u, 241u}) {
      for (const std::size_t width : {1u, 3u, 61u, 241u}) {
        for (const bool row_major : {false, true}) {
          INFO(tokens << " rows of " << columns << " columns, " << width << " a rank, row-major " << row_major);
          const sw::gathered_shape shape{tokens, columns, width, columns / width, columns % width, row_major};
          const std::size_t apart = columns + 3;
          std::vector<float> in(tokens * columns), out(tokens * apart, -1), expected = out;
          for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t v = 0; v < columns; ++v) {
              in[shape.index(t, v)] = expected[t * apart + v] = logit(t, v);
            }
          }
          const sw::cuda::device_memory from(in.size() * 4 + 4), to(out.size() * 4 + 4);
          upload(from.data(), in);
          upload(to.data(), out);
          sw::tensor_view rows(to.data(), sw::dtype::f32, {tokens, columns});
          rows.strides[0] = apart;
          sw::permute(sw::gathered(from.data(), sw::dtype::f32, shape), rows, stream);
          stream.synchronize();
          CHECK(download<float>(to.data(), out.size()) == expected);
        }
      }
    }
  }
}

TEST_CASE("permute on a stream refuses another shape, another type, and rows with gaps") {
  if (!has_device()) return;
  const sw::cuda::stream stream;
  const sw::cuda::device_memory memory(64);
  const sw::gathered from(memory.data(), sw::dtype::f32, {2, 4, 2, false});
  sw::tensor_view gaps(memory.data(), sw::dtype::f32, {2, 4});
  gaps.strides[1] = 2;
  for (const sw::tensor_view& out : {sw::tensor_view(memory.data(), sw::dtype::f32, {4, 2}),
                                     sw::tensor_view(memory.data(), sw::dtype::i32, {2, 4}), gaps}) {
    CHECK_THROWS_MATCHES(sw::permute(from, out, stream), sw::placement_error,
                         says("permute writes 2 dense rows of 4 columns of F32"));
  }
}
