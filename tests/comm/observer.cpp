// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/observer.hpp"

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "catch.hpp"
#include "recorder.hpp"
#include "shardwise/comm/tally.hpp"
#include "support.hpp"

using namespace comm_test;
using sw::operation;

namespace {

/// Notes what it is told, between the calls that the recorder below notes.
struct notes {
  std::vector<std::string>& lines;
  void note(const char* when, const sw::collective_event& e) {
    lines.push_back(std::string(when) + ' ' + std::string(sw::name_of(e.op)) + " '" + std::string(e.module) + "' " +
                    std::to_string(e.bytes) + " of rank " + std::to_string(e.rank));
  }
  void begin(const sw::collective_event& e) { note("begin", e); }
  void end(const sw::collective_event& e) { note("end", e); }
};
struct notes_of_failures : notes {
  void failed(const sw::collective_event& e) { note("failed", e); }
};
static_assert(sw::collective_observer<notes> && sw::collective_observer<notes_of_failures>);
static_assert(sw::collective_observer<sw::tally> && !sw::collective_observer<std::string>);

using watched = sw::observed<sw::in_process_communicator&, sw::tally>;
static_assert(sw::full_communicator<watched> && sw::takes_module<watched>);
static_assert(!sw::takes_module<recorder> && !sw::takes_module<sw::forwarding_communicator<recorder&>>);
static_assert(sw::takes_module<sw::forwarding_communicator<watched>> && sw::takes_module<sw::any_communicator>);

/// What has a barrier has no more when it is watched.
struct bare {
  using stream_type = sw::host_stream;
  int rank() const { return 0; }
  int size() const { return 1; }
  void barrier(stream_type) {}
};
using watched_bare = sw::observed<bare, sw::tally>;
static_assert(!sw::can_all_reduce<watched_bare> && !sw::can_all_gather<watched_bare> &&
              !sw::can_gather_last_dim<watched_bare> && !sw::can_reduce_scatter<watched_bare> &&
              !sw::can_broadcast<watched_bare> && !sw::can_all_to_all<watched_bare> && !sw::can_split<watched_bare>);
// Nothing is paid where nobody watches.
static_assert(sizeof(sw::forwarding_communicator<recorder&>) == sizeof(recorder*));

/// A communicator whose every call fails.
struct broken : recorder {
  void barrier(fake_stream) { sw::detail::raise(sw::comm_error("broken")); }
  broken split(int, int) { sw::detail::raise(sw::comm_error("broken")); }
};

const auto stream = reinterpret_cast<fake_stream>(send_memory);

}  // namespace

TEST_CASE("an observer is told of each call before it and after it, with the module that was said") {
  std::vector<std::string> lines;
  recorder base{lines};
  notes n{lines};
  sw::observed comm(base, n);
  comm.in_module("model.layers.3.mlp.down_proj");
  comm.all_reduce(send_memory, recv_memory, 11, sw::dtype::bf16, sw::reduction::max, stream);
  comm.in_module({});
  comm.barrier(stream);
  REQUIRE(lines.size() == 6);
  CHECK(lines[0] == "begin all_reduce 'model.layers.3.mlp.down_proj' 22 of rank 2");
  CHECK(lines[1] == line("all_reduce", static_cast<const void*>(send_memory), static_cast<void*>(recv_memory), 11,
                         sw::dtype::bf16, sw::reduction::max, stream));
  CHECK(lines[2] == "end all_reduce 'model.layers.3.mlp.down_proj' 22 of rank 2");
  CHECK(lines[3] == "begin barrier '' 0 of rank 2");
  CHECK(lines[5] == "end barrier '' 0 of rank 2");
}

TEST_CASE("every operation is told once, in order, and forwarded with all its arguments") {
  std::vector<std::string> direct, forwarded, told;
  recorder to_direct{direct}, base{forwarded};
  notes n{told};
  sw::observed comm(base, n);
  call_all(to_direct, stream);
  call_all(comm, stream);
  CHECK(forwarded == direct);
  const std::string expected[] = {"barrier '' 0",          "all_reduce '' 22",      "all_gather '' 240",
                                  "gather_last_dim '' 90", "reduce_scatter '' 104", "broadcast '' 112",
                                  "all_to_all '' 40"};
  REQUIRE(told.size() == 14);
  for (std::size_t i = 0; i < 7; ++i) {
    CHECK(told[2 * i] == "begin " + expected[i] + " of rank 2");
    CHECK(told[2 * i + 1] == "end " + expected[i] + " of rank 2");
  }
}

TEST_CASE("a split of an observed communicator tells the same observer, as the rank that it is there") {
  std::vector<std::string> calls, told;
  recorder base{calls};
  notes n{told};
  sw::observed comm(base, n);
  comm.in_module("whole");
  auto part = comm.split(3, 1);  // the recorder's part has the key for a rank
  part.in_module("part");
  part.broadcast(recv_memory, 1, sw::dtype::u8, 0, stream);
  CHECK(told == std::vector<std::string>{"begin split 'whole' 0 of rank 2", "end split 'whole' 0 of rank 2",
                                         "begin broadcast 'part' 1 of rank 1", "end broadcast 'part' 1 of rank 1"});
}

TEST_CASE("a call that throws is not ended, and is said to have failed to who wants to know") {
  std::vector<std::string> calls, told;
  broken base{{calls}};
  notes n{told};
  sw::observed comm(base, n);
  CHECK_THROWS_AS(comm.barrier(stream), sw::comm_error);
  CHECK(told == std::vector<std::string>{"begin barrier '' 0 of rank 2"});
  told.clear();
  notes_of_failures f{{told}};
  sw::observed heard(base, f);
  CHECK_THROWS_AS(heard.barrier(stream), sw::comm_error);
  CHECK_THROWS_AS(heard.split(0, 0), sw::comm_error);
  heard.broadcast(recv_memory, 1, sw::dtype::u8, 0, stream);
  CHECK(told == std::vector<std::string>{"begin barrier '' 0 of rank 2", "failed barrier '' 0 of rank 2",
                                         "begin split '' 0 of rank 2", "failed split '' 0 of rank 2",
                                         "begin broadcast '' 1 of rank 2", "end broadcast '' 1 of rank 2"});
}

TEST_CASE("the module is passed on through every communicator that stands before the observed one") {
  std::vector<std::string> calls, told;
  recorder base{calls};
  notes n{told};
  sw::observed comm(base, n);
  sw::tally t;
  sw::observed twice(comm, t);
  auto own =
      sw::with_all_reduce(twice, [&](const void* send, void* recv, std::size_t count, sw::dtype type, sw::reduction op,
                                     fake_stream s) { comm.all_reduce(send, recv, count, type, op, s); });
  sw::any_communicator any = own;
  any.in_module("m");
  any.broadcast(recv_memory, 1, sw::dtype::u8, 0, stream);
  any.all_reduce(send_memory, recv_memory, 1, sw::dtype::u8, sw::reduction::sum, stream);
  CHECK(told == std::vector<std::string>{"begin broadcast 'm' 1 of rank 2", "end broadcast 'm' 1 of rank 2",
                                         "begin all_reduce 'm' 1 of rank 2", "end all_reduce 'm' 1 of rank 2"});
  CHECK(t[operation::broadcast].calls == 1);
  CHECK(t[operation::all_reduce].calls == 0);  // the engine's own
  // Nobody listens behind this one, and saying it does nothing.
  sw::any_communicator deaf = base;
  deaf.in_module("m");
  deaf.split(0, 0).in_module("m");
  CHECK(calls.back() == line("split", 0, 0));
}
