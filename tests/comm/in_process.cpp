// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/in_process.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace comm_test;
using ranked = sw::in_process_communicator;

static_assert(sw::full_communicator<ranked>);
static_assert(!std::copyable<ranked>, "two copies on one rank would be one rank twice");

namespace {

double reduced(sw::dtype type, int ranks, std::size_t i, sw::reduction op) {
  double result = value(type, 0, i);
  for (int r = 1; r < ranks; ++r) {
    const double x = value(type, r, i);
    result = op == sw::reduction::sum ? result + x : std::max(result, x);
  }
  return result;
}

// f(comm, type, count, shift) for every size, at an aligned and at an odd address.
template <class Types, class F>
void check_everywhere(const Types& types, F f) {
  for (const int ranks : rank_counts) {
    for (const sw::dtype type : types) {
      CAPTURE(ranks, sw::name_of(type));
      CHECK(wrong_on(ranks, [&](ranked& c) {
              std::size_t n = 0;
              for (const std::size_t count : sizes) {
                for (const std::size_t shift : {std::size_t{0}, std::size_t{1}}) n += f(c, type, count, shift);
              }
              return n;
            }) == 0);
    }
  }
}
// For operations that move any dtype.
template <class F>
void check_moves_everywhere(F f) {
  check_everywhere(reducible, f);
  check_everywhere(other_types, f);
}

}  // namespace

TEST_CASE("all_reduce gives every rank the reduction of all") {
  check_everywhere(reducible, [](ranked& c, sw::dtype type, std::size_t count, std::size_t shift) {
    std::size_t n = 0;
    for (const sw::reduction op : {sw::reduction::sum, sw::reduction::max}) {
      const auto expected = [&](std::size_t i) { return reduced(type, c.size(), i, op); };
      buffer send = filled(type, c.rank(), count, shift), recv(type, count, 1 - shift);
      c.all_reduce(send.data(), recv.data(), count, type, op);
      n += wrong(recv, expected) + wrong(send, [&](std::size_t i) { return value(type, c.rank(), i); });
      c.all_reduce(send.data(), send.data(), count, type, op);
      n += wrong(send, expected);
    }
    return n;
  });
}

TEST_CASE("all_reduce may be in place on some ranks and not on others") {
  CHECK(wrong_on(3, [](ranked& c) {
          std::size_t n = 0;
          for (const std::size_t count : sizes) {
            buffer send = filled(sw::dtype::f32, c.rank(), count), recv(sw::dtype::f32, count);
            buffer& to = c.rank() == 1 ? send : recv;
            c.all_reduce(send.data(), to.data(), count, sw::dtype::f32, sw::reduction::sum);
            n += wrong(to, [](std::size_t i) { return reduced(sw::dtype::f32, 3, i, sw::reduction::sum); });
          }
          return n;
        }) == 0);
}

TEST_CASE("all_gather puts the ranks' pieces in rank order") {
  check_moves_everywhere([](ranked& c, sw::dtype type, std::size_t count, std::size_t shift) {
    const auto expected = [&](std::size_t i) {
      return value(type, static_cast<int>(i / count), i % count);  // never called where count is 0
    };
    buffer send = filled(type, c.rank(), count, shift), recv(type, count * as_size(c.size()), 1 - shift);
    c.all_gather(send.data(), recv.data(), count, type);
    std::size_t n = wrong(recv, expected);
    buffer both(type, count * as_size(c.size()), shift);
    const std::size_t mine = as_size(c.rank()) * count;
    for (std::size_t i = 0; i < count; ++i) both.set(mine + i, value(type, c.rank(), i));
    c.all_gather(both.at(mine), both.data(), count, type);
    return n + wrong(both, expected);
  });
}

TEST_CASE("reduce_scatter gives each rank its piece of the reduction") {
  check_everywhere(reducible, [](ranked& c, sw::dtype type, std::size_t count, std::size_t shift) {
    std::size_t n = 0;
    const std::size_t mine = as_size(c.rank()) * count;
    for (const sw::reduction op : {sw::reduction::sum, sw::reduction::max}) {
      const auto expected = [&](std::size_t i) { return reduced(type, c.size(), mine + i, op); };
      buffer send = filled(type, c.rank(), count * as_size(c.size()), shift), recv(type, count, 1 - shift);
      c.reduce_scatter(send.data(), recv.data(), count, type, op);
      n += wrong(recv, expected);
      c.reduce_scatter(send.data(), send.at(mine), count, type, op);
      n += wrong(send, [&](std::size_t i) {
        return i >= mine && i < mine + count ? expected(i - mine) : value(type, c.rank(), i);
      });
    }
    return n;
  });
}

