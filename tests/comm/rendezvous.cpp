// SPDX-License-Identifier: Apache-2.0
// The rendezvous that stand on something that is there: a communicator, a user's callback.
#include "shardwise/comm/rendezvous.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <thread>

#include "catch.hpp"
#include "rendezvous_support.hpp"

using namespace rendezvous_test;
using namespace std::chrono_literals;

namespace {
struct no_barrier {
  int rank() const { return 0; }
  int size() const { return 1; }
  void broadcast(std::span<std::byte>, int) {}
};
struct on_a_stream {
  using stream_type = int;
  int rank() const { return 0; }
  int size() const { return 1; }
  void barrier(int) {}
  void broadcast(void*, std::size_t, sw::dtype, int, int) {}
};
template <class C>
concept has_rendezvous = requires(C& c) {
  sw::communicator_rendezvous(c);
};

// True on all ranks, if no rank has left `f` before all have entered it.
template <class F>
bool holds_all(std::atomic<int>& entered, int ranks, F f) {
  ++entered;
  f();
  return entered == ranks;
}
}  // namespace

static_assert(sw::rendezvous<sw::communicator_rendezvous<sw::in_process_communicator>>);
static_assert(!sw::rendezvous<no_barrier>);
static_assert(has_rendezvous<sw::in_process_communicator>);
static_assert(!has_rendezvous<on_a_stream>, "broadcast bytes are on the host when the call returns");

TEST_CASE("ranks with a communicator have a rendezvous") {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    CAPTURE(ranks);
    std::size_t wrong = 0;
    for (const std::size_t w : sw::in_process(ranks, [](sw::in_process_communicator& comm) {
           sw::communicator_rendezvous meeting(comm);
           return wrong_bytes(meeting) + (meeting.rank() == comm.rank() && meeting.size() == comm.size() ? 0u : 1u);
         }))
      wrong += w;
    CHECK(wrong == 0);
  }
}

TEST_CASE("sizes that differ are the communicator's error") {
  for (const std::string& text : sw::in_process(2, [](sw::in_process_communicator& comm) {
         std::array<std::byte, 8> bytes{};
         sw::communicator_rendezvous meeting(comm);
         return told_by([&] { meeting.broadcast(std::span(bytes).first(comm.rank() == 0 ? 8 : 4), 0); });
       })) {
    CHECK(has(text, "rank 0 called broadcast of 8 u8 from root 0, rank 1 called broadcast of 4 u8 from root 0"));
  }
}

TEST_CASE("a user's broadcast is a rendezvous, with a barrier made of it or the user's own") {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    CAPTURE(ranks);
    for (const bool own_barrier : {false, true}) {
      std::atomic<int> entered = 0, barriers = 0;
      std::size_t wrong = 0;
      for (const std::size_t w : sw::in_process(ranks, [&](sw::in_process_communicator& comm) {
             const auto broadcast = [&](std::span<std::byte> bytes, int root) {
               comm.broadcast(bytes.data(), bytes.size(), sw::dtype::u8, root);
             };
             const auto check = [&](auto meeting) {
               static_assert(sw::rendezvous<decltype(meeting)>);
               const std::size_t bytes = wrong_bytes(meeting);
               // Whoever comes late is waited for.
               if (comm.rank() == comm.size() - 1) std::this_thread::sleep_for(5ms);
               return bytes + (holds_all(entered, ranks, [&] { meeting.barrier(); }) ? 0u : 1u);
             };
             if (!own_barrier) return check(sw::callback_rendezvous(comm.rank(), comm.size(), broadcast));
             return check(sw::callback_rendezvous(comm.rank(), comm.size(), broadcast, [&] {
               ++barriers;
               comm.barrier();
             }));
           }))
        wrong += w;
      CHECK(wrong == 0);
      CHECK(barriers == (own_barrier ? 5 * ranks : 0));
    }
  }
}

TEST_CASE("what a user's callback throws is passed on, and wrong ranks are refused") {
  const auto broken = [](std::span<std::byte>, int) { sw::detail::raise(sw::comm_error("the store is gone")); };
  sw::callback_rendezvous meeting(1, 2, broken);
  std::byte b{};
  CHECK_THROWS_MATCHES(meeting.broadcast(std::span(&b, 1), 0), sw::comm_error, says("the store is gone"));
  CHECK_THROWS_MATCHES(meeting.barrier(), sw::comm_error, says("the store is gone"));
  CHECK_THROWS_MATCHES(meeting.broadcast(std::span(&b, 1), 2), sw::comm_error, says("broadcast from rank 2 of 2"));
  CHECK_THROWS_MATCHES(sw::callback_rendezvous(2, 2, broken), sw::comm_error, says("rank 2 of 2"));
  CHECK_THROWS_MATCHES(sw::callback_rendezvous(-1, 2, broken), sw::comm_error, says("rank -1 of 2"));
  CHECK_THROWS_MATCHES(sw::callback_rendezvous(0, 0, broken), sw::comm_error, says("rank 0 of 0"));
}
