// SPDX-License-Identifier: Apache-2.0
// Reductions as MPI knows them: its own where they are what we promise, ours where they are not.
#pragma once
#include <cstddef>

#include "shardwise/comm/detail/reduce.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/mpi/detail/header.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {
namespace mpi {
namespace detail {

/// The operations that we have made; freed with the last communicator that refers to them.
class operations {
 public:
  operations() {
    make<dtype::f16, reduction::sum>(f16_sum_);
    make<dtype::bf16, reduction::sum>(bf16_sum_);
    make<dtype::f16, reduction::max>(f16_max_);
    make<dtype::bf16, reduction::max>(bf16_max_);
    make<dtype::f32, reduction::max>(f32_max_);
    make<dtype::f64, reduction::max>(f64_max_);
    make<dtype::u8, reduction::sum>(u8_sum_);
  }
  operations(const operations&) = delete;
  ~operations() {
    int over = 0;
    MPI_Finalized(&over);
    if (over != 0) return;
    for (MPI_Op* op : {&f16_sum_, &bf16_sum_, &f16_max_, &bf16_max_, &f32_max_, &f64_max_, &u8_sum_}) MPI_Op_free(op);
  }

  /// MPI's where it can be. Its maximum of floats loses a NaN, it has no 16-bit floats, and Open MPI's sum of bytes
  /// stops at 255 where it is vectorized.
  MPI_Op of(dtype type, reduction how) const {
    const bool sum = how == reduction::sum;
    switch (type) {
      case dtype::f16: return sum ? f16_sum_ : f16_max_;
      case dtype::bf16: return sum ? bf16_sum_ : bf16_max_;
      case dtype::f32: return sum ? MPI_SUM : f32_max_;
      case dtype::f64: return sum ? MPI_SUM : f64_max_;
      case dtype::u8: return sum ? u8_sum_ : MPI_MAX;
      default: return sum ? MPI_SUM : MPI_MAX;
    }
  }

  /// As what MPI sees the elements of a reduction. Signed integers are summed as unsigned ones: they wrap around.
  static MPI_Datatype type_of(dtype type, reduction how) {
    const bool sum = how == reduction::sum;
    switch (type) {
      case dtype::f32: return MPI_FLOAT;
      case dtype::f64: return MPI_DOUBLE;
      case dtype::i32: return sum ? MPI_UINT32_T : MPI_INT32_T;
      case dtype::i64: return sum ? MPI_UINT64_T : MPI_INT64_T;
      case dtype::u8: return MPI_UINT8_T;
      default: return MPI_UINT16_T;  // the bits of a 16-bit float
    }
  }

 private:
  template <dtype Type, reduction How>
  static void make(MPI_Op& op) {
    MPI_Op_create(
        [](void* in, void* inout, int* count, MPI_Datatype*) {
          const auto source = [&](int r) { return static_cast<const std::byte*>(r == 0 ? in : inout); };
          shardwise::detail::reduce(2, source, static_cast<std::size_t>(*count), Type, How,
                                    static_cast<std::byte*>(inout));
        },
        1, &op);
  }

  MPI_Op f16_sum_, bf16_sum_, f16_max_, bf16_max_, f32_max_, f64_max_, u8_sum_;
};

}  // namespace detail
}  // namespace mpi
}  // namespace v0
}  // namespace shardwise
