// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/any_communicator.hpp"

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "recorder.hpp"
#include "support.hpp"

using namespace comm_test;

static_assert(sw::full_communicator<sw::any_communicator>);
static_assert(std::convertible_to<sw::in_process_communicator&, sw::any_communicator>);
static_assert(!std::convertible_to<sw::in_process_communicator, sw::any_communicator>,
              "it would refer to what is gone");
static_assert(!std::convertible_to<const sw::in_process_communicator&, sw::any_communicator>);
static_assert(!std::convertible_to<int&, sw::any_communicator>);
static_assert(std::convertible_to<sw::host_stream, sw::any_stream> && std::convertible_to<fake_stream, sw::any_stream>);

TEST_CASE("any_communicator passes every argument and the stream on") {
  std::vector<std::string> direct, erased;
  recorder to_direct{direct}, to_erased{erased};
  sw::any_communicator any = to_erased;
  const auto stream = reinterpret_cast<fake_stream>(send_memory);
  call_all(to_direct, stream);
  call_all(any, stream);
  CHECK(direct.size() == 7);
  CHECK(erased == direct);
  CHECK(any.rank() == 2);
  CHECK(any.size() == 5);
  // An any_communicator of an any_communicator is the same one.
  sw::any_communicator again = any;
  call_all(again, stream);
  CHECK(erased.size() == 14);
}

TEST_CASE("what split returns owns the new communicator") {
  std::vector<std::string> calls;
  std::optional<sw::any_communicator> part;
  {
    recorder whole{calls};
    sw::any_communicator any = whole;
    part = any.split(3, 1);
  }
  CHECK(calls == std::vector<std::string>{"split 3 1"});
  CHECK(part->size() == 3);
  CHECK(part->rank() == 1);
  call_all(*part, sw::any_stream{});
  CHECK(calls.size() == 8);
}

TEST_CASE("ranks behind any_communicator do what they do without") {
  // No template: what an engine writes that takes any of them.
  const auto engine = [](sw::any_communicator comm) {
    float x = static_cast<float>(comm.rank() + 1), all[4] = {};
    comm.all_reduce(&x, &x, 1, sw::dtype::f32, sw::reduction::sum);
    comm.all_gather(&x, all, 1, sw::dtype::f32, sw::host_stream{});
    sw::any_communicator pair = comm.split(comm.rank() / 2, 0);
    std::int32_t ranks = 1;
    pair.all_reduce(&ranks, &ranks, 1, sw::dtype::i32, sw::reduction::sum);
    pair.barrier();
    return std::vector<float>{all[0], all[3], static_cast<float>(ranks), static_cast<float>(pair.rank())};
  };
  const auto seen = sw::in_process(4, [&](sw::in_process_communicator& c) { return engine(c); });
  for (int r = 0; r < 4; ++r) {
    CHECK(seen[as_size(r)] == std::vector<float>{10, 10, 2, static_cast<float>(r % 2)});
  }
}

TEST_CASE("errors come through any_communicator") {
  CHECK_THROWS_MATCHES(sw::in_process(2,
                                      [](sw::in_process_communicator& c) {
                                        sw::any_communicator any = c;
                                        if (c.rank() == 0) any.barrier();
                                      }),
                       sw::comm_error, says("rank 1 returned after 0 collectives"));
}
