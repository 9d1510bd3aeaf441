// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/dispatch.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "experts_support.hpp"
#include "shardwise/comm/forwarding.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/tally.hpp"
#include "shardwise/run/host_dispatch.hpp"

namespace sw = shardwise;
using namespace experts_test;

namespace {

/// Counts what a rank sends to others by all_to_all.
class link : public sw::forwarding_communicator<sw::in_process_communicator&> {
 public:
  explicit link(sw::in_process_communicator& c) : forwarding_communicator(c) {}
  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, sw::dtype type, sw::host_stream stream) {
    for (int r = 0; r < size(); ++r) sent += r == rank() ? 0 : send_counts[std::size_t(r)] * sw::size_of(type);
    base().all_to_all(send, send_counts, recv, recv_counts, type, stream);
  }
  std::size_t sent = 0;
};

struct outcome {
  tensor y;
  sw::placement where;
  std::size_t wrong_bytes = 0;
};

/// One rank of the exchange, of tokens that are its own or everybody's.
outcome exchange(const sw::sharding& s, sw::in_process_communicator& ranks, const mixture& m, bool own_tokens) {
  link wire(ranks);
  sw::tally counts;
  sw::counted comm(wire, counts);
  const sw::experts_by_rank experts(s, "moe.experts");
  sw::token_dispatch d(experts, comm.rank(), m.per_token);
  const sw::placement where = own_tokens ? sw::placement(sw::sharded<0>{}) : sw::placement(sw::replicated{});
  const sw::interval held = experts.of(comm.rank());
  const auto y = sw::run_dispatched(
      s.step("moe.experts"), d, comm, {}, sw::assume_placed(where, m.x), std::span<const std::int64_t>(m.ids),
      std::span<const float>(m.shares),
      [&](const tensor& rows, std::span<const sw::expert_route> routes) { return m.ask(held, rows, routes); });
  // What went over the link, from the routes alone: each token once to each rank with one of its experts.
  const auto n = static_cast<std::size_t>(comm.size());
  const sw::interval mine =
      own_tokens ? sw::interval{0, m.x.shape[0]} : sw::chunk(m.x.shape[0], comm.size(), comm.rank());
  std::set<std::pair<std::size_t, int>> rows;
  for (std::size_t i = mine.begin * m.per_token; i < mine.end * m.per_token; ++i) {
    rows.insert({i / m.per_token, experts.holder(std::size_t(m.ids[i]))});
  }
  outcome o{y.local(), y.where()};
  const std::size_t row = 4 * 4, routes = 8 * m.per_token, gathered = own_tokens ? 0 : m.x.data.size() * 4;
  o.wrong_bytes += d.sent_tokens().size() != rows.size();
  o.wrong_bytes += d.result_bytes() != n * 32 + d.received_rows() * (row + routes) + rows.size() * row;
  o.wrong_bytes += counts[sw::operation::all_to_all] != sw::tally::entry{4, d.result_bytes()};
  o.wrong_bytes += counts.total() != sw::tally::entry{own_tokens ? 4u : 5u, d.result_bytes() + gathered};
  o.wrong_bytes += d.sent_bytes() != wire.sent;
  return o;
}

template <class F>
std::vector<std::string> refusals(int ranks, F f) {
  return sw::in_process(ranks, [&](sw::in_process_communicator& comm) { return support::refusal([&] { f(comm); }); },
                        {.deadline = std::chrono::seconds(20)});
}

}  // namespace

TEST_CASE("every rank's tokens get the whole mixture's answers, however many tokens it has and whom they ask",
          "[run]") {
  struct row {
    std::vector<std::size_t> tokens;  // by rank
    std::size_t experts, per_token;
    std::size_t asked;  // the first so many experts are
  };
  std::vector<row> rows = {{{5, 0, 3, 7}, 12, 2, 12}, {{5, 0, 3, 7}, 12, 3, 3},  {{0, 0, 9, 0}, 12, 2, 12},
                           {{5, 0, 3, 7}, 4, 1, 1},   {{0, 0, 0, 0}, 12, 2, 12}, {{6}, 5, 2, 5}};
  unsigned state = 11;
  const auto below = [&](std::size_t n) { return (state = state * 1664525u + 1013904223u, (state >> 16) % n); };
  for (const std::size_t ranks : {1u, 2u, 3u, 4u, 8u}) {
    for (int i = 0; i < 8; ++i) {
      row r{{}, ranks + below(9), 0, 0};
      for (std::size_t k = 0; k < ranks; ++k) r.tokens.push_back(below(6));
      r.asked = 1 + below(r.experts);
      r.per_token = 1 + below(r.asked);
      rows.push_back(r);
    }
  }
  for (const row& r : rows) {
    const auto ranks = static_cast<int>(r.tokens.size());
    INFO(ranks << " ranks, " << r.experts << " experts, of which " << r.per_token << " of " << r.asked << " are asked");
    const sw::sharding s = sharding_of(r.experts, ranks, sw::grouped_gemm.uneven());
    std::vector<mixture> mixtures;
    for (std::size_t rank = 0; rank < r.tokens.size(); ++rank) {
      mixtures.emplace_back(r.experts, r.tokens[rank], r.per_token, 100 * unsigned(rank) + 3, r.asked);
    }
    const auto results = sw::in_process(ranks, [&](sw::in_process_communicator& comm) {
      return exchange(s, comm, mixtures[std::size_t(comm.rank())], true);
    });
    for (std::size_t rank = 0; rank < results.size(); ++rank) {
      INFO("rank " << rank << " with " << r.tokens[rank] << " tokens");
      CHECK(results[rank].y == mixtures[rank].answer());
      CHECK(results[rank].where == sw::placement(sw::sharded<0>{}));
      CHECK(results[rank].wrong_bytes == 0);
    }
  }
}

