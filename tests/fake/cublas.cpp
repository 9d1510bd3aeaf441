// SPDX-License-Identifier: Apache-2.0
// The one product of cuBLAS that the example uses, as a plain loop in the stream's order.
#include <cublas_v2.h>
#include <cstdint>

#include "fake/device.hpp"
#include "fake/memory.hpp"
#include "fake/stream.hpp"

struct cublasContext {
  int device = 0;
  cudaStream_t stream = nullptr;
};

namespace fake {
namespace {

// c [m, n] = alpha op(a) op(b) + beta c; all column-major.
struct product {
  bool a_transposed, b_transposed;
  int m, n, k;
  float alpha, beta;
  const float* a;
  const float* b;
  float* c;
  std::int64_t lda, ldb, ldc;

  void operator()() const {
    for (std::int64_t column = 0; column < n; ++column) {
      for (std::int64_t row = 0; row < m; ++row) {
        float sum = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          sum += (a_transposed ? a[row * lda + i] : a[i * lda + row]) *
                 (b_transposed ? b[i * ldb + column] : b[column * ldb + i]);
        }
        float& to = c[column * ldc + row];
        to = beta == 0 ? alpha * sum : alpha * sum + beta * to;  // where beta is 0, c is not read
      }
    }
  }
};

// A matrix of columns `ld` apart lies on the device as a whole.
bool on_device(const float* at, std::int64_t rows, std::int64_t columns, std::int64_t ld, int device) {
  if (rows == 0 || columns == 0) return true;
  const auto b = find_block(at);
  const auto needed = static_cast<std::size_t>((columns - 1) * ld + rows) * sizeof(float);
  return b && (b->pinned || b->device == device) && b->rest(at) >= needed;
}

cublasStatus_t entered(function f) {
  const auto hit = enter(f);
  return hit && hit->what == fake_gpu::action::fail ? static_cast<cublasStatus_t>(hit->result) : CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace fake

using namespace fake;

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  if (const auto e = entered(function::cublasCreate_v2); e != CUBLAS_STATUS_SUCCESS) return e;
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (device_count() == 0) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext{current_device(), nullptr};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (const auto e = entered(function::cublasDestroy_v2); e != CUBLAS_STATUS_SUCCESS) return e;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  if (const auto e = entered(function::cublasSetStream_v2); e != CUBLAS_STATUS_SUCCESS) return e;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                              int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                              const float* beta, float* c, int ldc) {
  if (const auto e = entered(function::cublasSgemm_v2); e != CUBLAS_STATUS_SUCCESS) return e;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool a_transposed = op_a != CUBLAS_OP_N, b_transposed = op_b != CUBLAS_OP_N;
  const int a_rows = a_transposed ? k : m, a_columns = a_transposed ? m : k;
  const int b_rows = b_transposed ? n : k, b_columns = b_transposed ? k : n;
  const auto too_short = [](int ld, int rows) { return ld < (rows > 1 ? rows : 1); };
  if (m < 0 || n < 0 || k < 0 || alpha == nullptr || beta == nullptr || too_short(lda, a_rows) ||
      too_short(ldb, b_rows) || too_short(ldc, m)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const auto s = find_stream(handle->stream, handle->device);
  // cuBLAS would read or write an illegal address.
  if (!s || !on_device(a, a_rows, a_columns, lda, handle->device) ||
      !on_device(b, b_rows, b_columns, ldb, handle->device) || !on_device(c, m, n, ldc, handle->device)) {
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  const product p{a_transposed, b_transposed, m, n, k, *alpha, *beta, a, b, c, lda, ldb, ldc};
  return s->post(task::of(node_kind::kernel, p)) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                : CUBLAS_STATUS_EXECUTION_FAILED;
}

// The loop is plain float32 in every mode.
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t) {
  if (const auto e = entered(function::cublasSetMathMode); e != CUBLAS_STATUS_SUCCESS) return e;
  return handle == nullptr ? CUBLAS_STATUS_NOT_INITIALIZED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int* version) {
  if (const auto e = entered(function::cublasGetVersion_v2); e != CUBLAS_STATUS_SUCCESS) return e;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (version == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  count_call(function::cublasGetStatusString);
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    default: return "unknown status";
  }
}
