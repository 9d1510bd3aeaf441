// SPDX-License-Identifier: Apache-2.0
// What a serving engine calls for each token allocates nothing of its own.
#include <cstdlib>
#include <new>
#include <vector>

#include "catch.hpp"
#include "experts_support.hpp"
#include "shardwise/comm.hpp"
#include "shardwise/run.hpp"
#include "shardwise/shard.hpp"
#include "support.hpp"

namespace {
thread_local std::size_t allocations = 0;
}

// This program's own. Not inlined, where g++ would see a free of what `new` gave.
[[gnu::noinline]] void* operator new(std::size_t n) {
  ++allocations;
  if (void* p = std::malloc(n == 0 ? 1 : n)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace sw = shardwise;

TEST_CASE("an observed collective, a step and a gather of logits allocate nothing", "[run]") {
  sw::tree t;
  t.add("down.weight", sw::dtype::f32, {8, 8}).add("head.weight", sw::dtype::f32, {12, 8});
  const sw::sharding s =
      sw::shard(sw::plan({{"down", sw::rowwise}, {"head", sw::colwise_gather_output}}), t, {.tp = 2});
  support::claimed_rank base{1, 2};
  sw::tally counts;
  sw::counted comm(base, counts);
  std::vector<float> buffer(100 * 12);
  const sw::step down = s.step("down"), head = s.step("head");

  const std::size_t before = allocations;
  for (const std::size_t tokens : {1u, 2u, 100u}) {
    const sw::gather_output g(head, comm.rank(), tokens, sw::dtype::f32);
    const sw::gathered logits = g.run(comm, {}, buffer.data());
    for (const sw::row_segment& segment : logits.row(tokens - 1)) base.collectives += segment.count == 0;
  }
  const sw::tensor_view x(buffer.data(), sw::dtype::f32, {1, 8});
  sw::detail::all_reduce(down, comm, {}, x, sw::reduction::sum);
  comm.in_module("down");
  comm.barrier({});
  const std::size_t after = allocations;
  CHECK(after == before);
  CHECK(counts.total().calls == 5);

  // Nor does a second exchange with experts of as many tokens.
  const sw::sharding moe = experts_test::sharding_of(6, 2);
  const sw::experts_by_rank experts(moe, "moe.experts");
  const experts_test::mixture m(6, 20, 2, 1);
  sw::token_dispatch dispatch(experts, 0, 2);
  std::size_t first = 0, second = 0;
  for (std::size_t* n : {&first, &second}) {
    const std::size_t start = allocations;
    dispatch.route(20, std::span<const std::int64_t>(m.ids), std::span<const float>(m.shares), 16);
    dispatch.receive_counts(dispatch.counts_to_send());  // as if rank 1 had the same tokens
    *n = allocations - start;
  }
  CHECK(first != 0);
  CHECK(second == 0);

  // The counter counts.
  const std::size_t none = allocations;
  ::operator delete(::operator new(1));
  CHECK(allocations == none + 1);
}