TEST_CASE("of tokens that all ranks have each sends its part, and all get the whole output", "[run]") {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::size_t tokens : {0u, 1u, 2u, 15u}) {
      INFO(ranks << " ranks, " << tokens << " tokens");
      const mixture m(12, tokens, 3, 5);
      const sw::sharding s = sharding_of(12, ranks, sw::grouped_gemm.uneven());
      for (const outcome& o : sw::in_process(ranks, [&](auto& comm) { return exchange(s, comm, m, false); })) {
        CHECK(o.y == m.answer());
        CHECK(o.where == sw::placement(sw::replicated{}));
        CHECK(o.wrong_bytes == 0);
      }
    }
  }
}

TEST_CASE("a token's rows are sent by rank, each with its routes there, and come back in that order", "[run]") {
  const sw::sharding s = sharding_of(6, 3);
  const sw::experts_by_rank experts(s, "moe.experts");
  sw::token_dispatch d(experts, 1, 3);
  const std::vector<int> ids{5, 0, 4, /**/ 2, 1, 0};
  const std::vector<double> shares{.5, .25, .125, /**/ 1, 2, 3};
  d.route(2, std::span(std::as_const(ids)), std::span(std::as_const(shares)), 16);
  const auto list = [](auto span) { return std::vector(span.begin(), span.end()); };
  CHECK(list(d.sent_tokens()) == std::vector<std::uint32_t>{0, 1, /**/ 1, /**/ 0});
  const std::vector<sw::expert_route> routes{{0, .25f}, {}, {}, /**/ {1, 2},   {0, 3},     {},
                                             {0, 1},    {}, {}, /**/ {1, .5f}, {0, .125f}, {}};
  CHECK(list(d.sent_routes()) == routes);
  CHECK(list(d.rows_of(0)) == std::vector<std::uint32_t>{0, 3});
  CHECK(list(d.rows_of(1)) == std::vector<std::uint32_t>{1, 2});
  CHECK(list(d.counts_to_send()) == std::vector<std::int64_t>{2, 3, 16, 6, 1, 3, 16, 6, 1, 3, 16, 6});
  // Floats are added in the order of the ranks; of 16 bits, rounded once.
  const float large = 1e8f;
  const std::vector<float> returned{large, 1, 2, -large};
  std::vector<float> sum(2);
  const auto view = [](const auto& v, sw::dtype type) {
    return sw::tensor_view(const_cast<void*>(static_cast<const void*>(v.data())), type, {v.size(), 1});
  };
  sw::sum_rows(d, view(returned, sw::dtype::f32), view(sum, sw::dtype::f32));
  CHECK(sum == std::vector<float>{0, 3});
  const std::vector<int> three{0, 2, 4};
  d.route(1, std::span(three), std::span(std::as_const(shares)).first(3), 2);
  const std::vector<float> in_order{1, large, -large};  // the other way round it is 1
  std::vector<float> one(1);
  sw::sum_rows(d, view(in_order, sw::dtype::f32), view(one, sw::dtype::f32));
  CHECK(one[0] == 0);
  const std::vector<std::uint16_t> halves{sw::detail::to_bf16(1), sw::detail::to_bf16(0x1p-8f),
                                          sw::detail::to_bf16(0x1p-8f)};
  std::vector<std::uint16_t> half(1);
  sw::sum_rows(d, view(halves, sw::dtype::bf16), view(half, sw::dtype::bf16));
  CHECK(sw::detail::from_bf16(half[0]) == 1 + 0x1p-7f);
}

