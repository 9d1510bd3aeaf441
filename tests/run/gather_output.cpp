// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/gather_output.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "../comm/recorder.hpp"
#include "catch.hpp"
#include "shardwise/comm.hpp"
#include "support.hpp"

namespace sw = shardwise;
using support::head;
using support::refusal;

namespace {

/// What the whole logits have at row t and column v. Exact in f32.
float logit(std::size_t t, std::size_t v) { return static_cast<float>(t * 4099 + v * 7 + 1); }

struct counts {
  std::size_t wrong = 0, calls = 0, bytes = 0;
};

/// As an engine: each rank writes its columns where it is told, and then reads all.
counts gather(const sw::sharding& s, sw::in_process_communicator& ranks, std::size_t tokens, std::size_t columns,
              const sw::gather_options& options, bool segmented) {
  sw::tally tally;
  sw::counted comm(ranks, tally);
  const sw::step step = s.step("lm_head");
  const sw::gather_output g(step, comm.rank(), tokens, sw::dtype::f32, options);
  counts n;
  n.wrong += g.elements() != tokens * columns || g.bytes() != 4 * tokens * columns;
  std::vector<float> buffer(g.elements() + 1, -1);  // one more, which nobody may write

  const sw::tensor_view mine = g.local(buffer.data());
  const sw::intervals own = step.pieces(comm.rank());
  const std::size_t begin = own.count == 0 ? columns : own.at[0].begin;
  n.wrong += !(mine.shape == sw::tensor_shape{tokens, own.size()});
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t c = 0; c < own.size(); ++c) {
      static_cast<float*>(mine.data)[t * mine.strides[0] + c * mine.strides[1]] = logit(t, begin + c);
    }
  }
  const sw::gathered logits = g.run(comm, {}, buffer.data());
  n.calls = tally.total().calls;
  n.bytes = tally[sw::operation::gather_last_dim].bytes;

  n.wrong += logits.data() != buffer.data() || logits.is_row_major() == segmented || buffer.back() != -1;
  std::vector<float> copy(tokens * (columns + 3), -2);
  sw::tensor_view rows(copy.data(), sw::dtype::f32, {tokens, columns});
  rows.strides[0] = columns + 3;
  sw::permute(logits, rows);
  for (std::size_t t = 0; t < tokens; ++t) {
    std::size_t next = 0;
    for (const sw::row_segment& segment : logits.row(t)) {
      n.wrong += segment.begin != next || segment.count == 0;
      for (std::size_t c = 0; c < segment.count; ++c) {
        n.wrong += buffer[segment.offset + c] != logit(t, segment.begin + c);
      }
      next += segment.count;
    }
    n.wrong += next != columns;
    for (std::size_t v = 0; v < columns; ++v) {
      n.wrong += logits.at<float>(t, v) != logit(t, v) || copy[t * (columns + 3) + v] != logit(t, v);
    }
    for (std::size_t v = columns; v < columns + 3; ++v) n.wrong += copy[t * (columns + 3) + v] != -2;
  }
  if (!segmented) {
    const sw::tensor_view whole = logits.tensor();
    n.wrong +=
        !whole.contiguous() || !(whole.shape == sw::tensor_shape{tokens, columns}) || whole.data != buffer.data();
  }
  return n;
}

void check(std::size_t tokens, std::size_t columns, int tp, const sw::gather_options& options = {},
           sw::division divided = sw::division::chunk) {
  INFO("T " << tokens << ", V " << columns << ", tp " << tp << ", row-major up to " << options.row_major_up_to);
  const sw::sharding s = head(columns, tp, divided);
  // One rank with columns has all of them: its segment is the whole, row-major.
  const bool segmented = tokens > std::max<std::size_t>(options.row_major_up_to, 1) && tp > 1 && columns > 1;
  const auto results = sw::in_process(
      tp, [&](sw::in_process_communicator& ranks) { return gather(s, ranks, tokens, columns, options, segmented); });
  for (const counts& n : results) {
    CHECK(n.wrong == 0);
    CHECK(n.calls == 1);
    CHECK(n.bytes == tokens * columns * 4);
  }
}

}  // namespace

