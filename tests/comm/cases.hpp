// SPDX-License-Identifier: Apache-2.0
// The cases of suite.hpp: every rank calls one with its `place`, and is told how many of its elements are wrong.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "backend.hpp"
#include "shardwise/run/dispatch.hpp"
#include "shardwise/shard/shard.hpp"

namespace comm_test {

inline double reduced(sw::dtype type, int ranks, std::size_t i, sw::reduction op) {
  double result = value(type, 0, i);
  for (int r = 1; r < ranks; ++r) {
    const double x = value(type, r, i);
    result = op == sw::reduction::sum ? result + x : std::max(result, x);
  }
  return result;
}

inline std::size_t sum_of(std::span<const std::size_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

/// How much of a gather's result is wrong: columns of all ranks side by side, each row followed by an untouched gap.
template <class Expected>
std::size_t wrong_rows(const buffer& recv, std::size_t rows, std::size_t stride, std::span<const std::size_t> columns,
                       Expected expected) {
  std::size_t n = recv.margins_untouched() ? 0 : 1;
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t at = row * stride;
    for (std::size_t r = 0; r < columns.size(); ++r) {
      for (std::size_t j = 0; j < columns[r]; ++j)
        n += recv.get(at++) != expected(static_cast<int>(r), row, j) ? 1u : 0u;
    }
    for (; at < (row + 1) * stride; ++at) n += recv.untouched(at) ? 0 : 1;
  }
  return n;
}

struct all_reduce_case {
  static constexpr const char* name = "all_reduce gives every rank the reduction of all";
  std::size_t operator()(auto& p, const trial& t) const {
    std::size_t n = 0;
    for (const sw::reduction op : {sw::reduction::sum, sw::reduction::max}) {
      const auto expected = [&](std::size_t i) { return reduced(t.type, p.c.size(), i, op); };
      auto send = p.filled(t.type, t.count, t.shift), recv = p.empty(t.type, t.count, t.other);
      p.c.all_reduce(send.address(), recv.address(), t.count, t.type, op, p.stream);
      p.fetch(send, recv);
      n += wrong(recv, expected) + wrong(send, p.own(t.type));
      p.c.all_reduce(send.address(), send.address(), t.count, t.type, op, p.stream);
      p.fetch(send);
      n += wrong(send, expected);
    }
    return n;
  }
};

struct mixed_all_reduce_case {
  static constexpr const char* name = "all_reduce may be in place on some ranks and not on others";
  std::size_t operator()(auto& p, const trial& t) const {
    auto send = p.filled(t.type, t.count, t.shift), recv = p.empty(t.type, t.count, t.other);
    auto& to = p.rank() == 1 ? send : recv;
    p.c.all_reduce(send.address(), to.address(), t.count, t.type, sw::reduction::sum, p.stream);
    p.fetch(to);
    return wrong(to, [&](std::size_t i) { return reduced(t.type, p.c.size(), i, sw::reduction::sum); });
  }
};

struct all_gather_case {
  static constexpr const char* name = "all_gather puts the ranks' pieces in rank order";
  std::size_t operator()(auto& p, const trial& t) const {
    const auto expected = [&](std::size_t i) {
      return value(t.type, static_cast<int>(i / t.count), i % t.count);  // never called where count is 0
    };
    auto send = p.filled(t.type, t.count, t.shift), recv = p.empty(t.type, t.count * p.ranks(), t.other);
    p.c.all_gather(send.address(), recv.address(), t.count, t.type, p.stream);
    p.fetch(send, recv);
    const std::size_t n = wrong(recv, expected) + wrong(send, p.own(t.type));
    const std::size_t mine = p.mine() * t.count;
    auto both = p.holding(t.type, t.count * p.ranks(), t.shift, [&](std::size_t i) {
      return i >= mine && i < mine + t.count ? value(t.type, p.rank(), i - mine) : 0;
    });
    p.c.all_gather(both.address(mine), both.address(), t.count, t.type, p.stream);
    p.fetch(both);
    return n + wrong(both, expected);
  }
};

struct reduce_scatter_case {
  static constexpr const char* name = "reduce_scatter gives each rank its piece of the reduction";
  std::size_t operator()(auto& p, const trial& t) const {
    std::size_t n = 0;
    const std::size_t mine = p.mine() * t.count;
    for (const sw::reduction op : {sw::reduction::sum, sw::reduction::max}) {
      const auto expected = [&](std::size_t i) { return reduced(t.type, p.c.size(), mine + i, op); };
      auto send = p.filled(t.type, t.count * p.ranks(), t.shift), recv = p.empty(t.type, t.count, t.other);
      p.c.reduce_scatter(send.address(), recv.address(), t.count, t.type, op, p.stream);
      p.fetch(send, recv);
      n += wrong(recv, expected) + wrong(send, p.own(t.type));
      p.c.reduce_scatter(send.address(), send.address(mine), t.count, t.type, op, p.stream);
      p.fetch(send);
      n += wrong(send, [&](std::size_t i) {
        return i >= mine && i < mine + t.count ? expected(i - mine) : value(t.type, p.rank(), i);
      });
    }
    return n;
  }
};

struct broadcast_case {
  static constexpr const char* name = "broadcast gives every rank the root's data";
  std::size_t operator()(auto& p, const trial& t) const {
    std::size_t n = 0;
    for (int root = 0; root < p.c.size(); ++root) {
      auto data = p.filled(t.type, t.count, t.shift);
      p.c.broadcast(data.address(), t.count, t.type, root, p.stream);
      p.fetch(data);
      n += wrong(data, [&](std::size_t i) { return value(t.type, root, i); });
    }
    return n;
  }
};

// `Equal`: all ranks have as many columns; otherwise 2, 0, 1, 4, 0, 3, ...
template <bool Equal>
struct gather_case {
  static constexpr const char* name =
      Equal ? "gather_last_dim puts equal columns side by side, and leaves the rest alone"
            : "gather_last_dim puts unequal columns side by side, and leaves the rest alone";
  static std::vector<std::size_t> columns_of(std::size_t ranks, std::size_t width) {
    std::vector<std::size_t> columns;
    for (std::size_t r = 0; r < ranks; ++r) columns.push_back(Equal ? width : (r * 3 + 2) % 7);
    if (!Equal && ranks > 1) columns[1] = 0;
    return columns;
  }
  // Sizes are spent on the rows, then on the columns.
  static std::size_t rows_of(std::size_t count) { return std::min<std::size_t>(count, 7); }
  static std::size_t width_of(std::size_t count) { return count > 100 ? 131 : 3; }