TEST_CASE("a router that one rank cannot follow, and rows unlike each other, are refused on every rank", "[run]") {
  const sw::sharding s = sharding_of(6, 3), more = sharding_of(9, 3);
  const auto all = [&](auto change) {
    return refusals(3, [&](sw::in_process_communicator& comm) {
      mixture m(6, 4, 2, 1);
      std::size_t row_bytes = 16, per_token = 2;
      const sw::sharding* of = &s;
      if (comm.rank() == 1) change(m, row_bytes, per_token, of);
      const sw::experts_by_rank experts(*of, "moe.experts");
      sw::token_dispatch d(experts, comm.rank(), per_token);
      d.route(m.ids.size() / per_token, std::span<const std::int64_t>(m.ids), std::span<const float>(m.shares),
              row_bytes);
      d.exchange_counts(comm, {});
    });
  };
  const auto texts = [](const std::string& others, const std::string& own) {
    return std::vector<std::string>{others, own, others};
  };
  CHECK(all([](auto&&...) {}) == texts("", ""));
  const std::string see =
      "the router of 'moe.experts' on rank 1 gives what is no choice of experts: see the error of "
      "that rank";
  CHECK(all([](mixture& m, auto&&...) { m.ids[5] = 6; }) ==
        texts(see, "the router of 'moe.experts' sends token 2 to expert 6; there are 6, numbered from 0"));
  CHECK(all([](mixture& m, auto&&...) { m.ids[0] = -1; }) ==
        texts(see, "the router of 'moe.experts' sends token 0 to expert -1; there are 6, numbered from 0"));
  CHECK(all([](mixture& m, auto&&...) { m.shares.pop_back(); }) ==
        texts(see, "the router of 'moe.experts' gives 8 expert ids and 7 shares; 4 tokens of 2 experts each have 8"));
  const auto differ = [&](const std::string& theirs, auto change) {
    for (const std::string& text : all(change)) {
      CHECK(text.starts_with("'moe.experts': rank "));
      CHECK(text.find("rows of 16 bytes that ask 2 of 6") != std::string::npos);
      CHECK(text.find("rows of " + theirs) != std::string::npos);
    }
  };
  differ("8 bytes that ask 2 of 6", [](auto&&, std::size_t& row, auto&&...) { row = 8; });
  differ("16 bytes that ask 1 of 6", [](auto&&, auto&&, std::size_t& k, auto&&) { k = 1; });
  differ("16 bytes that ask 2 of 9", [&](auto&&, auto&&, auto&&, const sw::sharding*& of) { of = &more; });
}

TEST_CASE("of a batch that all ranks have, the error names the token by its place in the batch", "[run]") {
  const sw::sharding s = sharding_of(6, 2);
  mixture m(6, 5, 2, 1);
  m.ids[8] = 77;  // of token 4, which rank 1 sends
  const auto texts = refusals(2, [&](sw::in_process_communicator& comm) { exchange(s, comm, m, false); });
  CHECK(texts ==
        std::vector<std::string>{
            "the router of 'moe.experts' on rank 1 gives what is no choice of experts: see the error of that rank",
            "the router of 'moe.experts' sends token 4 to expert 77; there are 6, numbered from 0"});
}

TEST_CASE("what a module of experts cannot send is refused before anything is sent", "[run]") {
  const sw::sharding s = sharding_of(6, 1), whole = sharding_of(6, 1, sw::replicate, sw::replicate);
  const sw::experts_by_rank experts(s, "moe.experts"), all(whole, "moe.experts");
  const mixture m(6, 4, 2, 1);
  const auto refusal = [&](auto f) { return refusals(1, f)[0]; };
  const auto run = [&](const sw::sharding& of, sw::placement where, const tensor& x, std::size_t rows) {
    return refusal([&, where](sw::in_process_communicator& comm) {
      sw::token_dispatch d(experts, 0, 2);
      (void)sw::run_dispatched(of.step("moe.experts"), d, comm, {}, sw::assume_placed(where, x),
                               std::span<const std::int64_t>(m.ids), std::span<const float>(m.shares),
                               [&](const tensor&, std::span<const sw::expert_route>) {
                                 return tensor({rows, 4});
                               });
    });
  };
  CHECK(run(s, sw::replicated{}, m.x, 4) == "");
  CHECK(run(s, sw::replicated{}, m.x, 3) ==
        "the experts of 'moe.experts' were asked 4 rows of 4 F32, and must answer as many");
  CHECK(run(s, sw::replicated{}, tensor({4, 2, 2}), 4) ==
        "'moe.experts' sends rows, and was given a tensor of 3 dims: give it [tokens, hidden]");
  CHECK(run(s, sw::replicated{}, tensor({3, 4}), 4) ==
        "the router of 'moe.experts' gives 8 expert ids and 8 shares; 3 tokens of 2 experts each have 6");
  CHECK(run(s, sw::partial<>{}, m.x, 4).starts_with("'moe.experts' is ep_dispatch_experts and needs its input "));
  CHECK(run(whole, sw::replicated{}, m.x, 4) ==
        "'moe.experts' is replicate, and tokens are sent to the experts of 'moe.experts': take the step of the module "
        "that is ep_dispatch_experts");
  CHECK(refusal([&](auto&) { sw::token_dispatch(all, 0, 2); }) ==
        "no token of 'moe.experts' is sent: every rank has all experts");
  CHECK(refusal([&](auto&) { sw::token_dispatch(experts, 0, 0); }) ==
        "no token of 'moe.experts' is sent: it asks no expert");
  CHECK(refusal([&](auto&) { sw::token_dispatch(experts, 1, 2); }) ==
        "the experts of 'moe.experts' are dealt to 1 ranks, and there is no rank 1");
}
