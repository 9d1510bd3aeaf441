// SPDX-License-Identifier: Apache-2.0
// Where elements lie, as a datatype of MPI: blocks of any size, strided rows.
#pragma once
#include <cstddef>
#include <utility>

#include "shardwise/model/dtype.hpp"
#include "shardwise/mpi/detail/header.hpp"

namespace shardwise {
inline namespace v0 {
namespace mpi {
namespace detail {

/// What is moved has no arithmetic: a type of its size.
inline MPI_Datatype moved_as(dtype type) {
  switch (size_of(type)) {
    case 1: return MPI_UINT8_T;
    case 2: return MPI_UINT16_T;
    case 4: return MPI_UINT32_T;
    default: return MPI_UINT64_T;
  }
}

/// `count` times `type`, from an address on. Owns the type where it had to be made; MPI keeps what a call under way
/// still needs.
class layout {
 public:
  layout() = default;
  layout(layout&& other) noexcept
      : count_(std::exchange(other.count_, 0)),
        type_(std::exchange(other.type_, MPI_UINT8_T)),
        made_(std::exchange(other.made_, false)) {}
  layout& operator=(layout&&) = delete;
  ~layout() {
    if (made_) MPI_Type_free(&type_);
  }

  int count() const { return count_; }
  MPI_Datatype type() const { return type_; }

  /// `elements`, one after the other; more than `largest` bytes are one element of a made type, since MPI counts in
  /// `int`.
  static layout block(std::size_t elements, dtype type, std::size_t largest) {
    layout whole;
    if (elements <= largest / size_of(type)) {
      whole.count_ = static_cast<int>(elements);
      whole.type_ = moved_as(type);
      return whole;
    }
    const std::size_t unit = largest / size_of(type) != 0 ? largest / size_of(type) : 1;
    const std::size_t units = elements / unit, rest = elements % unit;
    MPI_Datatype of_unit = MPI_DATATYPE_NULL, of_units = MPI_DATATYPE_NULL, all = MPI_DATATYPE_NULL;
    MPI_Type_contiguous(static_cast<int>(unit), moved_as(type), &of_unit);
    MPI_Type_contiguous(static_cast<int>(units), of_unit, &of_units);
    const int counts[] = {1, static_cast<int>(rest)};
    const MPI_Aint at[] = {0, static_cast<MPI_Aint>(units * unit * size_of(type))};
    const MPI_Datatype types[] = {of_units, moved_as(type)};
    MPI_Type_create_struct(2, counts, at, types, &all);
    whole.own(all);
    MPI_Type_free(&of_units);
    MPI_Type_free(&of_unit);
    return whole;
  }

  /// `rows` of `width` elements, `stride` elements apart; the next such thing begins `width` elements further on.
  static layout rows(std::size_t rows, std::size_t width, std::size_t stride, dtype type, std::size_t largest) {
    layout row = block(width, type, largest);
    if (rows == 1) return row;
    const auto bytes = [&](std::size_t elements) { return static_cast<MPI_Aint>(elements * size_of(type)); };
    layout all;
    MPI_Datatype lines = MPI_DATATYPE_NULL, spaced = MPI_DATATYPE_NULL;
    MPI_Type_create_hvector(static_cast<int>(rows), row.count_, bytes(stride), row.type_, &lines);
    MPI_Type_create_resized(lines, 0, bytes(width), &spaced);
    all.own(spaced);
    MPI_Type_free(&lines);
    return all;
  }

  /// This, `bytes` further on.
  layout displaced(std::size_t bytes) const {
    layout there;
    const auto at = static_cast<MPI_Aint>(bytes);
    MPI_Datatype moved = MPI_DATATYPE_NULL;
    MPI_Type_create_struct(1, &count_, &at, &type_, &moved);
    there.own(moved);
    return there;
  }

 private:
  void own(MPI_Datatype made) {
    type_ = made;
    MPI_Type_commit(&type_);
    count_ = 1;
    made_ = true;
  }

  int count_ = 0;
  MPI_Datatype type_ = MPI_UINT8_T;
  bool made_ = false;
};

}  // namespace detail
}  // namespace mpi
}  // namespace v0
}  // namespace shardwise