TEST_CASE("gathered logits are whole on every rank, row-major up to 64 tokens and in segments beyond", "[run]") {
  for (const int tp : {1, 2, 3, 4, 8}) {
    // Equal columns, a shorter last one, ranks without any, and fewer columns than ranks.
    for (const std::size_t columns : {240u, 241u, 9u, 3u, 1u}) {
      for (const std::size_t tokens : {0u, 1u, 2u, 16u, 64u, 65u, 256u}) check(tokens, columns, tp);
    }
  }
}

TEST_CASE("one token is row-major whatever the limit, and no tokens need no buffer", "[run]") {
  const sw::sharding s = head(10, 2);
  const sw::gather_output one(s.step("lm_head"), 1, 1, sw::dtype::f32, {.row_major_up_to = 0});
  CHECK(one.shape().row_major);
  const sw::gather_output none(s.step("lm_head"), 1, 0, sw::dtype::f32);
  CHECK(none.local(nullptr).data == nullptr);
  CHECK(none.local(nullptr).shape == sw::tensor_shape{0, 5});
}

TEST_CASE("gathered logits are right for any T, V, number of ranks and limit", "[run]") {
  std::mt19937 random(20250611);
  const auto up_to = [&](unsigned n) { return static_cast<std::size_t>(random() % (n + 1)); };
  for (int i = 0; i < 300; ++i) {
    check(up_to(20), 1 + up_to(60), static_cast<int>(1 + up_to(6)), {.row_major_up_to = up_to(20)});
    // Dealt evenly but for one column.
    const int tp = static_cast<int>(1 + up_to(6));
    check(up_to(20), static_cast<std::size_t>(tp) + up_to(60), tp, {.row_major_up_to = up_to(20)},
          sw::division::uneven);
  }
}

TEST_CASE("the gather is one call: in-place rows, or one row of whole segments", "[run]") {
  struct row {
    std::size_t tokens, columns, stride, rows;
    std::vector<std::size_t> of_ranks;
    std::size_t offset;  // of rank 2's product, in elements
  };
  // Over 5 ranks.
  const row rows[] = {{1, 40, 40, 1, {8, 8, 8, 8, 8}, 16},   {2, 40, 40, 2, {8, 8, 8, 8, 8}, 16},
                      {64, 40, 40, 64, {8, 8, 8, 8, 8}, 16}, {65, 40, 65 * 40, 1, {520, 520, 520, 520, 520}, 65 * 16},
                      {2, 38, 38, 2, {8, 8, 8, 8, 6}, 16},   {100, 11, 100 * 11, 1, {300, 300, 300, 200, 0}, 600}};
  for (const row& r : rows) {
    INFO("T " << r.tokens << ", V " << r.columns);
    std::vector<std::string> calls, expected;
    comm_test::recorder comm{calls}, by_hand{expected};
    std::vector<float> buffer(r.tokens * r.columns);
    const auto stream = reinterpret_cast<comm_test::fake_stream>(comm_test::send_memory);
    const sw::sharding s = head(r.columns, 5);
    sw::gather_output(s.step("lm_head"), 2, r.tokens, sw::dtype::f32).run(comm, stream, buffer.data());
    by_hand.gather_last_dim(buffer.data() + r.offset, r.rows > 1 ? r.stride : r.of_ranks[2], buffer.data(), r.stride,
                            r.rows, r.of_ranks, sw::dtype::f32, stream);
    CHECK(calls == expected);
  }
}

TEST_CASE("a step of a style that is ours, and of an embedding, is gathered by its own cut", "[run]") {
  const sw::sharding exact = head(12, 4, sw::division::exact);
  const sw::gather_output g(exact.step("lm_head"), 3, 100, sw::dtype::bf16);
  CHECK(g.shape() == sw::gathered_shape{100, 12, 3, 4, 0, false});
  char memory[1];
  CHECK(static_cast<char*>(g.local(memory).data) - memory == 100 * 9 * 2);
  CHECK(g.local(memory).contiguous());
  const sw::sharding embedding = head(10, 4, sw::division::chunk, sw::embedding_colwise);  // [10, 8]: 8 columns
  CHECK(sw::gather_output(embedding.step("lm_head"), 0, 7, sw::dtype::f32).shape() ==
        sw::gathered_shape{7, 8, 2, 4, 0, true});
}

