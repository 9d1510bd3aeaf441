// SPDX-License-Identifier: Apache-2.0
// The states that go into the head, and the logits that have to come out.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/safetensors.hpp"
#include "shardwise/run/gathered.hpp"

namespace lm_head {
namespace sw = shardwise;

/// A tensor [..., columns] as rows.
struct matrix {
  std::vector<float> values;
  std::size_t rows = 0, columns = 0;
};

/// Throws where the file has no such tensor.
inline matrix read_matrix(const std::filesystem::path& path, std::string_view name) {
  const auto file = sw::checkpoint::safetensors_file::open(path);
  const std::size_t i = file.find(name);
  if (i == file.npos) {
    throw sw::checkpoint_error(path.string(), " has no tensor '", name,
                               "'; --expect is a file with final_norm and logits");
  }
  const sw::tensor_shape shape = file.info(i).shape;
  matrix m{std::vector<float>(shape.elements()), 0, shape.last()};
  m.rows = m.columns == 0 ? 0 : m.values.size() / m.columns;
  file.read(i, sw::box::whole(shape), {m.values.data(), sw::dtype::f32, shape});
  return m;
}

/// The largest distance of the logits of a step from rows `first` and following of `expected`; infinite where one is no
/// number. `logits` are in host memory.
inline double difference(const sw::gathered& logits, const matrix& expected, std::size_t first) {
  double largest = 0;
  for (std::size_t t = 0; t < logits.shape().tokens; ++t) {
    const float* row = expected.values.data() + (first + t) * expected.columns;
    for (std::size_t v = 0; v < expected.columns; ++v) {
      const double d = std::abs(static_cast<double>(logits.at<float>(t, v)) - static_cast<double>(row[v]));
      if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, d);
    }
  }
  return largest;
}

}  // namespace lm_head
