// SPDX-License-Identifier: Apache-2.0
// The one product that this program makes.
#pragma once
#include <cublas_v2.h>

#include <string>
#include <utility>

#include "shardwise/cuda/stream.hpp"
#include "shardwise/error.hpp"
#include "shardwise/model/tensor_view.hpp"

namespace lm_head {
namespace sw = shardwise;

inline void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw sw::error(call, ": ", cublasGetStatusString(status));
}

/// cuBLAS on one stream, in plain float32.
class blas {
 public:
  explicit blas(sw::cuda::stream_ref stream) {
    check(cublasCreate(&handle_), "cublasCreate");
    // No TF32, whatever the environment says: it has the mantissa of half precision.
    check(cublasSetMathMode(handle_, CUBLAS_PEDANTIC_MATH), "cublasSetMathMode");
    check(cublasSetStream(handle_, stream), "cublasSetStream");
  }
  blas(const blas&) = delete;
  ~blas() { cublasDestroy(handle_); }

  int version() const {
    int v = 0;
    check(cublasGetVersion(handle_, &v), "cublasGetVersion");
    return v;
  }

  /// y [T, rows of w] = x [T, H] times w [rows, H] transposed. x and w are dense; rows of y may be apart.
  void multiply(const sw::tensor_view& x, const sw::tensor_view& w, const sw::tensor_view& y) {
    if (y.elements() == 0) return;
    const int tokens = static_cast<int>(x.shape[0]), inner = static_cast<int>(x.shape[1]);
    const float one = 1, zero = 0;
    // cuBLAS counts columns first: what is row-major for us is the transposed for it.
    check(cublasSgemm(handle_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(w.shape[0]), tokens, inner, &one,
                      static_cast<const float*>(w.data), inner, static_cast<const float*>(x.data), inner, &zero,
                      static_cast<float*>(y.data), static_cast<int>(y.strides[0])),
          "cublasSgemm");
  }

 private:
  cublasHandle_t handle_ = nullptr;
};

}  // namespace lm_head
