// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/logits.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "logits.hpp"
#include "sanitized.hpp"
#include "shardwise/comm.hpp"
#include "shardwise/model/half.hpp"
#include "support.hpp"

namespace sw = shardwise;
using gathered_logits::row;
using support::head;
using support::refusal;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Logits [rows, padded] as a dtype holds them. Columns from `vocabulary` on hold what must not be looked at.
struct whole_logits {
  sw::dtype type;
  std::size_t rows, vocabulary, padded;
  std::vector<std::byte> bytes;
  std::vector<row> values;  // of the vocabulary, as the dtype rounds them

  template <class Value>
  whole_logits(sw::dtype t, std::size_t rows_, std::size_t vocabulary_, std::size_t padded_, Value value)
      : type(t), rows(rows_), vocabulary(vocabulary_), padded(padded_), bytes(rows_ * padded_ * sw::size_of(t)) {
    for (std::size_t r = 0; r < rows; ++r) {
      values.emplace_back();
      for (std::size_t v = 0; v < padded; ++v) {
        const double set = put(r, v, v < vocabulary ? value(r, v) : v % 2 == 0 ? not_a_number : 1e9);
        if (v < vocabulary) values[r].push_back(set);
      }
    }
  }
  double put(std::size_t r, std::size_t v, double x) {
    std::byte* const to = bytes.data() + (r * padded + v) * sw::size_of(type);
    const auto f = static_cast<float>(x);
    if (type == sw::dtype::f32) return std::memcpy(to, &f, sizeof f), static_cast<double>(f);
    const bool brain = type == sw::dtype::bf16;
    const std::uint16_t half = brain ? sw::detail::to_bf16(f) : sw::detail::to_f16(f);
    std::memcpy(to, &half, sizeof half);
    return static_cast<double>(brain ? sw::detail::from_bf16(half) : sw::detail::from_f16(half));
  }
  /// A rank's columns, where they are: rows are `padded` apart.
  sw::placed<sw::tensor_view> of(const sw::step& step, int rank) const {
    const sw::intervals i = step.pieces(rank);
    sw::tensor_view v(const_cast<std::byte*>(bytes.data()) + (i.count == 0 ? 0 : i.at[0].begin) * sw::size_of(type),
                      type, {rows, i.size()});
    v.strides[0] = padded;
    return sw::assume_placed(sw::placement(sw::sharded<-1>{}), v);
  }
};

/// Random ones on a grid so coarse that many are equal, some of them -inf; the rows are more and more flat.
whole_logits random_logits(sw::dtype type, std::size_t rows, std::size_t vocabulary, std::size_t padded,
                           unsigned seed) {
  std::mt19937 random(seed);
  return {type, rows, vocabulary, padded, [&](std::size_t r, std::size_t) {
            const double grid = static_cast<double>(random() % 257) / 8 - 16, flat = static_cast<double>(1 + r * r);
            return random() % 10 == 0 ? -infinity : grid / flat;
          }};
}

std::vector<sw::sampling> ways_to_sample() {
  return {{1, 0, 1, 1},   {0.7, 0, 1, 2},    {1, 1, 1, 3},      {0.8, 40, 1, 4},    {1.3, 100000, 1, 5},
          {1, 0, 0.5, 6}, {0.9, 0, 0.97, 7}, {1, 50, 0.8, 8},   {2, 0, 0.9999, 9},  {1, 300, 0.9, 1},
          {0, 0, 1, 11},  {0, 7, 0.4, 12},   {0.01, 0, 0.3, 2}, {1e-6, 0, 1, 1234}, {1, 100000, 0.6, 6}};
}

std::uint64_t position_of(std::size_t r) { return r << 33 | (r + 5); }

/// The gathered computation of everything that `flaws` asks for.
struct gathered_answers {
  std::vector<gathered_logits::ids> order;    // of each row
  std::vector<std::int64_t> ids;              // three of each row
  std::vector<double> log_softmax;            // at those
  std::vector<gathered_logits::ids> samples;  // [way][row]

