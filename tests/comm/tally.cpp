// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/tally.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "recorder.hpp"
#include "support.hpp"

using namespace comm_test;
using sw::operation;

static_assert(sw::full_communicator<sw::counted<sw::in_process_communicator&>>);
static_assert(sw::full_communicator<sw::counted<sw::any_communicator&>>);

TEST_CASE("a tally counts calls and the bytes of the whole result") {
  std::vector<std::string> direct, forwarded;
  recorder to_direct{direct}, base{forwarded};
  sw::tally t;
  sw::counted comm(base, t);
  const auto stream = reinterpret_cast<fake_stream>(send_memory);
  call_all(to_direct, stream);
  call_all(comm, stream);
  CHECK(forwarded == direct);
  CHECK(comm.rank() == 2);
  CHECK(comm.size() == 5);
  CHECK(t[operation::barrier] == sw::tally::entry{1, 0});
  CHECK(t[operation::all_reduce] == sw::tally::entry{1, 11 * 2});                            // bf16
  CHECK(t[operation::all_gather] == sw::tally::entry{1, 5 * 12 * 4});                        // 5 ranks, f32
  CHECK(t[operation::gather_last_dim] == sw::tally::entry{1, 3 * (1 + 2 + 3 + 4 + 5) * 2});  // 3 rows, f16
  CHECK(t[operation::reduce_scatter] == sw::tally::entry{1, 13 * 8});                        // f64
  CHECK(t[operation::broadcast] == sw::tally::entry{1, 14 * 8});                             // i64
  CHECK(t[operation::all_to_all] == sw::tally::entry{1, 6 + 7 + 8 + 9 + 10});                // u8
  CHECK(t[operation::split] == sw::tally::entry{0, 0});
  CHECK(t.total() == sw::tally::entry{7, 22 + 240 + 90 + 104 + 112 + 40});

  call_all(comm, stream);
  CHECK(t[operation::all_reduce] == sw::tally::entry{2, 2 * 11 * 2});
  t.reset();
  CHECK(t.total() == sw::tally::entry{0, 0});
}

TEST_CASE("a split of a counted communicator is counted in the same tally") {
  std::vector<std::string> calls;
  recorder base{calls};
  sw::tally t;
  sw::counted comm(base, t);
  auto part = comm.split(3, 1);  // of 3 ranks
  part.all_gather(send_memory, recv_memory, 2, sw::dtype::f32, nullptr);
  CHECK(t[operation::split] == sw::tally::entry{1, 0});
  CHECK(t[operation::all_gather] == sw::tally::entry{1, 3 * 2 * 4});
}

TEST_CASE("a call that fails is not counted") {
  std::vector<std::size_t> calls(2, 99);
  CHECK_THROWS_AS(sw::in_process(2,
                                 [&](sw::in_process_communicator& c) {
                                   sw::tally t;
                                   sw::counted comm(c, t);
                                   try {
                                     if (c.rank() == 0) comm.barrier({});
                                   } catch (const sw::comm_error&) {
                                     calls[0] = t.total().calls;
                                     throw;
                                   }
                                 }),
                  sw::comm_error);
  CHECK(calls[0] == 0);
}
