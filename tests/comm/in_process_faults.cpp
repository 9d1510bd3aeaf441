// SPDX-License-Identifier: Apache-2.0
// What becomes of the others when a rank throws, returns or does not come, and when ranks do not agree.
#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "fault_rounds.hpp"
#include "shardwise/comm/in_process.hpp"
#include "support.hpp"

using namespace comm_test;
using namespace std::chrono_literals;
using ranked = sw::in_process_communicator;

namespace {

constexpr sw::operation operations[] = {
    sw::operation::barrier,        sw::operation::all_reduce, sw::operation::all_gather, sw::operation::gather_last_dim,
    sw::operation::reduce_scatter, sw::operation::broadcast,  sw::operation::all_to_all, sw::operation::split};

// Any of them, right in itself.
void call(ranked& c, sw::operation op) {
  const std::size_t ranks = as_size(c.size());
  std::vector<float> send(ranks, 1), recv(ranks);
  const std::vector<std::size_t> ones(ranks, 1);
  switch (op) {
    case sw::operation::barrier: return c.barrier();
    case sw::operation::all_reduce:
      return c.all_reduce(send.data(), recv.data(), ranks, sw::dtype::f32, sw::reduction::sum);
    case sw::operation::all_gather: return c.all_gather(send.data(), recv.data(), 1, sw::dtype::f32);
    case sw::operation::gather_last_dim:
      return c.gather_last_dim(send.data(), 1, recv.data(), ranks, 1, ones, sw::dtype::f32);
    case sw::operation::reduce_scatter:
      return c.reduce_scatter(send.data(), recv.data(), 1, sw::dtype::f32, sw::reduction::sum);
    case sw::operation::broadcast: return c.broadcast(send.data(), 1, sw::dtype::f32, 0);
    case sw::operation::all_to_all: return c.all_to_all(send.data(), ones, recv.data(), ones, sw::dtype::f32);
    case sw::operation::split: (void)c.split(0, 0);
  }
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const sw::comm_error& e) {
    return e.what();
  }
  return "no comm_error";
}

// Every rank runs `f(comm)`; what it is told, by rank.
template <class F>
std::vector<std::string> told(int ranks, F f, sw::in_process_options options = {}) {
  return sw::in_process(
      ranks, [&](ranked& c) { return error_of([&] { f(c); }); }, options);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }
std::string place(sw::operation op, int number) {
  return std::string(sw::name_of(op)) + " (collective " + std::to_string(number) + ")";
}
// A rank is told where it waits itself, or to which collective it came when all was over.
bool says_where_it_stands(const std::string& text, int rank, const std::string& where) {
  return has(text, rank_text(rank) + " waits in " + where) || has(text, rank_text(rank) + " then came to " + where);
}

struct engine_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Each gives "" or what was wrong.
std::string one_throws(int ranks, int who, sw::operation op) {
  std::vector<std::string> texts(as_size(ranks));
  try {
    sw::in_process(ranks, [&](ranked& c) {
      c.barrier();
      if (c.rank() == who) throw engine_error("boom");
      texts[as_size(c.rank())] = error_of([&] { call(c, op); });
    });
    return "in_process did not throw";
  } catch (const engine_error& e) {
    if (std::string(e.what()) != "boom") return e.what();
  }
  for (int r = 0; r < ranks; ++r) {
    const std::string& text = texts[as_size(r)];
    if (r == who) continue;
    if (!has(text, rank_text(who) + " ended before the others: \"boom\"")) return text;
    if (!says_where_it_stands(text, r, place(op, 2))) return text;
  }
  return "";
}

std::string one_returns(int ranks, int who, sw::operation op) {
  const auto texts = sw::in_process(ranks, [&](ranked& c) {
    c.barrier();
    return c.rank() == who ? std::string() : error_of([&] { call(c, op); });
  });
  for (int r = 0; r < ranks; ++r) {
    const std::string& text = texts[as_size(r)];
    if (r == who) continue;
    if (!has(text, rank_text(who) + " returned after 1 collective and will not come to " + place(op, 2))) return text;
    if (!says_where_it_stands(text, r, place(op, 2))) return text;
  }
  return "";
}

