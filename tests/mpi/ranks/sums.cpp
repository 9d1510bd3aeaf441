// SPDX-License-Identifier: Apache-2.0
// What reductions give where MPI's own would differ: NaN, 16-bit floats, wrap-around.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "rank.hpp"
#include "shardwise/model/half.hpp"

namespace {
using namespace mpi_test;
using sw::dtype;
using sw::reduction;

/// Rank r has `by_rank[r]`, or `rest` where that has no more.
template <class T>
struct reduced_value {
  sw::mpi::communicator& comm;
  T operator()(const std::vector<T>& by_rank, T rest, dtype type, reduction op) const {
    const auto mine = static_cast<std::size_t>(comm.rank());
    // Many of them, since MPI may have other code for vectors; what differs from the first shows as the default.
    std::vector<T> x(1001, mine < by_rank.size() ? by_rank[mine] : rest);
    comm.all_reduce(x.data(), x.data(), x.size(), type, op);
    for (const T& other : x) {
      if (std::memcmp(&other, x.data(), sizeof other) != 0) return T{};
    }
    return x[0];
  }
};

// For 4 ranks.
std::size_t check_sums(sw::mpi::communicator& comm) {
  std::size_t wrong = 0;
  const auto expect = [&](bool right, const char* what) {
    if (!right) std::printf("rank %d: wrong: %s\n", comm.rank(), what);
    wrong += right ? 0 : 1;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const reduced_value<float> f32{comm};
  const reduced_value<double> f64{comm};
  const reduced_value<std::uint16_t> half{comm};
  for (std::size_t at = 0; at < 4; ++at) {
    std::vector<float> floats = {infinity, -1, 3, -2};
    floats[at] = nan;
    expect(std::isnan(f32(floats, 0, dtype::f32, reduction::max)), "max of f32 with a NaN");
    std::vector<double> doubles = {-1, -infinity, 3, 5};
    doubles[at] = nan;
    expect(std::isnan(f64(doubles, 0, dtype::f64, reduction::max)), "max of f64 with a NaN");
    std::vector<std::uint16_t> f16 = {0x7c00, 0, 0, 0}, bf16 = {0x7f80, 0, 0, 0};
    f16[at] = 0x7e01;
    bf16[at] = 0xffc1;
    expect(std::isnan(sw::detail::from_f16(half(f16, 0, dtype::f16, reduction::max))), "max of f16 with a NaN");
    expect(std::isnan(sw::detail::from_bf16(half(bf16, 0, dtype::bf16, reduction::max))), "max of bf16 with a NaN");
  }
  expect(f32({-infinity, -2, -3, -4}, -5, dtype::f32, reduction::max) == -2, "max of negative f32");

  // Near 256 bf16 has steps of 2, near 2048 f16 has. In any order of two by two: between no step up and four.
  const auto bf16 = [](float x) { return sw::detail::to_bf16(x); };
  const auto f16 = [](float x) { return sw::detail::to_f16(x); };
  const float b = sw::detail::from_bf16(half({bf16(256), bf16(1), bf16(1), bf16(1)}, 0, dtype::bf16, reduction::sum));
  expect(b >= 256 && b <= 260, "sum of bf16, rounded two by two");
  const float h = sw::detail::from_f16(half({f16(2048), f16(2), f16(-4), f16(8)}, 0, dtype::f16, reduction::sum));
  expect(h == 2054, "sum of f16 that is exact in any order");
  expect(std::isinf(sw::detail::from_f16(half({f16(60000), f16(60000), 0, 0}, 0, dtype::f16, reduction::sum))),
         "sum of f16 that is too large");

  const reduced_value<std::int32_t> i32{comm};
  const reduced_value<std::int64_t> i64{comm};
  const reduced_value<std::uint8_t> u8{comm};
  using limits32 = std::numeric_limits<std::int32_t>;
  using limits64 = std::numeric_limits<std::int64_t>;
  expect(i32({limits32::max(), 1}, 0, dtype::i32, reduction::sum) == limits32::min(), "sum of i32 that wraps around");
  expect(i64({limits64::min(), -1}, 0, dtype::i64, reduction::sum) == limits64::max(), "sum of i64 that wraps around");
  expect(u8({200, 100}, 0, dtype::u8, reduction::sum) == 44, "sum of u8 that wraps around");
  expect(u8({200, 100}, 0, dtype::u8, reduction::max) == 200, "max of u8");
  expect(i32({-7, -3}, -9, dtype::i32, reduction::max) == -3, "max of negative i32");
  const std::int64_t big = (std::int64_t{1} << 60) + 1;
  expect(i64({big, big + 1}, 0, dtype::i64, reduction::max) == big + 1, "max of i64 beyond a double");

  // The same bits on every rank, whatever the order was.
  std::vector<float> x(10007);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::ldexp(1.0f + static_cast<float>(i % 97) / 97,
                      static_cast<int>(i * 7 + 5 * static_cast<std::size_t>(comm.rank())) % 40 - 20);
  }
  comm.all_reduce(x.data(), x.data(), x.size(), dtype::f32, reduction::sum);
  std::vector<float> all(x.size() * static_cast<std::size_t>(comm.size()));
  comm.all_gather(x.data(), all.data(), x.size(), dtype::f32);
  for (std::size_t i = 0; i < all.size(); ++i) wrong += all[i] != x[i % x.size()] ? 1u : 0u;
  return wrong;
}

const named sums("sums", [] {
  const environment mpi;
  auto comm = sw::mpi::communicator::adopt(MPI_COMM_WORLD);
  return verdict(check_sums(comm));
});

}  // namespace