  explicit gathered_answers(const whole_logits& l) {
    for (std::size_t r = 0; r < l.rows; ++r) {
      order.push_back(gathered_logits::ranked(l.values[r]));
      for (const std::size_t id : {l.vocabulary - 1, r * 7919 % l.vocabulary, order[r][0]}) {
        ids.push_back(static_cast<std::int64_t>(id));
        log_softmax.push_back(gathered_logits::log_softmax(l.values[r], id));
      }
    }
    for (const sw::sampling& how : ways_to_sample()) {
      samples.emplace_back();
      for (std::size_t r = 0; r < l.rows; ++r)
        samples.back().push_back(gathered_logits::sample(l.values[r], how, position_of(r)));
    }
  }
};

/// What is wrong with the answers of one rank, "" if nothing.
template <class C>
std::string flaws(C& ranks, const whole_logits& l, const sw::sharding& s, const gathered_answers& expected) {
  std::string text;
  const auto expect = [&](bool right, const std::string& what) {
    if (!right) text += what + "; ";
  };
  sw::tally tally;
  sw::counted comm(ranks, tally);
  sw::logits_memory memory;
  const sw::step step = s.step("lm_head");
  const auto local = l.of(step, comm.rank());
  std::vector<std::uint64_t> positions;
  for (std::size_t r = 0; r < l.rows; ++r) positions.push_back(position_of(r));
  const sw::logits_options options{l.vocabulary, positions};
  const auto ask = [&](const sw::logits_policy& wanted) -> const sw::logits_answer& {
    tally.reset();
    const sw::logits_answer& a = sw::run(step, comm, {}, local, wanted, memory, options);
    expect(tally.total().bytes == sw::logits_bytes(step, wanted, l.rows, l.type, options, a.rounds),
           std::string(sw::name_of(wanted.kind)) + " moved " + std::to_string(tally.total().bytes) + " bytes");
    std::size_t most = 0;
    for (const std::uint32_t n : a.rounds) most = n > most ? n : most;
    expect(tally.total().calls == (comm.size() == 1 && wanted.kind != sw::logits_kind::gather ? 0 : 1 + most), "calls");
    return a;
  };
  const sw::gathered all = ask(sw::logits::gather).whole;
  expect(std::memcmp(all.data(), l.bytes.data(), l.bytes.size()) == 0 && all.tensor().shape[1] == l.padded, "gather");

  const auto check_best = [&](const sw::logits_answer& a, std::size_t k) {
    expect(a.rows == l.rows && a.width == k && a.ids.size() == l.rows * k, "shape of the best " + std::to_string(k));
    std::size_t wrong = 0;
    for (std::size_t r = 0; r < l.rows; ++r) {
      for (std::size_t i = 0; i < k; ++i) {
        const std::size_t id = expected.order[r][i];
        wrong += a.ids[r * k + i] != static_cast<std::int64_t>(id) || a.values[r * k + i] != l.values[r][id];
      }
    }
    expect(wrong == 0, "the best " + std::to_string(k));
  };
  check_best(ask(sw::logits::argmax), 1);
  for (const std::size_t k : {1u, 5u, 64u, 1000u}) check_best(ask(sw::logits::top_k(k)), std::min(k, l.vocabulary));

  const sw::logits_answer& a = ask(sw::logits::log_softmax(expected.ids));
  expect(a.width == 3 && std::ranges::equal(a.ids, expected.ids), "ids of log_softmax");
  expect(std::ranges::equal(a.values, expected.log_softmax), "log_softmax");
  for (std::size_t i = 0; i < expected.samples.size(); ++i) {
    const sw::logits_answer& drawn = ask(sw::logits::sample(ways_to_sample()[i]));
    std::size_t wrong = 0;
    for (std::size_t r = 0; r < l.rows; ++r) {
      const std::size_t id = expected.samples[i][r];
      wrong += drawn.ids[r] != static_cast<std::int64_t>(id) || drawn.values[r] != l.values[r][id];
    }
    expect(wrong == 0, "way " + std::to_string(i) + " to sample");
  }
  return text;
}

}  // namespace