std::string one_never_comes(int ranks, int who, sw::operation op, std::chrono::milliseconds deadline) {
  std::atomic<int> told_so_far = 0;
  const auto texts = sw::in_process(ranks,
                                    [&](ranked& c) {
                                      if (c.rank() == who) {
                                        while (told_so_far < ranks - 1) std::this_thread::sleep_for(100us);
                                      }
                                      const std::string text = error_of([&] { call(c, op); });
                                      ++told_so_far;
                                      return text;
                                    },
                                    {deadline});
  const std::string within = " within " + std::to_string(deadline.count()) + " ms: it has called no collective";
  for (int r = 0; r < ranks; ++r) {
    const std::string& text = texts[as_size(r)];
    if (!has(text, rank_text(who) + " did not come to " + place(op, 1) + within)) return text;
    if (!says_where_it_stands(text, r, place(op, 1))) return text;
  }
  return "";
}

}  // namespace

TEST_CASE("a rank that throws, returns or never comes ends the others, in each collective, time after time") {
  constexpr int counts[] = {2, 3, 8};
  const int n = fault_rounds(20);
  REQUIRE(n > 0);
  for (int round = 0; round < n; ++round) {
    const int ranks = counts[round % 3], who = (round / 3) % ranks;
    for (const sw::operation op : operations) {
      CAPTURE(round, ranks, who, sw::name_of(op));
      REQUIRE(one_throws(ranks, who, op) == "");
      REQUIRE(one_returns(ranks, who, op) == "");
      REQUIRE(one_never_comes(ranks, who, op, 5ms) == "");
    }
  }
}

TEST_CASE("the others are ended at once, not at the deadline") {
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(sw::in_process(3,
                                 [](ranked& c) {
                                   if (c.rank() == 2) std::this_thread::sleep_for(20ms);  // the others sleep by now
                                   if (c.rank() == 2) throw engine_error("boom");
                                   c.barrier();
                                 },
                                 {30s}),
                  engine_error);
  CHECK(std::chrono::steady_clock::now() - start < 15s);
}

TEST_CASE("a rank that never comes ends the others at the deadline, and is told so when it does") {
  const auto start = std::chrono::steady_clock::now();
  const auto texts = told(3,
                          [](ranked& c) {
                            c.barrier();
                            c.split(0, 0).barrier();
                            if (c.rank() == 1) std::this_thread::sleep_for(400ms);
                            call(c, sw::operation::all_gather);
                          },
                          {100ms});
  CHECK(std::chrono::steady_clock::now() - start >= 400ms);
  const std::string expected =
      "rank 1 did not come to all_gather (collective 3) within 100 ms: it was last in barrier (collective 1 of the "
      "split {0, 1, 2}); rank 0 waits in all_gather (collective 3); rank 2 waits in all_gather (collective 3)";
  CHECK(texts[0] == expected);
  CHECK(texts[1] == expected + "; rank 1 then came to all_gather (collective 3)");
  CHECK(texts[2] == expected);
}

TEST_CASE("the deadline is read as seconds where it is whole seconds") {
  const auto texts = told(2,
                          [](ranked& c) {
                            if (c.rank() == 1) std::this_thread::sleep_for(1100ms);
                            c.barrier();
                          },
                          {1s});
  CHECK_THAT(texts[0], Catch::Matchers::ContainsSubstring("rank 1 did not come to barrier (collective 1) within 1 s:"));
}

TEST_CASE("ranks that wait for each other in different communicators end at the deadline, with both places") {
  const auto texts = told(2,
                          [](ranked& c) {
                            ranked part = c.split(0, 0);
                            (c.rank() == 0 ? c : part).barrier();
                          },
                          {20ms});
  for (int r = 0; r < 2; ++r) {
    CHECK_THAT(texts[as_size(r)], Catch::Matchers::ContainsSubstring("rank 0 waits in barrier (collective 2)"));
    CHECK_THAT(texts[as_size(r)],
               Catch::Matchers::ContainsSubstring("rank 1 waits in barrier (collective 1 of the split {0, 1})"));
  }
}

