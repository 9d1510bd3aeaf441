// SPDX-License-Identifier: Apache-2.0
// The bits of reductions: rank order, one rounding, NaN, wrap-around.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "catch.hpp"
#include "shardwise/comm/in_process.hpp"
#include "support.hpp"

using namespace comm_test;
using ranked = sw::in_process_communicator;

namespace {

// What rank `rank` holds: numbers of very different size, so that another order gives other bits.
template <class T>
std::vector<T> wild(int rank, std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(rank) + 1);
  std::uniform_real_distribution<T> mantissa(-1, 1);
  std::uniform_int_distribution<int> exponent(-20, 20);
  std::vector<T> x(count);
  for (T& v : x) v = std::ldexp(mantissa(random), exponent(random));
  return x;
}

template <class T>
std::vector<T> in_rank_order(int ranks, std::size_t count) {
  std::vector<T> sum = wild<T>(0, count);
  for (int r = 1; r < ranks; ++r) {
    const std::vector<T> x = wild<T>(r, count);
    for (std::size_t i = 0; i < count; ++i) sum[i] += x[i];
  }
  return sum;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
std::vector<T> all_reduced(const std::vector<T>& by_rank, sw::dtype type, sw::reduction op) {
  const auto results = sw::in_process(static_cast<int>(by_rank.size()), [&](ranked& c) {
    T x = by_rank[as_size(c.rank())];
    c.all_reduce(&x, &x, 1, type, op);
    return x;
  });
  return results;
}

template <class T>
void check_sums(sw::dtype type) {
  for (const int ranks : rank_counts) {
    for (const std::size_t count : {std::size_t{3}, std::size_t{10007}}) {
      CAPTURE(ranks, count);
      const std::vector<T> expected = in_rank_order<T>(ranks, count);
      for (int run = 0; run < 5; ++run) {
        for (const std::vector<T>& sum : sw::in_process(ranks, [&](ranked& c) {
               std::vector<T> x = wild<T>(c.rank(), count);
               c.all_reduce(x.data(), x.data(), count, type, sw::reduction::sum);
               return x;
             })) {
          CHECK(same_bits(sum, expected));
        }
      }
      const auto pieces = sw::in_process(ranks, [&](ranked& c) {
        const std::vector<T> x = wild<T>(c.rank(), count);
        std::vector<T> mine(count / as_size(ranks));
        c.reduce_scatter(x.data(), mine.data(), mine.size(), type, sw::reduction::sum);
        return mine;
      });
      for (int r = 0; r < ranks; ++r) {
        const std::vector<T>& mine = pieces[as_size(r)];
        const auto begin = expected.begin() + static_cast<std::ptrdiff_t>(as_size(r) * mine.size());
        CHECK(same_bits(mine, std::vector<T>(begin, begin + static_cast<std::ptrdiff_t>(mine.size()))));
      }
    }
  }
}

}  // namespace

TEST_CASE("sums are in rank order, with the same bits on every rank and in every run") {
  check_sums<float>(sw::dtype::f32);
  check_sums<double>(sw::dtype::f64);
  // (1e8 + 1) - 1e8 is 0 in float; in another order it is 1.
  CHECK(all_reduced<float>({1e8f, 1, -1e8f}, sw::dtype::f32, sw::reduction::sum) == std::vector<float>{0, 0, 0});
  CHECK(all_reduced<float>({1e8f, -1e8f, 1}, sw::dtype::f32, sw::reduction::sum) == std::vector<float>{1, 1, 1});
}

TEST_CASE("16-bit floats are summed in float and rounded once") {
  // Near 256 bf16 has steps of 2, near 2048 f16 has: each step rounded to even would give 256 and 2048.
  const auto bf16 = [](float x) { return sw::detail::to_bf16(x); };
  CHECK(all_reduced<std::uint16_t>({bf16(256), bf16(1), bf16(1)}, sw::dtype::bf16, sw::reduction::sum) ==
        std::vector<std::uint16_t>(3, bf16(258)));
  const auto f16 = [](float x) { return sw::detail::to_f16(x); };
  CHECK(all_reduced<std::uint16_t>({f16(2048), f16(1), f16(1)}, sw::dtype::f16, sw::reduction::sum) ==
        std::vector<std::uint16_t>(3, f16(2050)));
  // One rounding, to even: 257 is halfway between 256 and 258, 259 between 258 and 260.
  CHECK(all_reduced<std::uint16_t>({bf16(256), bf16(1)}, sw::dtype::bf16, sw::reduction::sum)[0] == bf16(256));
  CHECK(all_reduced<std::uint16_t>({bf16(258), bf16(1)}, sw::dtype::bf16, sw::reduction::sum)[1] == bf16(260));
  // 60000 + 60000 is above what f16 holds, and less 60000 it is not.
  CHECK(all_reduced<std::uint16_t>({f16(60000), f16(60000), f16(-60000)}, sw::dtype::f16, sw::reduction::sum)[2] ==
        f16(60000));
}

TEST_CASE("the maximum with a NaN is a NaN, on whichever rank it is") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (int at = 0; at < 3; ++at) {
    std::vector<float> f32 = {infinity, -1, 3};
    f32[as_size(at)] = nan;
    for (const float x : all_reduced(f32, sw::dtype::f32, sw::reduction::max)) CHECK(std::isnan(x));
    std::vector<double> f64 = {-infinity, -1, 3};
    f64[as_size(at)] = nan;
    for (const double x : all_reduced(f64, sw::dtype::f64, sw::reduction::max)) CHECK(std::isnan(x));
    std::vector<std::uint16_t> f16 = {0x7c00, 0, 0}, bf16 = {0x7f80, 0, 0};
    f16[as_size(at)] = 0x7e01;
    bf16[as_size(at)] = 0xffc1;
    for (const auto x : all_reduced(f16, sw::dtype::f16, sw::reduction::max))
      CHECK(std::isnan(sw::detail::from_f16(x)));
    for (const auto x : all_reduced(bf16, sw::dtype::bf16, sw::reduction::max)) {
      CHECK(std::isnan(sw::detail::from_bf16(x)));
    }
  }
  CHECK(all_reduced<float>({-infinity, -2, -3}, sw::dtype::f32, sw::reduction::max) == std::vector<float>(3, -2));
}

TEST_CASE("integers are reduced as integers, and their sums wrap around") {
  using limits32 = std::numeric_limits<std::int32_t>;
  using limits64 = std::numeric_limits<std::int64_t>;
  CHECK(all_reduced<std::int32_t>({limits32::max(), 1}, sw::dtype::i32, sw::reduction::sum)[0] == limits32::min());
  CHECK(all_reduced<std::int64_t>({limits64::min(), -1}, sw::dtype::i64, sw::reduction::sum)[1] == limits64::max());
  CHECK(all_reduced<std::uint8_t>({200, 100}, sw::dtype::u8, sw::reduction::sum)[0] == 44);
  CHECK(all_reduced<std::uint8_t>({200, 100}, sw::dtype::u8, sw::reduction::max)[1] == 200);
  CHECK(all_reduced<std::int32_t>({-7, -3}, sw::dtype::i32, sw::reduction::max)[0] == -3);
  // Beyond what a double holds.
  const std::int64_t big = (std::int64_t{1} << 60) + 1;
  CHECK(all_reduced<std::int64_t>({big, big + 1}, sw::dtype::i64, sw::reduction::sum)[0] == 2 * big + 1);
  CHECK(all_reduced<std::int64_t>({big, big + 1}, sw::dtype::i64, sw::reduction::max)[0] == big + 1);
}
