// SPDX-License-Identifier: Apache-2.0
// The engine's own tensor, and how shardwise sees it.
#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "shardwise/model/tensor_view.hpp"

namespace generate {
namespace sw = shardwise;

/// Bytes of all tensors of one thread, which is a rank or has one: now, and at most since `start`.
struct tensor_meter {
  std::ptrdiff_t now = 0, most = 0;
  void add(std::size_t bytes) {
    now += static_cast<std::ptrdiff_t>(bytes);
    most = std::max(most, now);
  }
  void remove(std::size_t bytes) { now -= static_cast<std::ptrdiff_t>(bytes); }
  std::ptrdiff_t start() { return most = now; }
  static tensor_meter& of_thread() {
    thread_local tensor_meter meter;
    return meter;
  }
};

/// float32, dense, row-major. Copies share their elements, as handles do. New elements are zero.
class tensor {
 public:
  tensor() = default;
  explicit tensor(const sw::tensor_shape& shape) : shape_(shape), data_(allocate(shape.elements())) {}

  const sw::tensor_shape& shape() const { return shape_; }
  std::size_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return empty() ? 0 : elements() * sizeof(float); }
  bool empty() const { return data_ == nullptr; }
  float* data() const { return data_.get(); }

  /// An activation is [tokens, features]: its rows, its columns, and where a row begins. A vector is one row.
  std::size_t columns() const { return shape_.last(); }
  std::size_t rows() const {
    std::size_t n = 1;
    for (std::size_t d = 0; d + 1 < shape_.dims(); ++d) n *= shape_[d];
    return n;
  }
  float* row(std::size_t i) const { return data_.get() + i * columns(); }

 private:
  // Zero pages: the weights of a rank cost no memory before they are read.
  static std::shared_ptr<float[]> allocate(std::size_t n) {
    auto* p = static_cast<float*>(std::calloc(n == 0 ? 1 : n, sizeof(float)));
    if (p == nullptr) throw std::bad_alloc();
    tensor_meter::of_thread().add(n * sizeof(float));
    return {p, [n](float* q) {
              tensor_meter::of_thread().remove(n * sizeof(float));
              std::free(q);
            }};
  }

  sw::tensor_shape shape_;
  std::shared_ptr<float[]> data_;
};

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using matrix_map = Eigen::Map<matrix, 0, Eigen::OuterStride<>>;

constexpr Eigen::Index index_of(std::size_t n) { return static_cast<Eigen::Index>(n); }

/// `rows` rows of `columns` elements, `stride` elements apart.
inline matrix_map map(float* data, std::size_t rows, std::size_t columns, std::size_t stride) {
  return {data, index_of(rows), index_of(columns), Eigen::OuterStride<>(index_of(stride))};
}
inline matrix_map map(const tensor& t) { return map(t.data(), t.rows(), t.columns(), t.columns()); }

/// x [tokens, in] times a weight [out, in]: [tokens, out]. Summed in double: models with linear attention norm heads
/// whose values are small, which enlarges the noise of float sums more than tenfold.
inline tensor times(const tensor& x, const matrix_map& weight) {
  using exact = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  tensor y({x.rows(), static_cast<std::size_t>(weight.rows())});
  if (y.elements() == 0) return y;
  const exact in = map(x).cast<double>();
  exact some, out;  // of the weight's rows, and of what comes out: as much as a cache holds
  const Eigen::Index most = std::max<Eigen::Index>(8, (1 << 15) / std::max<Eigen::Index>(1, weight.cols()));
  for (Eigen::Index row = 0; row < weight.rows(); row += most) {
    some = weight.middleRows(row, std::min(most, weight.rows() - row)).cast<double>();
    if (in.rows() == 1) {
      out.resize(1, some.rows());
      out.row(0).transpose().noalias() = some * in.row(0).transpose();
    } else {
      out.noalias() = in * some.transpose();
    }
    map(y).middleCols(row, some.rows()) = out.cast<float>();
  }
  return y;
}

/// The same with a weight that is stored [in, out].
inline tensor times_stored_by_input(const tensor& x, const matrix_map& weight) {
  const matrix by_output = weight.transpose();
  return times(x, map(const_cast<float*>(by_output.data()), static_cast<std::size_t>(by_output.rows()),
                      static_cast<std::size_t>(by_output.cols()), static_cast<std::size_t>(by_output.cols())));
}

}  // namespace generate

/// All that shardwise asks of an engine's tensor.
template <>
struct shardwise::tensor_traits<generate::tensor> {
  static tensor_view view(generate::tensor& t) { return {t.data(), dtype::f32, t.shape()}; }
  static generate::tensor empty_like(const generate::tensor&, const tensor_shape& shape) {
    return generate::tensor(shape);
  }
  static generate::tensor columns(const generate::tensor& t, std::size_t begin, std::size_t extent) {
    generate::tensor out({t.rows(), extent});
    generate::map(out) = generate::map(t).middleCols(generate::index_of(begin), generate::index_of(extent));
    return out;
  }
  template <class Stream>
  static generate::tensor rows(const generate::tensor& t, std::size_t begin, std::size_t extent, Stream) {
    generate::tensor out({extent, t.columns()});
    const std::size_t end = std::min(t.rows(), begin + extent);
    if (begin < end) std::copy_n(t.row(begin), (end - begin) * t.columns(), out.data());
    return out;
  }
  template <class Stream>
  static void add_to_rows(generate::tensor& x, const generate::tensor& bias, Stream) {
    generate::map(x).rowwise() += generate::map(bias).row(0);
  }
};
