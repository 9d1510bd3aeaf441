// SPDX-License-Identifier: Apache-2.0
// Shapes, and boxes of them: plain values with room for `max_dims` dims, usable in constant expressions.
#pragma once
#include <cstddef>
#include <initializer_list>

#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {

/// No tensor of the model families that we know has more than five dims.
inline constexpr std::size_t max_dims = 8;

namespace detail {
[[noreturn]] inline void a_shape_has_too_many_dims(std::size_t n) {
  raise(shard_error("a shape has ", n, " dims, and shardwise holds at most ", max_dims));
}
}  // namespace detail

/// Extents of a tensor, outermost first. Zero dims is a scalar.
class tensor_shape {
 public:
  constexpr tensor_shape() = default;
  constexpr tensor_shape(std::initializer_list<std::size_t> extents) {
    for (std::size_t n : extents) push(n);
  }

  constexpr std::size_t dims() const { return dims_; }
  constexpr std::size_t operator[](std::size_t dim) const { return extent_[dim]; }
  constexpr std::size_t& operator[](std::size_t dim) { return extent_[dim]; }
  constexpr const std::size_t* begin() const { return extent_; }
  constexpr const std::size_t* end() const { return extent_ + dims_; }
  constexpr std::size_t last() const { return dims_ == 0 ? 1 : extent_[dims_ - 1]; }

  constexpr void push(std::size_t extent) {
    if (dims_ == max_dims) detail::a_shape_has_too_many_dims(dims_ + 1);
    extent_[dims_++] = extent;
  }

  /// The number of elements. Whoever reads a shape from outside checks that this does not overflow.
  constexpr std::size_t elements() const {
    std::size_t n = 1;
    for (std::size_t e : *this) n *= e;
    return n;
  }

  friend constexpr bool operator==(const tensor_shape& a, const tensor_shape& b) {
    if (a.dims_ != b.dims_) return false;
    for (std::size_t i = 0; i < a.dims_; ++i) {
      if (a.extent_[i] != b.extent_[i]) return false;
    }
    return true;
  }

 private:
  std::size_t extent_[max_dims] = {};
  std::size_t dims_ = 0;
};

/// A rectangular piece of a tensor: `extent[d]` elements from `offset[d]` on, in each dim.
struct box {
  tensor_shape offset, extent;

  /// The whole of a tensor.
  static constexpr box whole(const tensor_shape& s) {
    box b{s, s};
    for (std::size_t d = 0; d < s.dims(); ++d) b.offset[d] = 0;
    return b;
  }
  constexpr std::size_t elements() const { return extent.elements(); }
  friend constexpr bool operator==(const box&, const box&) = default;
};

}  // namespace v0
}  // namespace shardwise
