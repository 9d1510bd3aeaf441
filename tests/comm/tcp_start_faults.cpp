// SPDX-License-Identifier: Apache-2.0
// What goes wrong while ranks come to meet over TCP, many times over: always a named error in time, nothing left
// behind.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "tcp_support.hpp"

using namespace rendezvous_test;
using namespace std::chrono_literals;

namespace {

const auto& magic = sw::detail::tcp_hello::magic;

// Ranks 0 to 2 of 3 meet while a visitor does as it likes; `visit(port)` runs first to come or last, by turns.
template <class F>
std::string ranks_meet_beside(int round, F visit) {
  const held_port port;
  const bool visitor_first = round % 2 == 0;
  std::atomic<bool> has_visited = false;
  return differs(told_ranks(4,
                            [&](int r) {
                              if (r == 3) {
                                visit(port.address());
                                has_visited = true;
                                return;
                              }
                              // Rank 0 must be there for the visitor, and the last rank keeps it there.
                              while (r == 2 && visitor_first && !has_visited) std::this_thread::yield();
                              meet(options_of(r, 3, port.number(), 20s));
                            }),
                 {"", "", "", ""});
}

}  // namespace

TEST_CASE("a stranger with the wrong secret is told so, and ranks meet as if it had not come") {
  for_rounds([](int round) {
    std::string stranger;
    const std::string ranks = ranks_meet_beside(round, [&](const auto& at) {
      auto wrong = options_of(1 + round % 2, 3, at.port(), 20s);
      wrong.secret = round % 3 == 0 ? "" : round % 3 == 1 ? "open sesamf" : "open sesame ";
      // Where the ranks have met before it came nobody is there.
      if (round % 2 == 1) wrong.deadline = 20ms;
      stranger = told_by([&] { meet(wrong); });
    });
    if (!ranks.empty()) return ranks;
    const bool told = has(stranger, "refused by rank 0 at 127.0.0.1:") &&
                      has(stranger, "wrong secret: all ranks of a job must be given the same (SHARDWISE_JOB_SECRET)");
    const bool came_too_late = round % 2 == 1 && has(stranger, " within 20 ms");
    return told || came_too_late ? std::string() : stranger;
  });
}

TEST_CASE("where only a stranger comes, rank 0 names the rank that did not, and the stranger") {
  for_rounds(
      [](int) {
        return given_time([](milliseconds deadline) {
          const held_port port;
          const auto texts = told_ranks(2, [&](int r) {
            auto options = options_of(r, 2, port.number(), deadline);
            if (r == 1) options.secret = "guess";
            meet(options);
          });
          const std::string absent = "rank 1 did not come" + within(deadline) +
                                     "; rank 0 listened at 127.0.0.1:" + std::to_string(port.number()) +
                                     " (which only this machine can reach)";
          const std::string why =
              differs(texts, {absent + "; 1 connection was refused, the last from 127.0.0.1:", "wrong secret: "});
          return why.empty() ? differs({texts[0]}, {": wrong secret"}) : why;
        });
      },
      few_rounds);
}

TEST_CASE("a rank of the job that was started wrongly ends the start-up on all ranks, with the reason") {
  struct misfit {
    std::string why;
    void (*change)(sw::tcp_rendezvous_options&);
  };
  const misfit misfits[] = {
      {"wrong size: it was started as one of 4 ranks, rank 0 as one of 3; give all the same world size",
       [](auto& o) { o.size = 4; }},
      {"wrong name: it belongs to 'another', rank 0 to 'job'", [](auto& o) { o.name = "another"; }},
      {"rank taken: there is another rank 1; give each process its own rank", [](auto& o) { o.rank = 1; }},
      {"rank out of range: ranks go from 0 to 2", nullptr},
      {"wrong version: it has shardwise 99.2.3 (protocol 1), rank 0 has shardwise", nullptr},
      {"(protocol 77)", nullptr},
      {"rank taken: there is another rank 0", nullptr},
  };
  for_rounds([&](int round) {
    const misfit& m = misfits[round % 7];
    const held_port port;
    std::string rank1_told, raw_told;
    std::atomic<bool> rank1_is_in = false;
    const auto texts = told_ranks(3, [&](int r) {
      auto options = options_of(r, 3, port.number(), 20s);
      if (r == 0) return meet(options);
      if (r == 1) {
        raw_peer rank1(port.address());
        rank1.say(hello_of(1, 3).bytes());
        rank1_told = rank1.hears();
        rank1_is_in = true;
        rank1_told += ", " + rank1.hears();
        return;
      }
      while (!rank1_is_in) std::this_thread::yield();
      if (m.change != nullptr) {
        m.change(options);
        return meet(options);
      }
      auto hello = hello_of(round % 7 == 6 ? 0 : round % 7 == 3 ? (round % 2 == 0 ? 3 : -1) : 2, 3);
      if (round % 7 == 4) hello.version = 99002003;
      if (round % 7 == 5) hello.protocol = 77;
      raw_peer peer(port.address());
      peer.say(hello.bytes());
      raw_told = peer.hears();
    });
    std::string why = differs({texts[0], rank1_told}, {"rank 0 of 3: refused rank ", "frame 1, refused rank "});
    if (why.empty()) why = differs({texts[0], rank1_told}, {m.why, m.why});
    if (why.empty() && m.change == nullptr) why = differs({raw_told}, {m.why});
    if (why.empty() && m.change != nullptr)
      why = differs({texts[2], texts[2]}, {"refused by rank 0 at 127.0.0.1:", m.why});
    return why;
  });
}

