// SPDX-License-Identifier: Apache-2.0
#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>

#include "catch.hpp"
#include "fake/tests/bodies.hpp"

TEST_CASE("the product is column-major, with transposes, and writes only its own columns") {
  cublasHandle_t handle = nullptr;
  cudaStream_t stream = nullptr;
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  {
    constexpr int m = 2, n = 3, k = 4, ldc = 5;
    const bool transposed = GENERATE(true, false);
    const auto a_of = [](std::size_t row, std::size_t i) { return static_cast<double>(10 * row + i); };
    const auto b_of = [](std::size_t i, std::size_t column) { return static_cast<double>(i + 2 * column); };
    // a is [m, k] column-major, or its transpose; b is [k, n] column-major.
    const bodies::buffer a(ncclFloat32, m * k, 0,
                           [&](std::size_t at) { return transposed ? a_of(at / k, at % k) : a_of(at % m, at / m); });
    const bodies::buffer b(ncclFloat32, k * n, 0, [&](std::size_t at) { return b_of(at % k, at / k); });
    const bodies::buffer c(ncclFloat32, ldc * n, 0, [](std::size_t) { return -1.0; });
    const float alpha = 2, beta = 0;
    const auto f = [](const bodies::buffer& x) { return static_cast<float*>(x.at()); };
    REQUIRE(cublasSgemm(handle, transposed ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &alpha, f(a),
                        transposed ? k : m, f(b), k, &beta, f(c), ldc) == CUBLAS_STATUS_SUCCESS);
    CHECK(c.wrong(stream, [&](std::size_t at) {
      const std::size_t row = at % ldc, column = at / ldc;
      if (row >= m) return -1.0;
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i) sum += a_of(row, i) * b_of(i, column);
      return 2 * sum;
    }) == 0);
    CHECK(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &alpha, f(a), m, f(b), k, &beta, f(c), 1) ==
          CUBLAS_STATUS_INVALID_VALUE);
    CHECK(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, 9, k, &alpha, f(a), m, f(b), k, &beta, f(c), ldc) ==
          CUBLAS_STATUS_EXECUTION_FAILED);
  }
  CHECK(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
}
#endif
