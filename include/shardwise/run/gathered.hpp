// SPDX-License-Identifier: Apache-2.0
// How gathered columns lie in memory, and who reads them by row.
#pragma once
#include <cstddef>
#include <cstring>

#include "shardwise/error.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/shard/step.hpp"

namespace shardwise {
inline namespace v0 {

/// Neighbouring columns of one row, which lie next to each other in memory too.
struct row_segment {
  std::size_t offset = 0;  ///< of the first one in the buffer, in elements
  std::size_t begin = 0;   ///< its column
  std::size_t count = 0;
  friend constexpr bool operator==(const row_segment&, const row_segment&) = default;
};

namespace detail {
/// A rank's columns of an output that is one group: an empty interval at the end where it has none.
constexpr interval columns_of(const step& s, int rank) {
  const intervals i = s.pieces(rank);
  return i.count == 0 ? interval{s.extent, s.extent} : i.at[0];
}
}  // namespace detail

/// How [T, V] lies in a buffer of T * V elements: row-major, or in segments [T, columns of a rank], one after the other
/// in rank order, each dense. The first `wide` segments have `width` columns, the others `narrow`; no segment is empty.
/// All of it is arithmetic, also for a kernel's arguments.
struct gathered_shape {
  std::size_t tokens = 0, columns = 0;
  std::size_t width = 0, wide = 0, narrow = 0;
  bool row_major = true;

  /// As the ranks' columns of a step lie, in segments: `tokens` rows of it.
  static constexpr gathered_shape of(const step& s, std::size_t tokens) {
    gathered_shape g{tokens, s.extent, detail::columns_of(s, 0).size(), 0, 0, false};
    for (int r = 0; r < s.tp; ++r) {
      const std::size_t n = detail::columns_of(s, r).size();
      if (n == g.width) ++g.wide;
      if (n < g.width && n > g.narrow) g.narrow = n;
    }
    return g;
  }
  /// How many pieces a row is in.
  constexpr std::size_t segments() const {
    if (columns == 0) return 0;
    const std::size_t rest = columns - wide * width;
    return row_major ? 1 : wide + (rest == 0 ? 0 : rest / narrow);
  }
  /// Piece `i` of row `t`.
  constexpr row_segment segment(std::size_t t, std::size_t i) const {
    if (row_major) return {t * columns, 0, columns};
    const std::size_t count = i < wide ? width : narrow;
    const std::size_t begin = i < wide ? i * width : wide * width + (i - wide) * narrow;
    return {tokens * begin + t * count, begin, count};
  }
  /// Where the element of row `t` and column `v` is.
  constexpr std::size_t index(std::size_t t, std::size_t v) const {
    if (row_major) return t * columns + v;
    const row_segment s = segment(t, v < wide * width ? v / width : wide + (v - wide * width) / narrow);
    return s.offset + (v - s.begin);
  }
  friend constexpr bool operator==(const gathered_shape&, const gathered_shape&) = default;
};

/// One row, as its segments: `for (const row_segment& s : logits.row(t))`.
class gathered_row {
 public:
  class iterator {
   public:
    constexpr iterator(const gathered_row* row, std::size_t i) : row_(row), i_(i) {}
    constexpr row_segment operator*() const { return (*row_)[i_]; }
    constexpr iterator& operator++() {
      ++i_;
      return *this;
    }
    friend constexpr bool operator==(const iterator&, const iterator&) = default;

   private:
    const gathered_row* row_;
    std::size_t i_;
  };

  constexpr gathered_row(const gathered_shape& shape, std::size_t token) : shape_(shape), token_(token) {}
  constexpr std::size_t size() const { return shape_.segments(); }
  constexpr row_segment operator[](std::size_t i) const { return shape_.segment(token_, i); }
  constexpr iterator begin() const { return {this, 0}; }
  constexpr iterator end() const { return {this, size()}; }

 private:
  gathered_shape shape_;
  std::size_t token_;
};

/// What `gather_output` made: [T, V] in somebody else's buffer, whole on every rank. Owns nothing; immutable.
class gathered {
 public:
  constexpr gathered(void* data, dtype type, const gathered_shape& shape) : data_(data), type_(type), shape_(shape) {}

  constexpr void* data() const { return data_; }
  constexpr dtype type() const { return type_; }
  constexpr const gathered_shape& shape() const { return shape_; }
  constexpr bool is_row_major() const { return shape_.row_major; }
  constexpr gathered_row row(std::size_t t) const { return {shape_, t}; }

  /// As a dense tensor [T, V]. Throws `placement_error` where it is in segments.
  constexpr tensor_view tensor() const {
    if (!shape_.row_major) {
      detail::raise(placement_error("the ", shape_.columns, " columns of ", shape_.tokens, " tokens are in ",
                                    shape_.segments(),
                                    " segments, one for each rank, and are no [T, V]: read them by "
                                    "row(t), permute them, or raise row_major_up_to"));
    }
    return {data_, type_, {shape_.tokens, shape_.columns}};
  }

  /// One element, in host memory. `T` is the engine's type for the dtype.
  template <class T>
  T& at(std::size_t t, std::size_t v) const {
    return static_cast<T*>(data_)[shape_.index(t, v)];
  }

 private:
  void* data_;
  dtype type_;
  gathered_shape shape_;
};

namespace detail {
inline void check_permuted(const gathered& from, const tensor_view& out) {
  const gathered_shape& shape = from.shape();
  if (!(out.shape == tensor_shape{shape.tokens, shape.columns}) || out.type != from.type() ||
      (shape.columns > 1 && out.strides[1] != 1)) {
    raise(placement_error("permute writes ", shape.tokens, " dense rows of ", shape.columns, " columns of ",
                          name_of(from.type()), ", and was given another tensor"));
  }
}
}  // namespace detail

/// The second pass that `gather_output` saves, for a consumer that must have [T, V]: copies the rows of `from`, in host
/// memory, to `out` [T, V], whose rows may be apart. The two do not overlap. Throws `placement_error` for an `out` of
/// another shape or type.
inline void permute(const gathered& from, const tensor_view& out) {
  detail::check_permuted(from, out);
  const std::size_t bytes = size_of(from.type());
  for (std::size_t t = 0; t < from.shape().tokens; ++t) {
    auto* row = static_cast<std::byte*>(out.data) + t * out.strides[0] * bytes;
    for (const row_segment s : from.row(t)) {
      std::memcpy(row + s.begin * bytes, static_cast<const std::byte*>(from.data()) + s.offset * bytes,
                  s.count * bytes);
    }
  }
}

}  // namespace v0
}  // namespace shardwise
