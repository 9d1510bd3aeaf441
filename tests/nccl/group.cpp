// SPDX-License-Identifier: Apache-2.0
#include "shardwise/nccl/group.hpp"

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace nccl_test;
using sw::nccl::group;

static_assert(!std::is_copy_constructible_v<group> && !std::is_move_constructible_v<group>);

TEST_CASE("sends and receives of a group are done together", "[nccl]") {
  clean_slate slate;
  on_gpus(4, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const int next = (comm.rank() + 1) % 4, before = (comm.rank() + 3) % 4;
    const floats mine(5, static_cast<float>(comm.rank())), theirs(5, -1);
    group g(comm);
    comm.send(g, mine.data(), 5, sw::dtype::f32, next, stream);
    comm.recv(g, theirs.data(), 5, sw::dtype::f32, before, stream);
    g.end();
    g.end();
    comm.wait(stream);
    if (theirs.get() != std::vector<float>(5, static_cast<float>(before))) throw std::logic_error("ring");
    return 0;
  });
  CHECK(fake_gpu::counted().groups == 4);
  CHECK(fake_gpu::counted().largest_group == 2);
  CHECK(slate.left() == "");
}

TEST_CASE("one group holds calls on several communicators of a thread, and groups may be nested", "[nccl]") {
  clean_slate slate;
  on_gpus(4, {.name = "world"}, [](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
    gpu_rank pair = comm.split(comm.rank() / 2, 0);
    const floats a(3, 1), b(3, 1), c(2, static_cast<float>(comm.rank()));
    const floats all(4, -1);
    host.barrier();
    if (host.rank() == 0) fake_gpu::reset_counts();
    host.barrier();
    {
      group outer(comm);
      comm.all_reduce(a.data(), a.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
      {
        group inner(comm, pair);
        pair.all_reduce(b.data(), b.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
        inner.end();
      }
      // A collective that is a group itself, inside of two.
      const std::vector<std::size_t> columns = {1, 0, 1, 2};
      comm.gather_last_dim(c.data(), 2, all.data(), 4, 1, columns, sw::dtype::f32, stream);
      outer.end();
    }
    comm.wait(stream);
    pair.wait(stream);
    if (a.get() != std::vector<float>(3, 4) || b.get() != std::vector<float>(3, 2)) throw std::logic_error("sums");
    if (all.get() != std::vector<float>{0, 2, 3, 3}) throw std::logic_error("gather");
    return 0;
  });
  CHECK(fake_gpu::counted().groups == 4);
  CHECK(fake_gpu::counted().largest_group == 5);
  CHECK(slate.left() == "");
}

TEST_CASE("what is not in the group is refused, and so is what would wait in one", "[nccl]") {
  clean_slate slate;
  const auto texts = on_gpus(2, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank& host) {
    gpu_rank other = comm.split(0, 0);
    const floats x(4);
    std::vector<std::string> told;
    {
      group g(comm);
      told = {error_of([&] { other.send(g, x.data(), 1, sw::dtype::f32, 0, stream); }),
              error_of([&] { comm.recv(g, x.data(), 1, sw::dtype::f32, 2, stream); }),
              error_of([&] { comm.send(g, nullptr, 1, sw::dtype::f32, 1, stream); }),
              error_of([&] { comm.wait(stream); }),
              error_of([&] { comm.barrier(stream); }),
              error_of([&] { (void)comm.split(0, 0); }),
              error_of([&] { other.close(); }),
              error_of([&] {
                sw::communicator_rendezvous meeting(host);
                (void)gpu_rank::create(meeting);
              })};
      g.end();
      told.push_back(error_of([&] { comm.send(g, x.data(), 1, sw::dtype::f32, 0, stream); }));
    }
    if (!comm.healthy() || !other.healthy()) told.push_back("poisoned");
    comm.barrier(stream);
    other.barrier(stream);
    return told;
  });
  for (const auto& told : texts) {
    REQUIRE(told.size() == 9);
    CHECK(has(told[0], "(tp/0, device "));
    CHECK(has(told[0], "send of 1 f32 to rank 0: the group does not have this communicator: name it"));
    CHECK(has(told[1], "recv of 1 f32 from rank 2: the peer is not a rank of this communicator"));
    CHECK(has(told[2], "send of 1 f32 to rank 1: a buffer is null"));
    CHECK(has(told[3], "wait was called inside a group"));
    CHECK(has(told[4], "barrier was called inside a group"));
    CHECK(has(told[5], "split was called inside a group"));
    CHECK(has(told[6], "close was called inside a group"));
    CHECK(has(told[7], "communicator::create was called inside a group"));
    CHECK(has(told[8], "the group does not have this communicator"));
  }
  CHECK(slate.left() == "");
}

TEST_CASE("a group that is left by an exception is ended, and the next one works", "[nccl]") {
  clean_slate slate;
  on_gpus(2, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(3, 1);
    try {
      group outer(comm);
      group inner(comm);
      comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
      throw std::runtime_error("of the engine");
    } catch (const std::runtime_error&) {
    }
    comm.wait(stream);
    comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
    comm.wait(stream);
    if (x.get() != std::vector<float>(3, 4)) throw std::logic_error("sum");
    return 0;
  });
  CHECK(fake_gpu::calls("ncclGroupStart") == fake_gpu::calls("ncclGroupEnd"));
  CHECK(slate.left() == "");
}