TEST_CASE("returning early is fine when nobody waits") {
  CHECK_NOTHROW(sw::in_process(3, [](ranked& c) {
    ranked part = c.split(c.rank() == 0, 0);
    if (c.rank() == 0) return;
    for (int i = 0; i < 20; ++i) part.barrier();
  }));
}

TEST_CASE("the caller gets what the failing rank threw, with its rank and its own type") {
  const auto run = [](auto thrown) {
    sw::in_process(3, [&](ranked& c) {
      c.barrier();
      if (c.rank() == 1) throw thrown;
      c.barrier();
    });
  };
  struct derived : sw::shard_error {
    using sw::shard_error::shard_error;
    int code = 42;
  };
  CHECK_THROWS_MATCHES(run(sw::placement_error("boom")), sw::placement_error, says("rank 1: boom"));
  CHECK_THROWS_MATCHES(run(sw::comm_error("boom")), sw::comm_error, says("rank 1: boom"));
  CHECK_THROWS_MATCHES(run(derived("boom")), derived, says("rank 1: boom"));
  CHECK_THROWS_AS(run(engine_error("boom")), engine_error);
  CHECK_THROWS_AS(run(7), int);
  try {
    run(derived("boom"));
  } catch (const derived& e) {
    CHECK(e.code == 42);
    CHECK(e.text() == "rank 1: boom");
  }
}

TEST_CASE("the others are told the reason, whatever was thrown") {
  const auto reason = [](auto thrown) {
    std::string text;
    try {
      sw::in_process(2, [&](ranked& c) {
        if (c.rank() == 1) throw thrown;
        text = error_of([&] { c.barrier(); });
      });
    } catch (...) {
    }
    return text;
  };
  const std::string where = "barrier (collective 1)";
  for (const std::string& text : {reason(7), reason(engine_error("boom")), reason(sw::plan_error("boom"))}) {
    CAPTURE(text);
    CHECK(has(text, "rank 1 ended before the others: \""));
    CHECK(says_where_it_stands(text, 0, where));
  }
  CHECK(has(reason(7), "\"an exception that is no std::exception\""));
  CHECK(has(reason(sw::plan_error("boom")), "\"boom\""));
  const std::string long_text = reason(engine_error(std::string(5000, 'x')));  // where it stands is still said
  CHECK(has(long_text, "rank 1 ended before the others: \"xxx"));
  CHECK(says_where_it_stands(long_text, 0, where));
}

TEST_CASE("a failure that all ranks meet is thrown to the caller, unless they catch it") {
  const auto early = [](ranked& c) {
    if (c.rank() != 1) c.barrier();
  };
  CHECK_THROWS_MATCHES(sw::in_process(3, early), sw::comm_error,
                       says("rank 1 returned after 0 collectives and will not come to barrier (collective 1)"));
  CHECK_NOTHROW(told(3, early));
}

TEST_CASE("after a failure every call gives the first reason at once, on every communicator") {
  const auto start = std::chrono::steady_clock::now();
  std::vector<int> wrong_texts(4, 0);
  (void)told(4,
             [&](ranked& c) {
               ranked part = c.split(c.rank() % 2, 0);
               const auto first = error_of([&] { c.broadcast(nullptr, 0, sw::dtype::f32, c.rank() == 3 ? 1 : 0); });
               const std::string reason = first.substr(0, first.find(':'));
               int& n = wrong_texts[as_size(c.rank())];
               n += has(reason, "rank 3 called broadcast of 0 f32 from root 1") ? 0 : 1;
               for (const sw::operation op : operations) {
                 n += has(error_of([&] { call(c, op); }), reason) ? 0 : 1;
                 n += has(error_of([&] { call(part, op); }), reason) ? 0 : 1;
               }
             },
             {30s});
  CHECK(wrong_texts == std::vector<int>(4, 0));
  CHECK(std::chrono::steady_clock::now() - start < 15s);
}