  std::size_t operator()(auto& p, const trial& t) const {
    std::size_t n = 0;
    for (const std::size_t gap : {0u, 2u}) {
      for (const bool in_place : {false, true}) n += once(p, t, gap, in_place);
    }
    return n;
  }

 private:
  // In place, a rank's rows lie where they go; otherwise in memory of their own, each rank's with another stride.
  std::size_t once(auto& p, const trial& t, std::size_t gap, bool in_place) const {
    const std::size_t rows = rows_of(t.count);
    const std::vector<std::size_t> columns = columns_of(p.ranks(), width_of(t.count));
    const auto content = [&](int rank, std::size_t row, std::size_t j) { return value(t.type, rank, row * 13 + j); };
    const std::size_t stride = sum_of(columns) + gap, width = columns[p.mine()];
    const std::size_t before = sum_of(std::span(columns).first(p.mine()));
    const auto write = [&](auto& to, std::size_t first, std::size_t to_stride) {
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t j = 0; j < width; ++j) to.set(first + row * to_stride + j, content(p.rank(), row, j));
      }
      to.upload();
    };
    auto recv = p.empty(t.type, rows * stride, t.other);
    if (in_place) {
      write(recv, before, stride);
      p.c.gather_last_dim(recv.address(before), stride, recv.address(), stride, rows, columns, t.type, p.stream);
    } else {
      const std::size_t send_stride = width + 3 + p.mine();
      auto send = p.empty(t.type, rows * send_stride, t.shift);
      write(send, 0, send_stride);
      p.c.gather_last_dim(send.address(), send_stride, recv.address(), stride, rows, columns, t.type, p.stream);
      p.fetch(recv);  // `send` lives as long
    }
    p.fetch(recv);
    return wrong_rows(recv, rows, stride, columns, content);
  }
};

struct all_to_all_case {
  static constexpr const char* name = "all_to_all delivers uneven pieces in rank order";
  std::size_t operator()(auto& p, const trial& t) const {
    // From a to b: between 0 and 4 units, another number for each pair and direction.
    const auto pieces = [&](int from, int to) { return as_size((from * 2 + to * 3) % 5) * t.count; };
    std::vector<std::size_t> send_counts, recv_counts;
    for (int r = 0; r < p.c.size(); ++r) {
      send_counts.push_back(pieces(p.rank(), r));
      recv_counts.push_back(pieces(r, p.rank()));
    }
    auto send = p.filled(t.type, sum_of(send_counts), t.shift), recv = p.empty(t.type, sum_of(recv_counts), t.other);
    p.c.all_to_all(send.address(), send_counts, recv.address(), recv_counts, t.type, p.stream);
    p.fetch(send, recv);
    std::vector<double> expected;
    for (int from = 0; from < p.c.size(); ++from) {
      std::size_t at = 0;
      for (int to = 0; to < p.rank(); ++to) at += pieces(from, to);
      for (std::size_t i = 0; i < pieces(from, p.rank()); ++i) expected.push_back(value(t.type, from, at + i));
    }
    return wrong(recv, [&](std::size_t i) { return expected[i]; }) + wrong(send, p.own(t.type));
  }
};