TEST_CASE("broadcast gives every rank the root's data") {
  check_moves_everywhere([](ranked& c, sw::dtype type, std::size_t count, std::size_t shift) {
    std::size_t n = 0;
    for (int root = 0; root < c.size(); ++root) {
      buffer data = filled(type, c.rank(), count, shift);
      c.broadcast(data.data(), count, type, root);
      n += wrong(data, [&](std::size_t i) { return value(type, root, i); });
    }
    return n;
  });
}

TEST_CASE("gather_last_dim puts unequal columns side by side, and leaves the rest alone") {
  check_moves_everywhere([](ranked& c, sw::dtype type, std::size_t rows_wanted, std::size_t shift) {
    const std::size_t rows = std::min<std::size_t>(rows_wanted, 7);
    std::vector<std::size_t> columns;  // 2, 5, 1, 4, 0, 3, ...: unequal, one of them zero
    for (std::size_t r = 0; r < as_size(c.size()); ++r) columns.push_back((r * 3 + 2) % 7);
    if (c.size() > 1) columns[1] = 0;
    const std::size_t all = std::accumulate(columns.begin(), columns.end(), std::size_t{0});
    const std::size_t mine = columns[as_size(c.rank())];
    const std::size_t send_stride = mine + 3 + as_size(c.rank()), recv_stride = all + 2;
    buffer send = filled(type, c.rank(), rows * send_stride, shift), recv(type, rows * recv_stride, 1 - shift);
    c.gather_last_dim(send.data(), send_stride, recv.data(), recv_stride, rows, columns, type);
    std::size_t n = recv.margins_untouched() ? 0 : 1;
    for (std::size_t row = 0; row < rows; ++row) {
      std::size_t at = row * recv_stride;
      for (int r = 0; r < c.size(); ++r) {
        const std::size_t width = columns[as_size(r)], stride = width + 3 + as_size(r);
        for (std::size_t j = 0; j < width; ++j) {
          n += recv.get(at++) != value(type, r, row * stride + j) ? 1u : 0u;
        }
      }
      n += recv.untouched(at) && recv.untouched(at + 1) ? 0 : 1;  // the gap between two rows
    }
    return n;
  });
}

TEST_CASE("gather_last_dim may be in place") {
  for (const int ranks : rank_counts) {
    CHECK(wrong_on(ranks, [](ranked& c) {
            const std::size_t rows = 5, width = 3, stride = as_size(c.size()) * width;
            const std::vector<std::size_t> columns(as_size(c.size()), width);
            buffer both(sw::dtype::f32, rows * stride);
            const std::size_t mine = as_size(c.rank()) * width;
            for (std::size_t row = 0; row < rows; ++row) {
              for (std::size_t j = 0; j < width; ++j)
                both.set(row * stride + mine + j, 100. * c.rank() + double(row + j));
            }
            c.gather_last_dim(both.at(mine), stride, both.data(), stride, rows, columns, sw::dtype::f32);
            return wrong(both, [&](std::size_t i) {
              const std::size_t row = i / stride, r = i % stride / width, j = i % width;
              return 100. * double(r) + double(row + j);
            });
          }) == 0);
  }
}

TEST_CASE("all_to_all delivers uneven pieces in rank order") {
  check_moves_everywhere([](ranked& c, sw::dtype type, std::size_t unit, std::size_t shift) {
    // From a to b: between 0 and 4 units, another number for each pair and direction.
    const auto pieces = [&](int from, int to) { return as_size((from * 2 + to * 3) % 5) * unit; };
    std::vector<std::size_t> send_counts, recv_counts;
    for (int r = 0; r < c.size(); ++r) {
      send_counts.push_back(pieces(c.rank(), r));
      recv_counts.push_back(pieces(r, c.rank()));
    }
    const std::size_t sent = std::accumulate(send_counts.begin(), send_counts.end(), std::size_t{0});
    const std::size_t received = std::accumulate(recv_counts.begin(), recv_counts.end(), std::size_t{0});
    buffer send = filled(type, c.rank(), sent, shift), recv(type, received, 1 - shift);
    c.all_to_all(send.data(), send_counts, recv.data(), recv_counts, type);
    std::vector<double> expected;
    for (int from = 0; from < c.size(); ++from) {
      std::size_t at = 0;
      for (int to = 0; to < c.rank(); ++to) at += pieces(from, to);
      for (std::size_t i = 0; i < pieces(from, c.rank()); ++i) expected.push_back(value(type, from, at + i));
    }
    return wrong(recv, [&](std::size_t i) { return expected[i]; });
  });
}