TEST_CASE("a rank that throws ends waits in splits that it has no part in") {
  const std::string part = " of the split {0, 1})";
  std::vector<std::string> texts(4);
  CHECK_THROWS_AS(sw::in_process(4,
                                 [&](ranked& c) {
                                   ranked half = c.split(c.rank() / 2, 0);
                                   ranked all = c.split(0, -c.rank());
                                   if (c.rank() == 3) throw engine_error("boom");
                                   if (c.rank() == 1) std::this_thread::sleep_for(5ms);
                                   auto& text = texts[as_size(c.rank())];
                                   if (c.rank() == 0)
                                     text = error_of([&] {
                                       half.barrier();
                                       all.barrier();
                                     });
                                   if (c.rank() == 1) text = error_of([&] { all.barrier(); });
                                   if (c.rank() == 2) text = error_of([&] { half.barrier(); });
                                 },
                                 {30s}),
                  engine_error);
  for (int r = 0; r < 3; ++r) CHECK(has(texts[as_size(r)], "rank 3 ended before the others: \"boom\""));
  CHECK(says_where_it_stands(texts[0], 0, "barrier (collective 1" + part));
  CHECK(says_where_it_stands(texts[1], 1, "barrier (collective 1 of the split {3, 2, 1, 0})"));
  CHECK(says_where_it_stands(texts[2], 2, "barrier (collective 1 of the split {2, 3})"));
}

TEST_CASE("no rank takes its buffers away while another reads them") {
  // Ranks 0 and 1 reduce heap buffers that die with the failure of rank 2: the sanitizers look on.
  for (int round = 0; round < 20; ++round) {
    CHECK_THROWS_AS(sw::in_process(3,
                                   [&](ranked& c) {
                                     ranked pair = c.split(c.rank() == 2, 0);
                                     std::atomic<int> idle = 0;
                                     for (int i = 0; i < 1000 * round && c.rank() == 2; ++i) ++idle;
                                     if (c.rank() == 2) throw engine_error("boom");
                                     for (;;) {
                                       std::vector<float> x(20000, 1), y(20000);
                                       pair.all_reduce(x.data(), y.data(), x.size(), sw::dtype::f32,
                                                       sw::reduction::sum);
                                     }
                                   }),
                    engine_error);
  }
}