TEST_CASE("a policy's answer is that of the gathered logits, for any number of ranks", "[run]") {
  struct sizes {
    sw::dtype type;
    std::size_t rows, vocabulary, padded;
  };
  constexpr std::size_t many = sanitized ? 1111 : 10000;  // more than are asked for
  for (const sizes& z : {sizes{sw::dtype::f32, 3, many, many + 240},
                         {sw::dtype::bf16, 3, many, many + 7},
                         {sw::dtype::f16, 2, 771, 771},
                         {sw::dtype::f32, 4, 771, 776},
                         {sw::dtype::bf16, 1, 640, 644},
                         {sw::dtype::f32, 2, 9, 16},
                         {sw::dtype::f32, 1, 1, 1}}) {
    const whole_logits l = random_logits(z.type, z.rows, z.vocabulary, z.padded, static_cast<unsigned>(z.vocabulary));
    const gathered_answers expected(l);
    for (int tp = 1; tp <= 8; ++tp) {
      CAPTURE(sw::name_of(z.type), z.vocabulary, z.padded, tp);
      // By torch.chunk, and so that no two ranks differ by more than one column.
      const bool even = tp % 3 != 0 || z.padded < 8;
      const sw::sharding s = head(z.padded, tp, even ? sw::division::chunk : sw::division::uneven,
                                  tp % 2 == 0 ? sw::style(sw::colwise) : sw::style(sw::colwise_gather_output));
      for (const std::string& text : sw::in_process(tp, [&](auto& comm) { return flaws(comm, l, s, expected); }))
        CHECK(text == "");
    }
  }
}

TEST_CASE("a sample with top_p asks for more ids until it has enough, and says how often", "[run]") {
  // All equal: 0.9 of the ids are kept, 9000 of 10000; over 4 ranks 64 + 256 + 1024 of each, and what is left of 2500.
  // For the sum the third tells most: 120 and 76 ids of blocks that it shares, and 18 blocks.
  const whole_logits l(sw::dtype::f32, 2, 10000, 10000, [](std::size_t r, std::size_t v) {
    return r == 0 ? 1 : v == 7777 ? 5 : -30;  // the second row is decided by its first id
  });
  const sw::sharding s = head(10000, 4);
  sw::in_process(4, [&](sw::in_process_communicator& ranks) {
    sw::tally tally;
    sw::counted comm(ranks, tally);
    sw::logits_memory memory;
    const std::uint64_t positions[] = {1, 2};
    const sw::logits_policy wanted = sw::logits::sample({1, 0, 0.9, 5});
    const sw::step step = s.step("lm_head");
    const sw::logits_options options{0, positions};
    const sw::logits_answer& a = sw::run(step, comm, {}, l.of(step, comm.rank()), wanted, memory, options);
    const bool right = a.rounds[0] == 3 && a.rounds[1] == 0 && a.ids[1] == 7777 &&
                       a.ids[0] == static_cast<std::int64_t>(gathered_logits::sample(l.values[0], wanted.how, 1));
    if (!right ||
        tally[sw::operation::all_gather] != sw::tally::entry{4, 4 * 4 * (2 * (1 + 128 + 250) + 2 * (2500 - 64))})
      throw sw::error("rounds ", a.rounds[0], ", ", a.rounds[1], ", bytes ", tally.total().bytes);
  });
}

TEST_CASE("bytes of policies are those that the layout of ids gives", "[run]") {
  const auto bytes = [](std::size_t columns, int tp, const sw::logits_policy& wanted, std::size_t rows = 1) {
    return sw::logits_bytes(head(columns, tp).step("lm_head"), wanted, rows, sw::dtype::bf16);
  };
  const std::int64_t ids[] = {1, 2};
  // 193, 193, 193 and 192 ids. The third rank has 386 to 579, and no block of its own.
  CHECK(bytes(771, 4, sw::logits::gather, 3) == 3 * 771 * 2);
  CHECK(bytes(771, 4, sw::logits::argmax, 3) == 3 * 4 * 12);
  CHECK(bytes(771, 4, sw::logits::top_k(1000)) == 4 * (4 + 8 * 193));
  CHECK(bytes(771, 4, sw::logits::log_softmax(ids)) == 4 * (4 + 8 + 4 * 193));
  CHECK(bytes(771, 4, sw::logits::log_softmax(ids), 2) == 2 * 4 * (4 + 4 + 4 * 193));
  CHECK(bytes(771, 1, sw::logits::argmax) == 0);
  // Qwen3.5: 31040 ids of each rank are 242 blocks and a half.
  CHECK(bytes(248320, 8, sw::logits::gather) == 496640);
  CHECK(bytes(248320, 8, sw::logits::argmax) == 96);
  CHECK(bytes(248320, 8, sw::logits::top_k(20)) == 8 * (4 + 160));
  CHECK(bytes(248320, 8, sw::logits::log_softmax({ids, 1})) == 8 * (4 + 4 + 242 * 12 + 64 * 4));
  CHECK(bytes(248320, 8, sw::logits::sample({})) == 8 * 20);
  CHECK(bytes(248320, 8, sw::logits::sample({1, 50, 0.9, 0})) == 8 * (4 + 400));
  CHECK(bytes(248320, 8, sw::logits::sample({1, 0, 0.9, 0})) == 8 * (4 + 512 + 242 * 12 + 64 * 4));
}