/// Five tokens on rank 0, none on rank 1, three on the others, which ask two of twice as many experts as there are
/// ranks; expert e answers e + 1 times what it is asked. What an engine does is done here: it sends what it copies.
struct dispatch_case {
  static constexpr const char* name =
      "tokens reach the ranks of their experts once, and their answers come back summed";
  static constexpr std::size_t hidden = 3, per_token = 2;

  std::size_t operator()(auto& p, const trial& t) const {
    const std::size_t all = 2 * p.ranks(), tokens = p.rank() == 0 ? 5 : p.rank() == 1 ? 0 : 3;
    sw::tree tree;
    tree.add("experts.up", sw::dtype::f32, {all, 1});
    const sw::rule rules[] = {{"experts.up", sw::grouped_gemm}, {"experts", sw::ep_dispatch_experts}};
    const sw::sharding s = sw::shard({rules, 2}, tree, {.tp = p.c.size()});
    const sw::experts_by_rank experts(s, "experts");
    sw::token_dispatch d(experts, p.rank(), per_token);
    std::vector<std::int64_t> ids;
    std::vector<float> shares;
    for (std::size_t i = 0; i < tokens * per_token; ++i) {
      ids.push_back(static_cast<std::int64_t>((i / 2 + i % 2 * (i / 2 % 3 + 1) + p.mine()) % all));
      shares.push_back(i % 2 == 0 ? 2 : 1);
    }
    d.route(tokens, std::span<const std::int64_t>(ids), std::span<const float>(shares), hidden * sw::size_of(t.type));

    const std::vector<std::size_t> words(p.ranks(), d.count_words());
    auto counts = p.holding(sw::dtype::i64, sum_of(words), 0,
                            [&](std::size_t i) { return static_cast<double>(d.counts_to_send()[i]); });
    auto came = p.empty(sw::dtype::i64, sum_of(words));
    p.c.all_to_all(counts.address(), words, came.address(), words, sw::dtype::i64, p.stream);
    p.fetch(counts, came);
    std::vector<std::int64_t> heard;
    for (std::size_t i = 0; i < sum_of(words); ++i) heard.push_back(static_cast<std::int64_t>(came.get(i)));
    d.receive_counts(heard);

    const auto x = [](std::size_t token, std::size_t column) { return static_cast<double>(token + 2 * column + 1); };
    const std::size_t in = d.received_rows(), out = d.sent_tokens().size();
    auto rows =
        p.holding(t.type, out * hidden, 0, [&](std::size_t i) { return x(d.sent_tokens()[i / hidden], i % hidden); });
    const auto sent_routes = std::as_bytes(d.sent_routes());
    auto routes = p.holding(sw::dtype::u8, sent_routes.size(), 0,
                            [&](std::size_t i) { return std::to_integer<int>(sent_routes[i]); });
    auto asked = p.empty(t.type, in * hidden), how = p.empty(sw::dtype::u8, in * per_token * sizeof(sw::expert_route));
    d.send_rows(p.c, p.stream, rows.address(), asked.address());
    d.send_routes(p.c, p.stream, routes.address(), how.address());
    p.fetch(rows, routes, asked, how);

    std::vector<sw::expert_route> at(in * per_token);
    for (std::size_t i = 0; i < at.size() * sizeof(sw::expert_route); ++i) {
      std::as_writable_bytes(std::span(at))[i] = static_cast<std::byte>(how.get(i));
    }
    auto answers = p.holding(t.type, in * hidden, 0, [&](std::size_t i) {
      double sum = 0;
      for (std::size_t k = 0; k < per_token; ++k) {
        const sw::expert_route& r = at[i / hidden * per_token + k];
        if (r.expert >= 0)
          sum += r.share * (r.expert + static_cast<double>(experts.of(p.rank()).begin) + 1) * asked.get(i);
      }
      return sum;
    });
    auto returned = p.empty(t.type, out * hidden);
    d.return_rows(p.c, p.stream, answers.address(), returned.address());
    p.fetch(answers, returned);
    std::size_t n = returned.margins_untouched() ? 0 : 1;
    for (std::size_t token = 0; token < tokens; ++token) {
      for (std::size_t c = 0; c < hidden; ++c) {
        double expected = 0, sum = 0;
        for (std::size_t k = 0; k < per_token; ++k) {
          const std::size_t i = token * per_token + k;
          expected += shares[i] * static_cast<double>(ids[i] + 1) * x(token, c);
        }
        for (const std::uint32_t row : d.rows_of(token)) sum += returned.get(row * hidden + c);
        n += sum != expected ? 1 : 0;
      }
    }
    return n;
  }
};