TEST_CASE("calls that do not match are an error on all ranks, which names both") {
  using sw::dtype;
  using sw::reduction;
  float send[16] = {}, recv[3][16] = {};
  const auto everyone_is_told = [&](const std::string& expected, auto f) {
    CAPTURE(expected);
    const auto texts = told(3, [&](ranked& c) { f(c, c.rank() == 1, recv[c.rank()]); }, {30s});
    for (const std::string& text : texts) CHECK(text.substr(0, expected.size()) == expected);
  };
  everyone_is_told("rank 0 called all_reduce of 8 f32 by sum, rank 1 called all_gather of 5 f32 (collective 2): every",
                   [&](ranked& c, bool odd, float* to) {
                     c.barrier();
                     if (odd) return c.all_gather(send, to, 5, dtype::f32);
                     c.all_reduce(send, to, 8, dtype::f32, reduction::sum);
                   });
  everyone_is_told("rank 0 called barrier, rank 1 called split (collective 1): ", [&](ranked& c, bool odd, float*) {
    if (odd) return void(c.split(0, 0));
    c.barrier();
  });
  everyone_is_told(
      "rank 0 called all_reduce of 8 f32 by sum, rank 1 called all_reduce of 7 f32 by sum (collective 1)",
      [&](ranked& c, bool odd, float* to) { c.all_reduce(send, to, odd ? 7 : 8, dtype::f32, reduction::sum); });
  everyone_is_told("rank 0 called all_reduce of 8 f32 by sum, rank 1 called all_reduce of 8 i32 by sum (collective 1)",
                   [&](ranked& c, bool odd, float* to) {
                     c.all_reduce(send, to, 8, odd ? dtype::i32 : dtype::f32, reduction::sum);
                   });
  everyone_is_told("rank 0 called all_reduce of 8 f32 by sum, rank 1 called all_reduce of 8 f32 by max (collective 1)",
                   [&](ranked& c, bool odd, float* to) {
                     c.all_reduce(send, to, 8, dtype::f32, odd ? reduction::max : reduction::sum);
                   });
  everyone_is_told(
      "rank 0 called reduce_scatter of 4 bf16 by max, rank 1 called reduce_scatter of 3 bf16 by max (collective 1)",
      [&](ranked& c, bool odd, float* to) { c.reduce_scatter(send, to, odd ? 3 : 4, dtype::bf16, reduction::max); });
  everyone_is_told("rank 0 called all_gather of 4 f32, rank 1 called all_gather of 4 i32 (collective 1)",
                   [&](ranked& c, bool odd, float* to) { c.all_gather(send, to, 4, odd ? dtype::i32 : dtype::f32); });
  everyone_is_told("rank 0 called broadcast of 4 f16 from root 2, rank 1 called broadcast of 4 f16 from root 1 (coll",
                   [&](ranked& c, bool odd, float* to) { c.broadcast(to, 4, dtype::f16, odd ? 1 : 2); });
  everyone_is_told(
      "rank 0 called gather_last_dim of 2 rows, columns [1, 2, 1], f32, rank 1 called gather_last_dim of 2 rows, "
      "columns [1, 1, 2], f32 (collective 1)",
      [&](ranked& c, bool odd, float* to) {
        const std::size_t columns[2][3] = {{1, 2, 1}, {1, 1, 2}};
        c.gather_last_dim(send, 4, to, 5, 2, columns[odd], dtype::f32);
      });
  everyone_is_told(
      "rank 0 called gather_last_dim of 2 rows, columns [1, 1, 1], f32, rank 1 called gather_last_dim of 3",
      [&](ranked& c, bool odd, float* to) {
        const std::size_t columns[] = {1, 1, 1};
        c.gather_last_dim(send, 4, to, 5, odd ? 3 : 2, columns, dtype::f32);
      });
  everyone_is_told("rank 0 called all_to_all of f32, rank 1 called all_to_all of f64 (collective 1)",
                   [&](ranked& c, bool odd, float* to) {
                     const std::size_t ones[] = {1, 1, 1};
                     c.all_to_all(send, ones, to, ones, odd ? dtype::f64 : dtype::f32);
                   });
  everyone_is_told("rank 1 sends 2 f32 to rank 2, which expects 1, in all_to_all (collective 1): ",
                   [&](ranked& c, bool odd, float* to) {
                     const std::size_t sent[2][3] = {{1, 1, 1}, {1, 1, 2}}, received[] = {1, 1, 1};
                     c.all_to_all(send, sent[odd], to, received, dtype::f32);
                   });
}

TEST_CASE("a mismatch in a split names the ranks of the whole and the split") {
  const auto texts = told(4, [](ranked& c) {
    ranked odd_ones = c.split(c.rank() % 2, 0);
    float x = 1;
    if (c.rank() == 1) odd_ones.broadcast(&x, 1, sw::dtype::f32, 0);
    if (c.rank() == 3) odd_ones.all_gather(&x, &x, 0, sw::dtype::f32);
    c.barrier();
  });
  for (const std::string& text : texts) {
    CHECK(has(text,
              "rank 1 called broadcast of 1 f32 from root 0, rank 3 called all_gather of 0 f32 (collective 1 of "
              "the split {1, 3}): every"));
  }
}