TEST_CASE("random numbers are Philox4x32-10's", "[run]") {
  using sw::detail::philox;
  using sw::detail::philox_words;
  constexpr std::uint32_t f = 0xffffffff;
  // The known answers that its authors publish.
  CHECK(philox({{0, 0, 0, 0}}, 0) == philox_words{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  CHECK(philox({{f, f, f, f}}, ~std::uint64_t{0}) == philox_words{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  CHECK(philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822) ==
        philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
  std::size_t above = 0;  // the bound, without which a logarithm is spared
  for (std::uint32_t id = 0; id < 100000; ++id) {
    const sw::detail::gumbel g(7, 8, id);
    above += !(g.value() <= g.bound());
  }
  CHECK(above == 0);
}

TEST_CASE("tokens are drawn as often as their probabilities say", "[run]") {
  // 20000 rows of the same logits, which differ in their position.
  constexpr std::size_t draws = 20000;
  const row one = {1, 0.5, -1, 2, 2, -infinity, 0, 1.25, -3};
  std::vector<std::uint64_t> positions;
  for (std::size_t i = 0; i < draws; ++i) positions.push_back(i);
  const whole_logits l(sw::dtype::f32, draws, one.size(), 12, [&](std::size_t, std::size_t v) { return one[v]; });
  const sw::sharding s = head(12, 2);
  for (const sw::sampling& how : std::vector<sw::sampling>{
           {1, 0, 1, 11}, {1, 0, 1, 12}, {0.7, 0, 1, 13}, {2.5, 5, 1, 14}, {1, 0, 0.8, 15}, {1.5, 6, 0.9, 16}}) {
    const auto counts = sw::in_process(2, [&](sw::in_process_communicator& comm) {
      sw::logits_memory memory;
      const sw::step step = s.step("lm_head");
      const auto& a =
          sw::run(step, comm, {}, l.of(step, comm.rank()), sw::logits::sample(how), memory, {one.size(), positions});
      std::vector<std::size_t> n(one.size());
      for (const std::int64_t id : a.ids) ++n[static_cast<std::size_t>(id)];
      return n;
    });
    CHECK(counts[0] == counts[1]);
    const gathered_logits::ids kept = gathered_logits::allowed(one, how);
    double total = 0, chi_square = 0, freedom = -1;
    std::size_t drawn = 0;
    for (const std::size_t v : kept) total += std::exp(one[v] / how.temperature);
    for (const std::size_t v : kept) {
      const double expected = static_cast<double>(draws) * std::exp(one[v] / how.temperature) / total;
      drawn += counts[0][v];
      if (expected == 0) continue;
      chi_square += std::pow(static_cast<double>(counts[0][v]) - expected, 2) / expected;
      freedom += 1;
    }
    CAPTURE(how.seed, chi_square, freedom);
    CHECK(drawn == draws);  // nothing else
    // Beyond it once in 1000 times (Wilson and Hilferty).
    const double f = 2 / (9 * freedom);
    CHECK(chi_square < freedom * std::pow(1 - f + 3.09 * std::sqrt(f), 3));
    CHECK(chi_square > freedom * std::pow(std::max(0.0, 1 - f - 3.09 * std::sqrt(f)), 3));
  }
}

TEST_CASE("a row without an answer is the same error on every rank, and the ranks go on", "[run]") {
  const std::int64_t id[] = {3, 3};
  const std::uint64_t positions[] = {0, 1};
  const sw::logits_policy softmax = sw::logits::log_softmax(id), top_p = sw::logits::sample({1, 0, 0.9, 0}),
                          top_k = sw::logits::sample({1, 3, 1, 0}), all = sw::logits::sample({}),
                          greedy = sw::logits::sample({0, 0, 1, 0});
  const std::string row1 = "row 1 of the logits of 'lm_head' ";
  struct fault {
    double at_500, elsewhere;
    std::string words;
    std::vector<sw::logits_policy> of;
  };
  const fault faults[] = {{not_a_number,
                           1,
                           "is not a number at id 500",
                           {sw::logits::argmax, sw::logits::top_k(7), softmax, top_p, top_k, all, greedy}},
                          {-infinity,
                           -infinity,
                           "is -inf at each of its 771 ids",
                           {sw::logits::argmax, sw::logits::top_k(7), softmax, top_p, top_k, all, greedy}},
                          {infinity, 1, "has +inf", {softmax, top_p, top_k, all}}};
  for (const int tp : {1, 2, 4}) {
    const sw::sharding s = head(776, tp);
    for (const fault& f : faults) {
      const whole_logits bad(sw::dtype::f32, 2, 771, 776, [&](std::size_t r, std::size_t v) {
        return r == 0 ? 1 : v == 500 || (v == 600 && f.at_500 != -infinity) ? f.at_500 : f.elsewhere;
      });
      const whole_logits good(sw::dtype::f32, 2, 771, 776,
                              [](std::size_t, std::size_t v) { return v == 500 ? infinity : 1; });
      for (const sw::logits_policy& wanted : f.of) {
        const auto said = sw::in_process(tp, [&](sw::in_process_communicator& comm) {
          sw::logits_memory memory;
          const sw::step step = s.step("lm_head");
          const std::string text = refusal<sw::logits_error>([&] {
            sw::run(step, comm, {}, bad.of(step, comm.rank()), wanted, memory, {771, positions});
          });
          const auto& next = sw::run(step, comm, {}, good.of(step, comm.rank()), sw::logits::argmax, memory, {771, {}});
          return text + (next.ids[1] == 500 ? "" : " and then " + std::to_string(next.ids[1]));
        });
        for (const std::string& text : said)
          CHECK(text == row1 + f.words + ": " + std::string(sw::name_of(wanted.kind)) + " has no answer");
      }
    }
  }
}

TEST_CASE("policies without an answer, and logits that are not placed so, are refused with the way out", "[run]") {
  const sw::sharding s = head(12, 1), packed = head(12, 2, sw::division::exact, sw::colwise.groups(3)),
                     summed = head(12, 1, sw::division::exact, sw::rowwise);
  support::claimed_rank comm{0, 1};
  sw::logits_memory memory;
  const auto ask = [&](const sw::logits_policy& wanted, const sw::logits_options& options,
                       sw::tensor_shape shape = {2, 12}, sw::dtype type = sw::dtype::f32,
                       const sw::sharding* of = nullptr, sw::placement where = sw::sharded<-1>{}) {
    static const float some[24] = {};
    sw::run((of == nullptr ? s : *of).step("lm_head"), comm, {},
            sw::assume_placed(where, sw::tensor_view(const_cast<float*>(some), type, shape)), wanted, memory, options);
  };
  const auto no = [&](const auto&... what) { return refusal<sw::logits_error>([&] { ask(what...); }); };
  const auto misplaced = [&](const auto&... what) { return refusal<sw::placement_error>([&] { ask(what...); }); };
  const std::string head_ = "the logits of 'lm_head': ";
  const std::int64_t three[] = {0, 1, 2}, outside[] = {0, 10}, negative[] = {-1, 0};
  CHECK(no(sw::logits::top_k(0), sw::logits_options{}) ==
        head_ + "top_k was given the best 0 ids, and takes 1 or more");
  CHECK(no(sw::logits::log_softmax(three), sw::logits_options{}) ==
        head_ + "log_softmax was given 3 ids for 2 rows, and takes the same number for each row");
  CHECK(no(sw::logits::log_softmax(outside), sw::logits_options{10, {}}) ==
        head_ + "log_softmax was given the id 10, which is not in the vocabulary of 10");
  CHECK(no(sw::logits::log_softmax(negative), sw::logits_options{}) ==
        head_ + "log_softmax was given the id -1, which is not in the vocabulary of 12");
  const std::string temperature = head_ + "sample was given a temperature that is neither 0 nor from 1e-6 on";
  for (const double t : {-1.0, 1e-7, infinity, not_a_number})
    CHECK(no(sw::logits::sample({t, 0, 1, 0}), sw::logits_options{}) == temperature);
  for (const double p : {0.0, -0.5, 1.5, not_a_number}) {
    CHECK(no(sw::logits::sample({1, 0, p, 0}), sw::logits_options{}) ==
          head_ + "sample was given a top_p that is not above 0, and up to 1");
  }
  CHECK(no(sw::logits::sample({}), sw::logits_options{}) ==
        head_ + "sample was given 0 positions for 2 rows, and takes one for each: logits_options::positions");
  CHECK(no(sw::logits::argmax, sw::logits_options{13, {}}) ==
        "the logits of 'lm_head' have 12 columns, and are said to have a vocabulary of 13");

  const sw::logits_options all;
  CHECK(misplaced(sw::logits::argmax, all, sw::tensor_shape{2, 11}) ==
        "'lm_head' yields 11 columns on rank 0, and the plan gives it 12 of 12");
  CHECK(misplaced(sw::logits::argmax, all, sw::tensor_shape{2, 12}, sw::dtype::i32) ==
        "the logits of 'lm_head' are I32, and may be F32, F16 or BF16");
  support::claimed_rank two{0, 2};
  CHECK(refusal<sw::placement_error>([&] {
          sw::run(packed.step("lm_head"), two, {},
                  sw::assume_placed<sw::sharded<-1>>(sw::tensor_view(nullptr, sw::dtype::f32, {0, 6})),
                  sw::logits::argmax, memory);
        }) ==
        "'lm_head' is packed, and the columns of a rank are no neighbours: a policy is for one vocabulary; gather it "
        "by run(step, ...)");
  CHECK(misplaced(sw::logits::argmax, all, sw::tensor_shape{}).find("'lm_head' was given a scalar") == 0);
}

TEST_CASE("whole logits ask no other rank, and any communicator is asked in the same way", "[run]") {
  const whole_logits l = random_logits(sw::dtype::bf16, 3, 300, 320, 5);
  const sw::sharding s = head(320, 2);
  const auto wrong = sw::in_process(2, [&](sw::in_process_communicator& ranks) {
    sw::tally tally;
    sw::counted counted(ranks, tally);
    sw::any_communicator comm(counted);
    sw::logits_memory memory;
    const sw::step step = s.step("lm_head");
    sw::tensor_view whole(const_cast<std::byte*>(l.bytes.data()), l.type, {3, 320});
    std::size_t n = 0;
    const auto check = [&](const auto& local, std::size_t calls) {
      const sw::logits_answer& a = sw::run(step, comm, {}, local, sw::logits::top_k(300), memory, {300, {}});
      for (std::size_t r = 0; r < 3; ++r) {
        const auto order = gathered_logits::ranked(l.values[r]);
        for (std::size_t i = 0; i < 300; ++i) n += a.ids[r * 300 + i] != static_cast<std::int64_t>(order[i]);
      }
      n += tally.total().calls != calls;
    };
    check(sw::assume_placed(sw::placement(sw::replicated{}), whole), 0);
    check(sw::assume_placed<sw::replicated>(whole), 0);
    n += sw::run(step, comm, {}, sw::assume_placed<sw::replicated>(whole), sw::logits::gather, memory).whole.data() !=
         whole.data;
    check(l.of(step, comm.rank()), 1);
    check(sw::assume_placed<sw::sharded<-1>>(l.of(step, comm.rank()).local()), 2);
    // No rows are no question.
    sw::tensor_view none(nullptr, l.type, {0, 160});
    const auto& a = sw::run(step, comm, {}, sw::assume_placed<sw::sharded<-1>>(none), sw::logits::sample({}), memory);
    n += a.rows != 0 || !a.ids.empty() || tally.total().calls != 2;
    return n;
  });
  CHECK(wrong == std::vector<std::size_t>{0, 0});
}