struct split_case {
  static constexpr const char* name = "split makes one communicator per color, in the order of key and old rank";
  std::size_t operator()(auto& p, const trial& t) const {
    // Odd ranks by descending rank; even ones all have one key, so that the old rank decides.
    const bool odd = p.rank() % 2 == 1;
    auto part = p.c.split(p.rank() % 2, odd ? p.c.size() - p.rank() : 5);
    std::vector<int> members;
    for (int r = p.rank() % 2; r < p.c.size(); r += 2) members.push_back(r);
    if (odd) std::reverse(members.begin(), members.end());
    const auto size = static_cast<int>(members.size());
    if (part.size() != size) return 1;
    std::size_t n = members[as_size(part.rank())] == p.rank() ? 0 : 1;

    auto mine = p.holding(t.type, 1, 0, [&](std::size_t) { return p.rank(); });
    auto all = p.empty(t.type, members.size());
    part.all_gather(mine.address(), all.address(), 1, t.type, p.stream);
    p.fetch(all);
    n += wrong(all, [&](std::size_t i) { return members[i]; });

    auto pair = part.split(part.rank() / 2, 0);
    const int first = part.rank() / 2 * 2;
    if (pair.size() != std::min(2, size - first) || pair.rank() != part.rank() - first) return n + 1;
    auto of_pair = p.empty(t.type, as_size(pair.size()));
    pair.all_gather(mine.address(), of_pair.address(), 1, t.type, p.stream);
    p.fetch(of_pair);
    n += wrong(of_pair, [&](std::size_t i) { return members[as_size(first) + i]; });
    p.c.barrier(p.stream);
    p.fetch();
    return n;
  }
};

struct independent_parts_case {
  static constexpr const char* name = "parts of a split do not wait for each other";
  std::size_t operator()(auto& p, const trial& t) const {
    auto part = p.c.split(p.rank() == 2 ? 1 : 0, 0);
    std::size_t n = 0;
    for (int i = 0; i < (p.rank() == 2 ? 1 : 20); ++i) {
      auto ones = p.holding(t.type, 3, 0, [](std::size_t) { return 1; });
      part.all_reduce(ones.address(), ones.address(), 3, t.type, sw::reduction::sum, p.stream);
      p.fetch(ones);
      n += wrong(ones, [&](std::size_t) { return part.size(); });
    }
    return n;
  }
};

struct barrier_case {
  static constexpr const char* name = "a barrier lets nobody go before all have come";
  std::size_t operator()(auto& p, int* came) const {
    const auto all = [&] { return std::span<const int>(came, p.ranks()); };
    const int before = came[p.mine()];
    std::size_t n = 0;
    for (int round = before + 1; round <= before + 50; ++round) {
      came[p.mine()] = round;
      p.c.barrier(p.stream);
      p.fetch();
      for (const int other : all()) n += other != round ? 1u : 0u;
      p.c.barrier(p.stream);
      p.fetch();
    }
    return n;
  }
};

struct empty_case {
  static constexpr const char* name = "buffers of nothing may be null";
  std::size_t operator()(auto& p, const trial& t) const {
    const std::vector<std::size_t> none(p.ranks(), 0);
    p.c.all_reduce(nullptr, nullptr, 0, t.type, sw::reduction::sum, p.stream);
    p.c.all_gather(nullptr, nullptr, 0, t.type, p.stream);
    p.c.reduce_scatter(nullptr, nullptr, 0, t.type, sw::reduction::max, p.stream);
    p.c.broadcast(nullptr, 0, t.type, p.c.size() - 1, p.stream);
    p.c.gather_last_dim(nullptr, 0, nullptr, 0, 3, none, t.type, p.stream);
    p.c.all_to_all(nullptr, none, nullptr, none, t.type, p.stream);
    p.fetch();
    return 0;
  }
};

}  // namespace comm_test