TEST_CASE("an argument that is wrong by itself is refused on all ranks") {
  using sw::dtype;
  using sw::reduction;
  float x[64] = {};
  const auto is_refused = [&](const std::string& call_text, const std::string& reason, auto f) {
    CAPTURE(call_text, reason);
    for (const std::string& text : told(2, f, {30s})) {
      CHECK(has(text, call_text));
      CHECK(has(text, reason));
    }
  };
  for (const dtype type : other_types) {
    is_refused("all_reduce of 4 ", "reductions are of f32, f64, f16, bf16, i32, i64 and u8",
               [&](ranked& c) { c.all_reduce(x, x, 4, type, reduction::sum); });
    is_refused("reduce_scatter of 4 ", "reductions are of f32, f64, f16, bf16, i32, i64 and u8",
               [&](ranked& c) { c.reduce_scatter(x, x, 4, type, reduction::max); });
  }
  const std::size_t ones[] = {1, 1, 1};
  const std::span<const std::size_t> pair(ones, 2);
  is_refused("broadcast of 4 f32 from root 2 (collective 1): ", "the root is not a rank",
             [&](ranked& c) { c.broadcast(x, 4, dtype::f32, 2); });
  is_refused("broadcast of 4 f32 from root -1 (collective 1): ", "the root is not a rank",
             [&](ranked& c) { c.broadcast(x, 4, dtype::f32, -1); });
  is_refused("gather_last_dim", "one count for each rank",
             [&](ranked& c) { c.gather_last_dim(x, 1, x + 32, 3, 1, ones, dtype::f32); });
  is_refused("gather_last_dim", "a stride is too short",
             [&](ranked& c) { c.gather_last_dim(x, 0, x + 32, 2, 2, pair, dtype::f32); });
  is_refused("gather_last_dim", "a stride is too short",
             [&](ranked& c) { c.gather_last_dim(x, 1, x + 32, 1, 2, pair, dtype::f32); });
  is_refused("all_to_all", "one count for each rank",
             [&](ranked& c) { c.all_to_all(x, c.rank() == 0 ? std::span(ones) : pair, x + 32, pair, dtype::f32); });
  is_refused("all_to_all", "one count for each rank",
             [&](ranked& c) { c.all_to_all(x, pair, x + 32, ones, dtype::f32); });
  is_refused("all_to_all", "in place", [&](ranked& c) { c.all_to_all(x, pair, x, pair, dtype::f32); });
  is_refused("all_reduce of 1 f32 by sum (collective 1): ", "a buffer is null",
             [&](ranked& c) { c.all_reduce(nullptr, x, 1, dtype::f32, reduction::sum); });
  is_refused("all_gather of 1 f32 (collective 1): ", "a buffer is null",
             [&](ranked& c) { c.all_gather(x, nullptr, 1, dtype::f32); });
}

TEST_CASE("the first failure is told, whatever a rank throws after it", "[comm]") {
  try {
    sw::in_process(3,
                   [](auto& comm) {
                     if (comm.rank() == 0) {
                       std::this_thread::sleep_for(std::chrono::milliseconds(100));
                       throw std::runtime_error("late and unrelated");
                     }
                     auto part = comm.split(0, 0);
                     if (comm.rank() == 1) part.barrier({});
                   },
                   {.deadline = std::chrono::milliseconds(20)});
    FAIL("nothing was thrown");
  } catch (const sw::comm_error& e) {
    CHECK(std::string(e.what()).find("rank 0 did not come to split") == 0);
  }
}

TEST_CASE("one exception that several ranks throw is no race, and is told once", "[comm]") {
  const std::exception_ptr shared = std::make_exception_ptr(sw::shard_error("of all"));
  CHECK_THROWS_MATCHES(sw::in_process(4, [&](auto&) { std::rethrow_exception(shared); }), sw::shard_error,
                       says(": of all"));
}

TEST_CASE("a deadline may be as long as a clock can say, and not zero", "[comm]") {
  CHECK(sw::in_process(2,
                       [](auto& comm) {
                         comm.barrier({});
                         return 1;
                       },
                       {.deadline = std::chrono::milliseconds::max()})
            .size() == 2);
  CHECK_THROWS_AS(sw::in_process(2, [](auto&) {}, {.deadline = std::chrono::milliseconds(0)}), sw::comm_error);
}