TEST_CASE("a port that is taken is named, with the way out") {
  for_rounds([](int round) {
    held_port port;
    port.listen();
    const std::string text = told_by([&] { meet(options_of(0, 2, port.number(), round % 2 == 0 ? 8ms : 20ms)); });
    return differs({text}, {"rank 0 of 2: cannot listen at 127.0.0.1:" + std::to_string(port.number()) +
                            ": Address already in use; another process listens there: end the earlier run, or give all "
                            "ranks another port (SHARDWISE_MASTER_PORT, MASTER_PORT)"});
  });
}

TEST_CASE("a rank that calls another program instead of rank 0 says so") {
  for_rounds(
      [](int round) {
        // The other program says nothing, or something else, or hangs up again and again.
        const int manner = round % 3;
        return given_time([&](milliseconds deadline) {
          held_port port;
          port.listen();
          const std::string at = "127.0.0.1:" + std::to_string(port.number());
          std::atomic<bool> done = false;
          std::string told;
          std::thread rank([&] {
            told = told_by([&] { meet(options_of(1, 2, port.number(), deadline)); });
            done = true;
          });
          std::vector<sw::detail::descriptor> calls;
          while (!done) {
            if (sw::detail::wait_for(port.fd(), POLLIN, sw::detail::deadline(2ms)) == 0) continue;
            sw::detail::descriptor call(::accept4(port.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (!call) continue;
            if (manner == 1) (void)::send(call.get(), "SSH-2.0-OpenSSH", 15, MSG_NOSIGNAL);
            if (manner != 2) calls.push_back(std::move(call));
          }
          rank.join();
          const std::string expected[] = {
              "what listens at " + at + " did not answer to the hello" + within(deadline) + ": it is not rank 0, or",
              "what listens at " + at + " is no rank 0 of shardwise: its answer is garbage",
              "rank 0 could not be reached at '127.0.0.1', port " + std::to_string(port.number()) + "," +
                  within(deadline) + ": " + at + ": the connection was ended without an answer"};
          return differs({told}, {expected[manner]});
        });
      },
      few_rounds);
}

TEST_CASE("connections that say nothing, half a hello or garbage do not keep ranks from meeting") {
  for_rounds([](int round) {
    std::mt19937 random(static_cast<unsigned>(round));
    return ranks_meet_beside(round, [&](const sw::detail::socket_address& at) {
      if (round % 2 == 1) return;  // the ranks may have met before, and then nobody listens
      std::vector<raw_peer> visitors;
      for (int i = 0; i < 4; ++i) visitors.emplace_back(at);
      visitors[1].say(magic.substr(0, 5));
      visitors[2].say("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + std::string(20000, 'x'));
      const auto hello = hello_of(1, 3).bytes();
      visitors[3].say(std::span(hello).first(random() % hello.size()));
    });
  });
}

TEST_CASE("what rank 0 sent away while it waited is said in the end") {
  for_rounds(
      [](int round) {
        const int manner = round % 4;
        return given_time([&](milliseconds deadline) {
          std::string heard;
          const std::string text = rank0_is_told(deadline, [&](const auto& at) {
            raw_peer visitor(at, deadline);
            if (manner == 1) visitor.say(magic.substr(0, 5));
            if (manner == 2) visitor.say("GET / HTTP/1.1\r\n\r\n");
            if (manner == 3) visitor.leave();
            if (manner != 3) heard = visitor.hears();
          });
          const std::string expected[] = {"it said nothing", "it sent 5 of the 416 bytes of a hello", "it sent garbage",
                                          "it said nothing and left"};
          const std::string answer =
              manner == 2 ? "this is a rendezvous of shardwise, and what was sent is no hello of it" : "";
          if (heard != answer) return "heard: " + heard;
          const std::string refused = "; 1 connection was refused, the last from 127.0.0.1:";
          for (const std::string& part : {"rank 1 did not come" + within(deadline), refused, ": " + expected[manner]}) {
            if (!has(text, part)) return text;
          }
          return std::string();
        });
      },
      few_rounds);
}

TEST_CASE("a crowd of silent connections is held in bounds, and ranks meet") {
  for_rounds([](int round) {
    if (round % 20 != 0) return std::string();
    return ranks_meet_beside(0, [](const sw::detail::socket_address& at) {
      std::vector<raw_peer> crowd;
      for (int i = 0; i < 200; ++i) crowd.emplace_back(at);
    });
  });
}

TEST_CASE("random, cut and flipped hellos never get in, whatever they look like") {
  for_rounds([](int round) {
    std::mt19937 random(static_cast<unsigned>(round) + 1000);
    const auto any = [&](std::size_t below) { return random() % below; };
    return ranks_meet_beside(0, [&](const sw::detail::socket_address& at) {
      std::vector<raw_peer> visitors;
      for (int i = 0; i < 6; ++i) {
        // The flipped bits are of the magic or the secret: what differs in the rest is a rank of this job, started
        // wrongly, and ends it.
        auto bytes = hello_of(static_cast<int>(any(3)), 3).bytes();
        std::size_t size = bytes.size();
        if (i % 3 == 0) {
          for (std::byte& b : bytes) b = static_cast<std::byte>(any(256));
          size = any(bytes.size() + 1);
          bytes[0] = std::byte{'X'};
        } else if (i % 3 == 1) {
          size = any(bytes.size());
        } else {
          const std::size_t at_byte = any(2) == 0 ? any(8) : 12 + any(258);
          bytes[at_byte] ^= static_cast<std::byte>(1u << any(8));
        }
        visitors.emplace_back(at);
        // In pieces, with and without a pause.
        const std::size_t cut = any(size + 1);
        visitors.back().say(std::span(bytes).first(cut));
        if (any(4) == 0) std::this_thread::sleep_for(1ms);
        visitors.back().say(std::span(bytes).subspan(cut, size - cut));
        if (any(3) == 0) visitors.back().leave();
      }
    });
  });
}

TEST_CASE("a rank that never comes to the start is named to all that did") {
  for_rounds(
      [](int round) {
        const int who = 1 + round % 2;
        return given_time([&](milliseconds deadline) {
          const held_port port;
          const auto texts = told_ranks(3, [&](int r) {
            if (r != who) meet(options_of(r, 3, port.number(), deadline));
          });
          const std::string absent = "rank " + std::to_string(who) + " did not come";
          for (const std::string& told : {texts[0], texts[as_size(3 - who)]}) {
            if (!says_late(told, absent, deadline)) return told;
          }
          return differs({texts[as_size(3 - who)]}, {"rank 0 has ended the start-up: " + absent});
        });
      },
      few_rounds);
}

TEST_CASE("rank 0 that waits no longer, as another rank would not, says how long it has waited and for whose sake") {
  CHECK(given_time([](milliseconds deadline) {
          const held_port port;
          const auto texts = told_ranks(
              2, [&](int r) { meet(options_of(r, 3, port.number(), r == 0 ? milliseconds(60s) : deadline)); });
          for (const std::string& told : texts) {
            const std::string words = "rank 2 did not come within ";
            const std::size_t at = told.find(words);
            if (at == std::string::npos) return told;
            const std::string rest = told.substr(at + words.size());
            // Rank 0 began at about the time when rank 1 did.
            if (std::stoi(rest) < deadline.count() / 2 || std::stoi(rest) >= 60000) return told;
            if (!has(rest, " ms, before rank 1's deadline; rank 0 listened at ")) return told;
          }
          return std::string();
        }) == "");
}

TEST_CASE("a rank that dies before all have come is named, with those that had not") {
  for_rounds([](int round) {
    const held_port port;
    std::string rank1_told;
    std::atomic<bool> rank1_is_in = false;
    const auto texts = told_ranks(3, [&](int r) {
      if (r == 0) return meet(options_of(0, 4, port.number(), 20s));
      while (r == 2 && !rank1_is_in) std::this_thread::yield();
      raw_peer peer(port.address());
      peer.say(hello_of(r, 4).bytes());
      const std::string accepted = peer.hears();
      rank1_is_in = true;
      if (r == 1) rank1_told = accepted + ", " + peer.hears();
      // Before it is gone it may say half a frame.
      if (r == 2 && round % 2 == 0) peer.say(sw::detail::tcp_frame::magic);
    });
    const std::string why =
        "rank 2 is gone: its connection has ended " +
        std::string(round % 2 == 0 ? "in the middle of a message (the process was killed or crashed, or gave up)"
                                   : "without a word (the process was killed or crashed)") +
        "; rank 3 had not come yet";
    return differs({texts[0], rank1_told}, {"rank 0 of 4: " + why, "frame 1, " + why});
  });
}
