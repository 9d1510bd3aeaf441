// SPDX-License-Identifier: Apache-2.0
// Ranks that meet over TCP: what they are given when all is well, and what they are told when their calls do not match.
#include "shardwise/comm/tcp_rendezvous.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "rendezvous_suite.hpp"
#include "tcp_support.hpp"

using namespace rendezvous_test;
using namespace std::chrono_literals;

namespace {

std::optional<sw::launch_environment> launched_with(const std::map<std::string, std::string>& variables) {
  return sw::launched_by([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}
}  // namespace

TEST_CASE("ranks that meet over TCP have each other's bytes") { check_bytes(new_port); }
TEST_CASE("no rank of a TCP rendezvous goes on before all have come") { check_barriers(new_port); }
TEST_CASE("calls over TCP that do not match are an error that all ranks are told, now and later") {
  check_mismatches(new_port, "rendezvous \"job\"");
}

TEST_CASE("ranks may start long before rank 0") {
  const held_port port;
  const auto texts = told_ranks(3, [&](int rank) {
    if (rank == 0) std::this_thread::sleep_for(300ms);
    sw::tcp_rendezvous meeting(options_of(rank, 3, port.number(), 20s));
    meeting.barrier();
  });
  CHECK(texts == std::vector<std::string>(3));
}

TEST_CASE("rank 0 is met by its name, over IPv6, and at the interface that was named") {
  const held_port v4, v6(AF_INET6);
  const auto meet = [&](int port, std::string host, std::string interface) {
    return told_ranks(2, [&](int rank) {
      auto options = options_of(rank, 2, port, 5s);
      options.host = host;
      if (rank == 0) options.interface = interface;
      sw::tcp_rendezvous(options).barrier();
    });
  };
  CHECK(meet(v4.number(), "localhost", "") == std::vector<std::string>(2));
  CHECK(meet(v6.number(), "::1", "") == std::vector<std::string>(2));
  CHECK(meet(v4.number(), "127.0.0.1", "lo") == std::vector<std::string>(2));
  CHECK(meet(v6.number(), "::1", "lo") == std::vector<std::string>(2));
  CHECK(meet(v4.number(), "127.0.0.1", "127.0.0.1") == std::vector<std::string>(2));
}

TEST_CASE("rank 0 listens at the named address only, and at none when all have come") {
  const held_port port;
  const auto elsewhere = sw::detail::resolve("127.0.0.2", port.number()).addresses.at(0);
  const sw::detail::deadline soon(200ms);
  std::atomic<bool> was_reached = false, was_reached_elsewhere = false;
  std::thread rank0([&] { (void)told_by([&] { sw::tcp_rendezvous(options_of(0, 2, port.number(), 20s)); }); });
  {
    const raw_peer reached(port.address());
    was_reached = true;
    was_reached_elsewhere = static_cast<bool>(sw::detail::connect_to(elsewhere, soon));
    sw::tcp_rendezvous late(options_of(1, 2, port.number(), 20s));
    CHECK_FALSE(sw::detail::connect_to(port.address(), sw::detail::deadline(2s)));
  }
  rank0.join();
  CHECK(was_reached);
  CHECK_FALSE(was_reached_elsewhere);
}

TEST_CASE("a host that has no address yet is looked up until it has one, or until the deadline") {
  const auto options = options_of(1, 2, 4242, 200ms);
  const auto there = sw::detail::resolve("127.0.0.1", 4242);
  // `fails` times there is no address, and `may_come` says whether there may be one later.
  const auto told_after = [&](int fails, bool may_come) {
    int lookups = 0;
    const std::string told = told_by([&] {
      const auto found = sw::detail::addresses_of_host(
          options, sw::detail::deadline(options.deadline), [&](const auto& host, int port) {
            CHECK(host == "127.0.0.1");
            CHECK(port == 4242);
            return lookups++ < fails ? sw::detail::resolved{{}, "not known", may_come} : there;
          });
      CHECK(found == there.addresses);
    });
    return std::pair(told, lookups);
  };
  CHECK(told_after(0, true) == std::pair(std::string(), 1));
  CHECK(told_after(4, true) == std::pair(std::string(), 5));
  const auto [late, lookups] = told_after(1000, true);
  CHECK(has(late, "rank 1 of 2: the host '127.0.0.1' had no address within 200 ms: not known; see that the name is "));
  CHECK(lookups > 3);
  CHECK(lookups < 20);
  const auto [at_once, one] = told_after(1000, false);
  CHECK(has(at_once, "the host '127.0.0.1' has no address: not known; see that the name is right, or give rank 0's"));
  CHECK(one == 1);
  // A rank waits so, whichever it is.
  for (const int rank : {0, 1}) {
    auto unknown = options_of(rank, 2, 4242, 100ms);
    unknown.host = "no such host.invalid";
    const auto start = std::chrono::steady_clock::now();
    CHECK(has(told_by([&] { meet(unknown); }), "the host 'no such host.invalid' had no address within 100 ms: "));
    CHECK(std::chrono::steady_clock::now() - start >= 100ms);
  }
}

TEST_CASE("what cannot be a rendezvous is refused before a socket is made") {
  const auto refused = [](const std::string& why, auto change) {
    auto options = options_of(1, 2, 4242, 100ms);
    change(options);
    CAPTURE(why);
    CHECK_THROWS_MATCHES(sw::tcp_rendezvous(options), sw::comm_error, says(why));
  };
  refused("rank 2 of 2: ranks go from 0 to size - 1", [](auto& o) { o.rank = 2; });
  refused("rank -1 of 2", [](auto& o) { o.rank = -1; });
  refused("rank 1 of 0", [](auto& o) { o.size = 0; });
  refused("port 0: ports go from 1 to 65535", [](auto& o) { o.port = 0; });
  refused("port 65536", [](auto& o) { o.port = 65536; });
  refused("no host", [](auto& o) { o.host = ""; });
  refused("the secret has 257 bytes; 256 are the most", [](auto& o) { o.secret = std::string(257, 'x'); });
  refused("the name has 129 bytes; 128 are the most", [](auto& o) { o.name = std::string(129, 'x'); });
  refused("the deadline of tcp_rendezvous is 0 ms; it must be above 0", [](auto& o) { o.deadline = 0ms; });
  refused("the host 'no such host.invalid' had no address within 100 ms: ",
          [](auto& o) { o.host = "no such host.invalid"; });
  refused("the host '0.0.0.0' is every address of a machine", [](auto& o) { o.host = "0.0.0.0", o.rank = 0; });
  refused("the host '::' is every address of a machine", [](auto& o) { o.host = "::", o.rank = 0; });
  refused("there is no interface 'nowhere0' with an address; this machine has: lo",
          [](auto& o) { o.interface = "nowhere0", o.rank = 0; });
  // An address of the range that is kept for documentation is nobody's.
  refused("cannot listen at 203.0.113.7:4242: Cannot assign requested address; that is no address of this machine",
          [](auto& o) { o.host = "203.0.113.7", o.rank = 0; });
}

TEST_CASE("a single rank needs no address") {
  sw::tcp_rendezvous alone({.rank = 0, .size = 1});
  std::array<std::byte, 3> bytes{std::byte{1}};
  alone.broadcast(bytes, 0);
  alone.barrier();
  CHECK(bytes[0] == std::byte{1});
  CHECK_THROWS_MATCHES(alone.broadcast(bytes, 1), sw::comm_error, says("broadcast from rank 1, which is no rank"));
}

TEST_CASE("from an environment to ranks that meet, with what is said explicitly first") {
  const held_port port;
  const auto env = [&](int rank) {
    return *launched_with({{"RANK", std::to_string(rank)},
                           {"WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "127.0.0.1"},
                           {"MASTER_PORT", std::to_string(port.number())},
                           {"SHARDWISE_JOB_SECRET", "open sesame"}});
  };
  CHECK(told_ranks(2, [&](int rank) { sw::tcp_rendezvous::from_environment(env(rank)).barrier(); }) ==
        std::vector<std::string>(2));
  // The secret is that of the environment, the name "shardwise".
  CHECK(told_ranks(2, [&](int rank) {
          auto options = options_of(rank, 2, port.number(), 20s);
          options.name = "shardwise";
          rank == 0 ? sw::tcp_rendezvous(options).barrier() : sw::tcp_rendezvous::from_environment(env(1)).barrier();
        }) == std::vector<std::string>(2));
  // Explicit values come first, one by one.
  CHECK(told_ranks(2, [&](int rank) {
          auto wrong = env(0);
          wrong.rank = wrong.size = 7;
          wrong.master_addr = "203.0.113.7";
          wrong.master_port = 1;
          wrong.job = wrong.secret = "wrong";
          auto options = options_of(rank, 2, port.number(), 20s);
          rank == 0 ? sw::tcp_rendezvous(options).barrier()
                    : sw::tcp_rendezvous::from_environment(wrong, options).barrier();
        }) == std::vector<std::string>(2));

  CHECK(told_by([&] {
          sw::tcp_rendezvous::from_environment(
              *launched_with({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "13"}}));
        }) ==
        "Open MPI: rank 3 of 13, local rank ? of ?, rank 0 at ?:?, job not named, no job secret: nothing says where "
        "rank 0 "
        "can be reached: set SHARDWISE_MASTER_ADDR (or MASTER_ADDR) and SHARDWISE_MASTER_PORT (or MASTER_PORT) on all "
        "ranks");
}

// What each process of the next test runs, started with the environment that torchrun gives.
TEST_CASE("a rank of another test", "[.rank]") {
  const auto launched = sw::launched_by();
  if (!launched) return;  // asked for by name
  // A stranger that comes when the others have met waits in vain for somebody to listen.
  const milliseconds deadline = launched->secret == "of this job" ? 20s : 1s;
  auto meeting = sw::tcp_rendezvous::from_environment(*launched, {.deadline = deadline});
  REQUIRE(wrong_bytes(meeting) == 0);
}

TEST_CASE("processes that a launcher has started meet by their environment, and strangers of another job do not") {
  const held_port port;
  const held_by_process before;
  const auto start = [&](int rank, std::string secret) {
    const ::pid_t child = ::fork();
    if (child != 0) return child;
    const std::string variables[] = {"RANK=" + std::to_string(rank), "WORLD_SIZE=4",
                                     "MASTER_ADDR=127.0.0.1",        "MASTER_PORT=" + std::to_string(port.number()),
                                     "TORCHELASTIC_RUN_ID=7f2",      "SHARDWISE_JOB_SECRET=" + secret};
    std::vector<char*> env;
    for (const std::string& v : variables) env.push_back(const_cast<char*>(v.c_str()));
    env.push_back(nullptr);
    std::string name = "tests_comm", test = "a rank of another test";
    char* const arguments[] = {name.data(), test.data(), nullptr};
    ::dup2(::open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
    ::execve("/proc/self/exe", arguments, env.data());
    ::_exit(99);
  };
  const ::pid_t children[] = {start(3, "of this job"), start(1, "of another"), start(0, "of this job"),
                              start(2, "of this job"), start(1, "of this job")};
  for (const ::pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    // Catch2's exit code is the number of failed tests; the stranger's is 1 whether it was refused or came too late.
    CHECK(WEXITSTATUS(status) == (child == children[1] ? 1 : 0));
  }
  CHECK(before.is_as_before());
}

TEST_CASE("a root that sends more than anybody takes is told why, and does not hang") {
  std::vector<std::byte> much(30'000'000);
  const auto texts = told_when_met(new_port, 2, [&](sw::tcp_rendezvous& meeting) {
    if (meeting.rank() == 1) meeting.broadcast(much, 1);
    std::byte one{};
    meeting.broadcast(std::span(&one, 1), 1);
  });
  CHECK(has(texts[0], "rank 1 called broadcast of 30000000 bytes from rank 1 (call 1), rank 0 called broadcast of 1"));
  CHECK(has(texts[1], "rank 1 called broadcast of 30000000 bytes from rank 1 (call 1), rank 0 called broadcast of 1"));
}

TEST_CASE("a rendezvous that is moved goes on, and a root that is no rank ends it") {
  const auto texts = told_when_met(new_port, 2, [&](sw::tcp_rendezvous& meeting) {
    sw::tcp_rendezvous moved = std::move(meeting);
    moved.barrier();
    meeting = std::move(moved);
    meeting.barrier();
    if (meeting.rank() == 1) meeting.broadcast({}, -1);
    meeting.barrier();
  });
  CHECK(has(texts[0],
            "rank 1 gave up: broadcast from rank -1, which is no rank of this rendezvous, in barrier (call 3)"));
  CHECK(has(texts[1], "broadcast from rank -1, which is no rank"));
}
