// SPDX-License-Identifier: Apache-2.0
// Ranks that meet in a directory, among what earlier runs have left there, and what they are told when they do not.
#include "shardwise/comm/file_rendezvous.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "rendezvous_suite.hpp"
#include "shardwise/version.hpp"

using namespace rendezvous_test;
using namespace std::chrono_literals;

namespace {

const std::string this_version = "shardwise " + std::to_string(SHARDWISE_VERSION_MAJOR) + "." +
                                 std::to_string(SHARDWISE_VERSION_MINOR) + "." +
                                 std::to_string(SHARDWISE_VERSION_PATCH);

// A directory of the test's own, which goes with it.
class folder {
 public:
  folder() {
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() {
    std::string failure;
    const auto d = sw::detail::private_directory::open_or_make(job(), failure);
    if (failure.empty()) d.remove_all("");
    d.remove_if_empty();
    ::rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::string job() const { return path_ + "/shardwise-job"; }
  // What the names of the run's files begin with, while a run is alive in it.
  std::string id_of_run() const {
    std::string id;
    ::DIR* list = ::opendir(job().c_str());
    while (const ::dirent* entry = ::readdir(list)) {
      const std::string name = entry->d_name;
      if (name.size() > 3 && name.substr(name.size() - 3) == ".go") id = name.substr(0, name.size() - 3);
    }
    ::closedir(list);
    return id;
  }
  // "." and ".." are no entries.
  int entries() const { return entries_of(path_.c_str()) - 2; }

 private:
  std::string path_ = "/tmp/shardwise-test-XXXXXX";
};

sw::file_rendezvous_options options_in(const folder& at, int rank, int size, milliseconds deadline) {
  return {.rank = rank, .size = size, .directory = at.path(), .job = "job", .deadline = deadline};
}
void put(const std::string& file, const std::string& text) { std::ofstream(file) << text; }

// For rendezvous_suite.hpp.
struct file_place {
  std::shared_ptr<folder> at = std::make_shared<folder>();
  sw::file_rendezvous meet(int rank, int size, milliseconds deadline) const {
    return sw::file_rendezvous(options_in(*at, rank, size, deadline));
  }
};
file_place new_folder() { return {}; }

}  // namespace

TEST_CASE("ranks that meet in a directory have each other's bytes") { check_bytes(new_folder); }
TEST_CASE("no rank of a rendezvous of files goes on before all have come") { check_barriers(new_folder); }
TEST_CASE("calls of files that do not match are an error that all ranks are told, now and later") {
  check_mismatches(new_folder, "rendezvous of files \"job\"");
}
TEST_CASE("a rank that never comes to a call of files is named to all that do") { check_silence(new_folder); }

TEST_CASE("the last rank to leave removes all files, also after an error in a call") {
  for (const bool fails : {false, true}) {
    const file_place place;
    const auto texts = told_ranks(3, [&](int rank) {
      auto meeting = place.meet(rank, 3, 20s);
      (void)wrong_bytes(meeting);
      if (fails && rank == 2) meeting.broadcast({}, 0);
      meeting.barrier();
    });
    CHECK(texts[0].empty() != fails);
    CHECK(place.at->entries() == 0);
  }
}

TEST_CASE("what an earlier run of the same name has left does no harm") {
  for_rounds(
      [](int round) {
        const folder at;
        if (::mkdir(at.job().c_str(), 0700) != 0) return std::string("no directory");
        // Whole sets of files of dead ranks: of the same run size, of another, with a start that looks right.
        const std::string dead0(32, 'a'), dead1(32, 'b');
        put(at.job() + "/hello.1", dead1 + " " + this_version + ", " + (round % 2 == 0 ? "3" : "2") + " ranks");
        put(at.job() + "/start", dead0 + "\n" + dead1 + " \n" + dead1 + " \n");
        put(at.job() + "/ack.1", dead0 + " " + dead1);
        put(at.job() + "/" + dead0 + ".go", "");
        put(at.job() + "/" + dead0 + ".fail", "of an earlier run");
        put(at.job() + "/" + dead0 + ".1", "broadcast of 1 bytes from rank 0 (call 1)\nx");
        put(at.job() + "/hello.2", round % 3 == 0 ? "" : "\n\n garbage \n");
        std::atomic<std::size_t> wrong = 0;
        for (const std::string& text : told_ranks(3, [&](int rank) {
               // Rank 0 may have answered the dead before the living come, or come after them.
               if (rank == 1 && round % 2 == 0) std::this_thread::sleep_for(5ms);
               if (rank == 0 && round % 2 == 1) std::this_thread::sleep_for(5ms);
               sw::file_rendezvous meeting(options_in(at, rank, 3, 20s));
               std::byte b = meeting.rank() == 2 ? std::byte{42} : std::byte{0};
               meeting.broadcast(std::span(&b, 1), 2);
               wrong += b == std::byte{42} ? 0 : 1;
             })) {
          if (!text.empty()) return text;
        }
        return wrong == 0 ? std::string() : std::string("wrong bytes");
      },
      few_rounds);
}

TEST_CASE("a directory that is removed in the middle is a named error, now and later") {
  const file_place place;
  std::string again;
  const auto texts = told_ranks(2, [&](int rank) {
    auto meeting = place.meet(rank, 2, 2s);
    meeting.barrier();
    if (rank == 0) return;
    std::string failure;
    const auto d = sw::detail::private_directory::open_or_make(place.at->job(), failure);
    // Until no file of rank 0 comes in between.
    while (::rmdir(place.at->job().c_str()) != 0) d.remove_all("");
    const std::string first = told_by([&] { meeting.barrier(); });
    again = told_by([&] { meeting.barrier(); });
    sw::detail::raise(sw::comm_error(first));
  });
  CHECK(differs(texts, {"", "rank 1 of 2: cannot write "}) == "");
  CHECK(again == texts[1]);
}

TEST_CASE("two runs of different names do not see each other") {
  const folder at;
  const auto texts = told_ranks(4, [&](int i) {
    auto options = options_in(at, i % 2, 2, 20s);
    options.job = i < 2 ? "a/../b c" : "a/../b.c";
    sw::file_rendezvous meeting(options);
    std::byte b = static_cast<std::byte>(i);
    meeting.broadcast(std::span(&b, 1), 1);
    if (b != static_cast<std::byte>(i < 2 ? 1 : 3)) sw::detail::raise(sw::comm_error("another run's byte"));
  });
  CHECK(texts == std::vector<std::string>(4));
  CHECK(at.entries() == 0);
}

TEST_CASE("a rank that never comes to the directory is named") {
  for_rounds(
      [](int round) {
        const int who = round % 3;
        return given_time([&](milliseconds deadline) {
          const folder at;
          const auto texts = told_ranks(3, [&](int r) {
            // Rank 0 knows who is missing, and must not be the first to give up; the others give up a little later.
            if (r != who) sw::file_rendezvous(options_in(at, r, 3, r == 0 ? deadline : deadline * 2));
          });
          const std::string absent = "rank " + std::to_string(who) + " did not come to " + at.job() + within(deadline);
          const std::string no_answer = "rank 0 did not answer in " + at.job() + within(deadline * 2);
          for (int r = 0; r < 3; ++r) {
            const std::string& text = texts[as_size(r)];
            if (r != who && !has(text, who == 0 ? no_answer : absent)) return "rank " + std::to_string(r) + ": " + text;
          }
          return std::string();
        });
      },
      few_rounds);
}

TEST_CASE("a rank that leaves the directory while others go on is named to all others") {
  for_rounds(
      [](int round) {
        const int who = round % 3;
        const auto texts = told_when_met(new_folder, 3, [&](sw::file_rendezvous& meeting) {
          meeting.barrier();
          if (meeting.rank() != who) meeting.barrier();
        });
        for (int r = 0; r < 3; ++r) {
          const std::string& text = texts[as_size(r)];
          // A rank that was told may leave before the next one looks.
          if (r == who ? !text.empty() : !has(text, "has left the rendezvous, and will not come to barrier (call 2)")) {
            return "rank " + std::to_string(r) + ": " + text;
          }
        }
        return std::string();
      },
      few_rounds);
}

TEST_CASE("an answer that comes just before rank 0 leaves is taken") {
  for_rounds(
      [](int) {
        const file_place place;
        const std::string held = place.at->path() + "/held";
        std::atomic<bool> is_ready = false, is_done = false;
        const auto texts = told_ranks(2, [&](int rank) {
          std::optional<sw::file_rendezvous> meeting = place.meet(rank, 2, 10s);
          if (rank == 1) {
            while (!is_ready) std::this_thread::yield();
            const std::string told = told_by([&] { meeting->barrier(); });
            is_done = true;
            if (!told.empty()) sw::detail::raise(sw::comm_error(told));
            return;
          }
          // Where the answer will be is a pipe: who looks for the answer stands there until somebody opens the other
          // end.
          const std::string answer = place.at->job() + "/" + place.at->id_of_run() + ".1";
          if (::mkfifo(answer.c_str(), 0600) != 0 || ::link(answer.c_str(), held.c_str()) != 0) std::abort();
          is_ready = true;
          while (::access((answer + ".1").c_str(), F_OK) != 0) std::this_thread::yield();
          std::this_thread::sleep_for(5ms);
          meeting->barrier();
          meeting.reset();
          while (!is_done) {
            const sw::detail::descriptor other_end(::open(held.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
            std::this_thread::sleep_for(1ms);
          }
          ::unlink(held.c_str());
        });
        return differs(texts, {"", ""});
      },
      few_rounds);
}

TEST_CASE("ranks meet while those who leave earlier runs of that name remove the directory whenever it is empty") {
  for_rounds([](int) {
    const folder at;
    std::atomic<int> met = 0;
    std::atomic<bool> removes = false;
    const auto texts = told_ranks(3, [&](int rank) {
      if (rank == 2) {
        // Often, and not at every moment: unoptimised, a rank makes its directory and writes there in many of them.
        for (removes = true; met < 2; std::this_thread::sleep_for(50us)) ::rmdir(at.job().c_str());
        return;
      }
      while (!removes) std::this_thread::yield();
      const std::string told = told_by([&] { sw::file_rendezvous(options_in(at, rank, 2, 10s)).barrier(); });
      ++met;
      if (!told.empty()) sw::detail::raise(sw::comm_error(told));
    });
    return differs(texts, {"", "", ""}) + (at.entries() == 0 ? "" : "it was not removed");
  });
}

TEST_CASE("a rank of another size, a rank that is there twice and a second rank 0 are named") {
  {
    const folder at;
    const auto texts = told_ranks(2, [&](int r) { sw::file_rendezvous(options_in(at, r, r == 0 ? 2 : 3, 10s)); });
    const std::string why =
        "it was started as one of " + this_version + ", 3 ranks, rank 0 as one of " + this_version + ", 2 ranks";
    CHECK(has(texts[0], "rank 1 was refused: " + why));
    CHECK(has(texts[1], "refused by rank 0: " + why));
  }
  {
    const folder at;
    std::atomic<int> first_is_in = 0;
    const auto texts = told_ranks(2, [&](int i) {
      // The second writes over the first's file while both wait for rank 0.
      if (i == 1) std::this_thread::sleep_for(30ms);
      ++first_is_in;
      sw::file_rendezvous(options_in(at, 1, 2, i == 0 ? milliseconds(10s) : milliseconds(300ms)));
    });
    CHECK(
        has(texts[0], "rank taken: another process has come to " + at.job() + " as rank 1; give each process its own"));
    CHECK(has(texts[1], "rank 0 did not answer in " + at.job() + " within 300 ms"));
  }
  {
    const folder at;
    const auto texts = told_ranks(2, [&](int i) {
      if (i == 1) std::this_thread::sleep_for(30ms);
      sw::file_rendezvous(options_in(at, 0, 2, i == 0 ? milliseconds(10s) : milliseconds(300ms)));
    });
    CHECK(has(texts[0], "there is another rank 0 of this job in " + at.job()));
    CHECK(has(texts[1], "rank 1 did not come to " + at.job() + " within 300 ms"));
  }
}

TEST_CASE("a directory that cannot be shared safely is refused") {
  const auto refused = [](const std::string& why, const folder& at, auto change) {
    auto options = options_in(at, 0, 2, 100ms);
    change(options);
    CAPTURE(why);
    CHECK_THROWS_MATCHES(sw::file_rendezvous(options), sw::comm_error, says(why));
  };
  const folder at;
  refused("rank 2 of 2", at, [](auto& o) { o.rank = 2; });
  refused("no directory", at, [](auto& o) { o.directory = ""; });
  refused("no job: give the run a name of its own", at, [](auto& o) { o.job = ""; });
  refused("the job's name has 201 bytes", at, [](auto& o) { o.job = std::string(201, 'x'); });
  refused("the job's name has 201 bytes, where one that is no letter, digit, '-', '_' or '.' counts as three; 200 are",
          at, [](auto& o) { o.job = std::string(67, ':'); });
  // The longest that there may be make a directory.
  std::string escaped;
  for (int i = 0; i < 66; ++i) escaped += "%3A";
  for (const auto& [job, name] : {std::pair(std::string(200, 'x'), std::string(200, 'x')),
                                  std::pair(std::string(66, ':') + ".-", escaped + ".-")}) {
    const std::string made = at.path() + "/shardwise-" + name;
    refused("rank 1 did not come to " + made, at, [&, job = job](auto& o) { o.job = job; });
    std::string failure;
    sw::detail::private_directory::open_or_make(made, failure).remove_all("");
    CHECK(::rmdir(made.c_str()) == 0);
  }
  refused("the deadline of file_rendezvous is 0 ms; it must be above 0", at, [](auto& o) { o.deadline = 0ms; });
  refused("/shardwise-job cannot be made: No such file or directory", at, [](auto& o) { o.directory += "/nowhere"; });
  REQUIRE(::mkdir(at.job().c_str(), 0700) == 0);
  REQUIRE(::chmod(at.job().c_str(), 0777) == 0);
  refused("belongs to another user, or others can write to it", at, [](auto&) {});
  REQUIRE(::rmdir(at.job().c_str()) == 0);
  REQUIRE(::symlink("/tmp", at.job().c_str()) == 0);
  refused("/shardwise-job cannot be opened: ", at, [](auto&) {});
  REQUIRE(::unlink(at.job().c_str()) == 0);
}

TEST_CASE("a single rank needs no directory's file, and processes meet as threads do") {
  const folder at;
  {
    sw::file_rendezvous alone(options_in(at, 0, 1, 1s));
    alone.barrier();
    CHECK(at.entries() == 0);
  }
  const ::pid_t child = ::fork();
  const auto meet = [&](int rank) {
    return told_by([&] {
      sw::launch_environment launched;
      launched.rank = rank;
      launched.size = 2;
      launched.job = "job";
      auto meeting = sw::file_rendezvous::from_environment(launched, {.directory = at.path(), .deadline = 20s});
      std::byte b = rank == 1 ? std::byte{42} : std::byte{0};
      meeting.broadcast(std::span(&b, 1), 1);
      if (b != std::byte{42}) sw::detail::raise(sw::comm_error("wrong byte"));
    });
  };
  if (child == 0) ::_exit(meet(1).empty() ? 42 : 1);
  CHECK(meet(0) == "");
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  CHECK(at.entries() == 0);
}