TEST_CASE("a barrier lets nobody go before all have come") {
  for (const int ranks : rank_counts) {
    std::vector<int> came(as_size(ranks), 0);  // written before, read after: the thread sanitizer looks on
    CHECK(wrong_on(ranks, [&](ranked& c) {
            std::size_t n = 0;
            for (int round = 1; round <= 50; ++round) {
              came[as_size(c.rank())] = round;
              c.barrier();
              for (const int other : came) n += other != round ? 1u : 0u;
              c.barrier();
            }
            return n;
          }) == 0);
  }
}

TEST_CASE("split makes one communicator per color, in the order of key and old rank") {
  const auto seen = sw::in_process(8, [](ranked& c) {
    // Odd ranks by descending rank; even ones all have one key, so that the old rank decides.
    ranked part = c.split(c.rank() % 2, c.rank() % 2 == 1 ? -c.rank() : 5);
    float sum = static_cast<float>(c.rank());
    part.all_reduce(&sum, &sum, 1, sw::dtype::f32, sw::reduction::sum);
    ranked pair = part.split(part.rank() / 2, 0);
    std::int32_t old_ranks[2] = {-1, -1};
    const std::int32_t mine = c.rank();
    pair.all_gather(&mine, old_ranks, 1, sw::dtype::i32);
    c.barrier();
    return std::vector<int>{part.rank(), part.size(), static_cast<int>(sum), old_ranks[0], old_ranks[1]};
  });
  CHECK(seen[0] == std::vector<int>{0, 4, 12, 0, 2});
  CHECK(seen[2] == std::vector<int>{1, 4, 12, 0, 2});
  CHECK(seen[4] == std::vector<int>{2, 4, 12, 4, 6});
  CHECK(seen[6] == std::vector<int>{3, 4, 12, 4, 6});
  CHECK(seen[7] == std::vector<int>{0, 4, 16, 7, 5});
  CHECK(seen[5] == std::vector<int>{1, 4, 16, 7, 5});
  CHECK(seen[3] == std::vector<int>{2, 4, 16, 3, 1});
  CHECK(seen[1] == std::vector<int>{3, 4, 16, 3, 1});
}

TEST_CASE("parts of a split do not wait for each other") {
  const auto sums = sw::in_process(3, [](ranked& c) {
    ranked part = c.split(c.rank() == 2, 0);
    std::int32_t sum = 0;
    for (int i = 0; i < (c.rank() == 2 ? 1 : 100); ++i) {
      std::int32_t one = 1;
      part.all_reduce(&one, &one, 1, sw::dtype::i32, sw::reduction::sum);
      sum += one;
    }
    return sum;
  });
  CHECK(sums == std::vector<std::int32_t>{200, 200, 1});
}

TEST_CASE("in_process returns what the ranks return, by rank") {
  struct token {  // neither default constructible nor copyable
    explicit token(int i) : id(i) {}
    token(token&&) = default;
    int id;
  };
  const auto tokens = sw::in_process(4, [](ranked& c) { return token(c.rank() * 10); });
  REQUIRE(tokens.size() == 4);
  for (int r = 0; r < 4; ++r) CHECK(tokens[as_size(r)].id == r * 10);
  const std::vector<bool> odd = sw::in_process(3, [](ranked& c) { return c.rank() % 2 == 1; });
  CHECK(odd == std::vector<bool>{false, true, false});
  static_assert(std::is_void_v<decltype(sw::in_process(1, [](ranked&) {}))>);
  std::vector<int> seen(2, 0);
  sw::in_process(2, [&](ranked& c) { seen[as_size(c.rank())] = c.size(); });
  CHECK(seen == std::vector<int>{2, 2});
  CHECK_THROWS_MATCHES(sw::in_process(0, [](ranked&) {}), sw::comm_error, says("at least 1 rank"));
}