TEST_CASE("how logits lie is known at compile time where the sizes are", "[run]") {
  constexpr sw::gathered_shape apart{3, 10, 4, 2, 2, false};  // 3 tokens, 10 columns, over 3 ranks: 4, 4, 2
  static_assert(apart.segments() == 3);
  static_assert(apart.segment(1, 2) == sw::row_segment{3 * 8 + 2, 8, 2});
  static_assert(apart.index(2, 9) == 29 && apart.index(0, 4) == 12);
  static_assert(sw::gathered_shape{3, 10, 4, 2, 2, true}.index(2, 9) == 29);
  static_assert(sw::gathered_shape{3, 0, 0, 0, 0, true}.segments() == 0);
  CHECK(apart.segments() == 3);
}

TEST_CASE("what is no gather of one dim, and the wrong ranks, are refused with the way out", "[run]") {
  using sw::comm_error;
  using sw::placement_error;
  const sw::sharding good = head(12, 2), packed = head(12, 2, sw::division::exact, sw::colwise_gather_output.groups(3)),
                     row = head(12, 2, sw::division::chunk, sw::rowwise);
  const auto make = [](const sw::sharding& s, int rank) {
    return sw::gather_output(s.step("lm_head"), rank, 4, sw::dtype::f32);
  };
  CHECK(refusal<placement_error>([&] { make(row, 0); }) ==
        "'lm_head' is rowwise, and gathers no output: take the step of a module that is colwise_gather_output from its "
        "sharding");
  CHECK(refusal<placement_error>([&] { make(packed, 0); }) ==
        "'lm_head' is packed, 3 groups laid side by side: gather_output is for one; gather it by run(step, ...)");
  CHECK(refusal<comm_error>([&] { make(good, 2); }) == "'lm_head' is cut over 2 ranks, and has no rank 2");
  CHECK(refusal<comm_error>([&] { make(good, -1); }) == "'lm_head' is cut over 2 ranks, and has no rank -1");
  float buffer[48];
  support::claimed_rank other{1, 2}, more{0, 3};
  const sw::gather_output g = make(good, 0);
  CHECK(refusal<comm_error>([&] { g.run(other, {}, buffer); }) ==
        "the gather of 'lm_head' was made for rank 0, and rank 1 runs it");
  CHECK(refusal<comm_error>([&] { g.run(more, {}, buffer); }) ==
        "the step of 'lm_head' is of a sharding for 2 ranks, and the communicator has 3: shard for its size, {.tp = "
        "comm.size()}");
  CHECK(other.collectives + more.collectives == 0);

  const sw::gathered apart(buffer, sw::dtype::f32, {3, 10, 5, 2, 0, false});
  CHECK(refusal<placement_error>([&] { apart.tensor(); }) ==
        "the 10 columns of 3 tokens are in 2 segments, one for each rank, and are no [T, V]: read them by row(t), "
        "permute them, or raise row_major_up_to");
  const std::string wrong = "permute writes 3 dense rows of 10 columns of F32, and was given another tensor";
  float out[60];
  sw::tensor_view strided(out, sw::dtype::f32, {3, 10});
  strided.strides[1] = 2;
  CHECK(refusal<placement_error>([&] { sw::permute(apart, strided); }) == wrong);
  CHECK(refusal<placement_error>([&] { sw::permute(apart, {out, sw::dtype::f32, {10, 3}}); }) == wrong);
  CHECK(refusal<placement_error>([&] { sw::permute(apart, {out, sw::dtype::i32, {3, 10}}); }) == wrong);
}

TEST_CASE("ranks that gather another number of tokens are told so", "[run]") {
  const sw::sharding s = head(12, 2);
  const std::string told = refusal<sw::comm_error>([&] {
    sw::in_process(2, [&](sw::in_process_communicator& comm) {
      std::vector<float> buffer(12 * 3);
      sw::gather_output(s.step("lm_head"), comm.rank(), comm.rank() == 0 ? 2 : 3, sw::dtype::f32)
          .run(comm, {}, buffer.data());
    });
  });
  CHECK_THAT(told, Catch::Matchers::ContainsSubstring("gather_last_dim"));
}
