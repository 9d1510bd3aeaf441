// SPDX-License-Identifier: Apache-2.0
// What every rendezvous between processes has to do, as functions of how ranks meet: `make()` gives a place (a port, a
// folder) whose `meet(rank, ranks, deadline)` gives the rendezvous.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "rendezvous_support.hpp"

namespace rendezvous_test {

/// Ranks meet and call `f(meeting)`; what each was told.
template <class Make, class F>
std::vector<std::string> told_when_met(Make make, int ranks, F f, milliseconds deadline = std::chrono::seconds(20)) {
  const auto place = make();
  return told_ranks(ranks, [&](int rank) {
    auto meeting = place.meet(rank, ranks, deadline);
    f(meeting);
  });
}

template <class Make>
void check_bytes(Make make) {
  const held_by_process before;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    CAPTURE(ranks);
    std::atomic<std::size_t> wrong = 0;
    CHECK(told_when_met(make, ranks, [&](auto& meeting) { wrong += wrong_bytes(meeting); }) ==
          std::vector<std::string>(as_size(ranks)));
    CHECK(wrong == 0);
  }
  CHECK(before.is_as_before());
}

/// No constructor returns, and no rank leaves a barrier, before all have come.
template <class Make>
void check_barriers(Make make) {
  std::atomic<int> constructed = 0, entered = 0, wrong = 0;
  const auto place = make();
  CHECK(told_ranks(4, [&](int rank) {
          if (rank == 2) std::this_thread::sleep_for(milliseconds(30));
          ++constructed;
          auto meeting = place.meet(rank, 4, std::chrono::seconds(20));
          wrong += constructed == 4 ? 0 : 1;
          if (rank == 3) std::this_thread::sleep_for(milliseconds(30));
          ++entered;
          meeting.barrier();
          wrong += entered == 4 ? 0 : 1;
        }) == std::vector<std::string>(4));
  CHECK(wrong == 0);
}

/// Calls that do not match are told to all ranks, after `words` ('rendezvous "job"'), now and later.
template <class Make>
void check_mismatches(Make make, const std::string& words) {
  std::array<std::byte, 800> bytes[3] = {};
  const auto all_told = [&](const std::string& why, auto call) {
    CAPTURE(why);
    std::vector<std::string> again(3);
    const auto texts = told_when_met(make, 3, [&](auto& meeting) {
      const std::size_t rank = as_size(meeting.rank());
      meeting.barrier();
      const std::string first = told_by([&] { call(meeting, std::span<std::byte>(bytes[rank])); });
      again[rank] = told_by([&] { meeting.barrier(); });
      sw::detail::raise(sw::comm_error(first));
    });
    for (int rank = 0; rank < 3; ++rank) {
      const std::string expected = words + ", rank " + std::to_string(rank) + " of 3: " + why +
                                   ": every rank must make the same calls with the same sizes, in the same order";
      CHECK(texts[as_size(rank)] == expected);
      CHECK(again[as_size(rank)] == expected);
    }
  };
  all_told(
      "rank 2 called broadcast of 4 bytes from rank 0 (call 2), rank 0 called broadcast of 8 bytes from rank 0 (call "
      "2)",
      [](auto& m, auto b) { m.broadcast(b.first(m.rank() == 2 ? 4 : 8), 0); });
  all_told(
      "rank 1 called broadcast of 800 bytes from rank 1 (call 2), rank 0 called broadcast of 8 bytes from rank 0 (call "
      "2)",
      [](auto& m, auto b) { m.broadcast(b.first(m.rank() == 1 ? 800 : 8), m.rank() == 1 ? 1 : 0); });
  all_told("rank 2 called barrier (call 2), rank 0 called broadcast of 0 bytes from rank 0 (call 2)",
           [](auto& m, auto b) { m.rank() == 2 ? m.barrier() : m.broadcast(b.first(0), 0); });
}

/// Of three ranks one does not come to the second call, and all are told which; where it is rank 0, through which all
/// goes, its silence may be all that is known.
template <class Make>
void check_silence(Make make) {
  for_rounds(
      [&](int round) {
        const int who = round % 3;
        return given_time([&](milliseconds deadline) {
          std::atomic<int> told = 0;
          const auto texts = told_when_met(
              make, 3,
              [&](auto& meeting) {
                meeting.barrier();
                if (meeting.rank() == who) {
                  for (int i = 0; told < 2 && i < 5000; ++i) std::this_thread::sleep_for(milliseconds(1));
                  return;
                }
                const std::string text = told_by([&] { meeting.barrier(); });
                ++told;
                sw::detail::raise(sw::comm_error(text));
              },
              deadline);
          const std::string silent = "rank " + std::to_string(who) + " did not come to barrier (call 2)";
          const std::string unanswered = "no answer of rank 0 to barrier (call 2)" + within(deadline);
          for (int r = 0; r < 3; ++r) {
            const std::string& text = texts[as_size(r)];
            if (r != who && !says_late(text, silent, deadline) && !(who == 0 && has(text, unanswered)))
              return "rank " + std::to_string(r) + ": " + text;
          }
          return std::string();
        });
      },
      few_rounds);
}

}  // namespace rendezvous_test
