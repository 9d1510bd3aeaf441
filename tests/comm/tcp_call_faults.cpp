// SPDX-License-Identifier: Apache-2.0
// What goes wrong when ranks have met over TCP, many times over: always a named error in time, nothing left behind.
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "rendezvous_suite.hpp"
#include "tcp_support.hpp"

using namespace rendezvous_test;
using namespace std::chrono_literals;

TEST_CASE("a rank that never comes to a call over TCP is named to all that do") { check_silence(new_port); }

TEST_CASE("frames that are none, and lie about their size, end a rank with a named error") {
  for_rounds([](int round) {
    std::mt19937 random(static_cast<unsigned>(round) + 5);
    const int manner = round % 3;
    const std::string text = rank0_is_told(15s, [&](const auto& at) {
      raw_peer peer(at);
      peer.say(hello_of(1, 2).bytes());
      (void)peer.hears();  // accepted
      (void)peer.hears();  // start
      auto frame = sw::detail::tcp_frame{.kind = sw::detail::frame_kind::barrier, .number = 1}.bytes();
      if (manner == 0) frame[random() % 8] ^= static_cast<std::byte>(1 + random() % 255);
      if (manner == 1) frame[8] = static_cast<std::byte>(8 + random() % 200);
      if (manner == 2) {
        frame = sw::detail::tcp_frame{.kind = sw::detail::frame_kind::failure,
                                      .follow = std::uint64_t{1} << (11 + random() % 50)}
                    .bytes();
      }
      peer.say(frame);
      (void)peer.hears();
    });
    return differs({text}, {"rank 1 sent bytes that are no frame of the rendezvous, in barrier (call 1)"});
  });
}

TEST_CASE("after a message that was sent in part nothing is sent that could be taken for its rest") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  sw::detail::tcp_link link{sw::detail::descriptor(ends[0])};
  const sw::detail::descriptor other(ends[1]);
  const std::vector<std::byte> much(30'000'000);
  REQUIRE(link.send(much, sw::detail::deadline(10ms)) == sw::detail::transfer::late);
  std::vector<std::byte> taken(much.size() + 5000);
  std::size_t got = 0;
  REQUIRE(sw::detail::receive_some(other.get(), taken, got) == sw::detail::transfer::blocked);
  const std::size_t sent = got;
  link.tell(sw::detail::frame_kind::failure, "why");
  CHECK(sw::detail::receive_some(other.get(), taken, got) == sw::detail::transfer::ended);
  CHECK(got == sent);
}

TEST_CASE("a rank that dies in a call is named to all others at once") {
  for_rounds([](int round) {
    // Before it says anything, within a frame, before and within the root's bytes.
    const int manner = round % 4;
    const held_port port;
    const auto texts = told_ranks(3, [&](int r) {
      if (r < 2) {
        sw::tcp_rendezvous meeting(options_of(r, 3, port.number(), 20s));
        std::array<std::byte, 64> bytes{};
        meeting.broadcast(bytes, 2);
        return;
      }
      raw_peer peer(port.address());
      peer.say(hello_of(2, 3).bytes());
      if (peer.hears() != "frame 1" || peer.hears() != "frame 3") sw::detail::raise(sw::comm_error("no start"));
      const auto frame =
          sw::detail::tcp_frame{
              .kind = sw::detail::frame_kind::broadcast, .number = 1, .root = 2, .follow = 64, .left_ms = 20000}
              .bytes();
      if (manner == 1) peer.say(std::span(frame).first(11));
      if (manner >= 2) peer.say(frame);
      if (manner == 3) peer.say("only a part");
    });
    const std::string in =
        "rank 2 is gone: its connection has ended " +
        std::string(manner == 0 ? "without a word (the process was killed or crashed)"
                                : "in the middle of a message (the process was killed or crashed, or gave up)") +
        ", in broadcast of 64 bytes from rank 2 (call 1)";
    return differs(texts, {in, in, ""});
  });
}

TEST_CASE("a rank that leaves in order while others go on is named to all others") {
  for_rounds([](int round) {
    const int who = round % 3;
    const held_port port;
    const auto texts = told_ranks(3, [&](int r) {
      sw::tcp_rendezvous meeting(options_of(r, 3, port.number(), 20s));
      meeting.barrier();
      if (r == who) return;
      meeting.barrier();
    });
    const std::string left = "rank " + std::to_string(who) + " has left the rendezvous";
    std::vector<std::string> expected(3, left);
    expected[as_size(who)] = "";
    return differs(texts, expected);
  });
}

TEST_CASE("a rank 0 that ends within its answer may have died or given up, and its peers say so") {
  for_rounds([](int round) {
    const held_port port;
    const auto texts = told_ranks(2, [&](int r) {
      if (r == 1) {
        sw::tcp_rendezvous meeting(options_of(1, 2, port.number(), 20s));
        std::array<std::byte, 64> bytes{};
        return meeting.broadcast(bytes, 0);
      }
      // What rank 0 says, and then only a part of its answer: within the frame, before and within the bytes.
      const auto listener = sw::detail::listen_at(port.address(), 1);
      sw::detail::wait_for(listener.get(), POLLIN, sw::detail::deadline(20s));
      const sw::detail::descriptor peer(::accept(listener.get(), nullptr, nullptr));
      const auto say = [&](std::span<const std::byte> bytes) {
        (void)::send(peer.get(), bytes.data(), bytes.size(), 0);
      };
      say(sw::detail::tcp_frame{.kind = sw::detail::frame_kind::accepted}.bytes());
      say(sw::detail::tcp_frame{.kind = sw::detail::frame_kind::start}.bytes());
      std::array<std::byte, sw::detail::tcp_hello::size + sw::detail::tcp_frame::size> heard;
      (void)::recv(peer.get(), heard.data(), heard.size(), MSG_WAITALL);
      const auto answer =
          sw::detail::tcp_frame{.kind = sw::detail::frame_kind::broadcast, .number = 1, .follow = 64}.bytes();
      say(std::span(answer).first(round % 3 == 0 ? 11 : answer.size()));
      if (round % 3 == 2) say(std::span(answer).first(5));
    });
    return differs(texts, {"",
                           "rank 0 is gone: its connection has ended in the middle of a message (the process was "
                           "killed or crashed, or gave up), in broadcast of 64 bytes from rank 0 (call 1)"});
  });
}

TEST_CASE("a process that is killed is named to all other processes at once") {
  // Of processes: rank 0 is this one, the others are its children; no thread runs while they are made.
  for_rounds([](int round) {
    if (round % 4 != 0) return std::string();
    const held_port port;
    ::pid_t children[2];
    for (int r = 1; r < 3; ++r) {
      children[r - 1] = ::fork();
      if (children[r - 1] != 0) continue;
      const std::string text = told_by([&] {
        sw::tcp_rendezvous meeting(options_of(r, 3, port.number(), 20s));
        meeting.barrier();
        if (r == 2) ::raise(SIGKILL);
        meeting.barrier();
      });
      ::_exit(has(text, "rank 2 is gone: its connection has ended without a word") ? 42 : 1);
    }
    const std::string text = told_by([&] {
      sw::tcp_rendezvous meeting(options_of(0, 3, port.number(), 20s));
      meeting.barrier();
      meeting.barrier();
    });
    int status[2] = {};
    for (int i = 0; i < 2; ++i) ::waitpid(children[i], &status[i], 0);
    if (!WIFEXITED(status[0]) || WEXITSTATUS(status[0]) != 42) return std::string("rank 1 was not told");
    return differs({text}, {"rank 0 of 3: rank 2 is gone: its connection has ended without a word"});
  });
}