TEST_CASE("an error inside a group is thrown there, ends the group, and aborts only after it", "[nccl]") {
  clean_slate slate;
  fake_gpu::inject({.function = "ncclAllGather", .nth = 2, .result = ncclSystemError, .rank = 0});
  const auto texts = on_gpus(1, {.name = "tp"}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(3, 1);
    std::vector<std::string> told;
    {
      group g(comm);
      comm.all_gather(x.data(), x.data(), 1, sw::dtype::f32, stream);
      told.push_back(error_of([&] { comm.all_gather(x.data(), x.data(), 1, sw::dtype::f32, stream); }));
      told.push_back(error_of([&] { comm.broadcast(x.data(), 1, sw::dtype::f32, 0, stream); }));
      if (fake_gpu::calls("ncclCommAbort") != 0) told.push_back("aborted inside the group");
      told.push_back(error_of([&] { g.end(); }));
      if (fake_gpu::calls("ncclCommAbort") != 1) told.push_back("not aborted after the group");
    }
    told.push_back(error_of([&] { comm.barrier(stream); }));
    return told;
  });
  REQUIRE(texts[0].size() == 4);
  for (const std::string& text : texts[0]) {
    CHECK(
        has(text, "rank 0 of 1 (tp, device 0): all_gather of 1 f32 (call 2): ncclAllGather gave ncclSystemError (2)"));
  }
  CHECK(has(texts[0][3], "; it was aborted"));
  CHECK(slate.left() == "");
}

TEST_CASE("an error of a group's end poisons all its communicators, and the destructor keeps it", "[nccl]") {
  clean_slate slate;
  for (const bool explicitly : {true, false}) {
    fake_gpu::clear_injections();
    fake_gpu::inject({.function = "ncclGroupEnd", .nth = 1, .result = ncclInternalError, .rank = -1});
    const auto texts = on_gpus(1, {.name = "tp"}, [&](gpu_rank& comm, cudaStream_t stream, host_rank&) {
      gpu_rank other = comm.split(0, 0);
      const floats x(3, 1);
      std::string ended;
      {
        group g(comm, other);
        comm.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
        other.all_reduce(x.data(), x.data(), 3, sw::dtype::f32, sw::reduction::sum, stream);
        if (explicitly) ended = error_of([&] { g.end(); });
      }
      return std::vector<std::string>{ended, error_of([&] { comm.wait(stream); }),
                                      error_of([&] { other.wait(stream); })};
    });
    CHECK(has(texts[0][0], explicitly ? "ncclGroupEnd gave ncclInternalError (3)" : ""));
    for (const std::size_t i : {1u, 2u}) CHECK(has(texts[0][i], "ncclGroupEnd gave ncclInternalError (3)"));
    CHECK(has(texts[0][1], "(tp, device 0)"));
    CHECK(has(texts[0][2], "(tp/0, device 0)"));
  }
  CHECK(slate.left() == "");
}

TEST_CASE("a communicator that is destroyed inside a group of others is aborted, and the group goes on", "[nccl]") {
  clean_slate slate;
  on_gpus(2, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(1, 1);
    {
      gpu_rank other = comm.split(0, 0);
      group g(comm);
      comm.all_reduce(x.data(), x.data(), 1, sw::dtype::f32, sw::reduction::sum, stream);
      { const gpu_rank gone = std::move(other); }
      g.end();
    }
    comm.wait(stream);
    if (x.get() != std::vector<float>{2}) throw std::logic_error("sum");
    return 0;
  });
  CHECK(fake_gpu::calls("ncclCommAbort") == 2);
  CHECK(fake_gpu::calls("ncclCommFinalize") == 2);
  CHECK(slate.left() == "");
}

TEST_CASE("a communicator that is destroyed inside its group is ended after it", "[nccl]") {
  clean_slate slate;
  on_gpus(1, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const floats x(1);
    group g(comm);
    comm.all_reduce(x.data(), x.data(), 1, sw::dtype::f32, sw::reduction::sum, stream);
    { const gpu_rank gone = std::move(comm); }
    if (fake_gpu::calls("ncclCommAbort") != 0) throw std::logic_error("aborted inside");
    if (!has(error_of([&] { g.end(); }), "closed inside a group")) throw std::logic_error("text");
    return 0;
  });
  CHECK(fake_gpu::calls("ncclCommAbort") == 1);
  CHECK(slate.left() == "");
}

TEST_CASE("a collective that has to be one group is refused where NCCL documents that no group is as large", "[nccl]") {
  sw::nccl::detail::state s({.name = "ep"});
  s.size = 1025;
  s.last = {.op = sw::operation::all_to_all, .type = sw::dtype::bf16};
  CHECK(error_of([&] { sw::nccl::detail::require_one_group(s, 2048); }).empty());
  CHECK(
      error_of([&] { sw::nccl::detail::require_one_group(s, 2050); }) ==
      "rank 0 of 1025 (ep): all_to_all of bf16: it takes 2050 calls in one group, and NCCL documents at most 2048: use "
      "communicators of fewer ranks (groups, split)");
}
