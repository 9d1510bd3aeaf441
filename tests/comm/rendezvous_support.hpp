// SPDX-License-Identifier: Apache-2.0
// Ranks as threads that meet, what each was told, and what a process holds.
#pragma once
#include <dirent.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "fault_rounds.hpp"
#include "shardwise/comm.hpp"

namespace rendezvous_test {
namespace sw = shardwise;
using std::chrono::milliseconds;

inline std::size_t as_size(int x) { return static_cast<std::size_t>(x); }

/// What `f` was told: "" where nothing was thrown.
template <class F>
std::string told_by(F f) {
  try {
    f();
    return "";
  } catch (const sw::comm_error& e) {
    return e.what();
  }
}

/// `f(rank)` on one thread a rank; what each was told, by rank.
template <class F>
std::vector<std::string> told_ranks(int ranks, F f) {
  std::vector<std::string> texts(as_size(ranks));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] { texts[as_size(r)] = told_by([&] { f(r); }); });
  }
  for (std::thread& t : threads) t.join();
  return texts;
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// "" where each text has its part ("" stands for no error), else the first that has not.
inline std::string differs(const std::vector<std::string>& texts, const std::vector<std::string>& parts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (parts[i].empty() ? !texts[i].empty() : !has(texts[i], parts[i])) {
      return "of " + std::to_string(i) + ": \"" + texts[i] + "\" is not \"" + parts[i] + "\"";
    }
  }
  return "";
}

/// The first byte of `bytes` of what rank `root` gives in call `call`, and so on: no two calls or roots are alike.
inline std::byte byte_of(int root, int call, std::size_t i) {
  return static_cast<std::byte>((as_size(root) * 37 + as_size(call) * 101 + i * 7 + i / 251) % 256);
}

/// Broadcasts of several sizes from every root, between barriers; the number of wrong bytes.
template <class R>
std::size_t wrong_bytes(R& meeting) {
  std::size_t wrong = 0;
  int call = 0;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{128}, std::size_t{300001}}) {
    for (int root = 0; root < meeting.size(); ++root, ++call) {
      std::vector<std::byte> bytes(size, std::byte{0xee});
      if (meeting.rank() == root) {
        for (std::size_t i = 0; i < size; ++i) bytes[i] = byte_of(root, call, i);
      }
      meeting.broadcast(bytes, root);
      for (std::size_t i = 0; i < size; ++i) wrong += bytes[i] == byte_of(root, call, i) ? 0 : 1;
    }
    meeting.barrier();
  }
  return wrong;
}

inline int entries_of(const char* folder) {
  int n = 0;
  DIR* list = ::opendir(folder);
  if (list == nullptr) return -1;
  while (::readdir(list) != nullptr) ++n;
  ::closedir(list);
  return n;
}
/// Descriptors and threads of this process, now and at the beginning.
class held_by_process {
 public:
  held_by_process() {
    // The thread sanitizer starts a thread of its own with the first one.
    static const bool once = [] {
      std::thread([] {}).join();
      std::this_thread::sleep_for(milliseconds(50));
      return true;
    }();
    (void)once;
    descriptors_ = entries_of("/proc/self/fd");
    threads_ = entries_of("/proc/self/task");
  }
  /// A thread that was joined may take a moment to leave the system's list.
  bool is_as_before() const {
    for (int i = 0; i < 2000; ++i) {
      if (entries_of("/proc/self/fd") == descriptors_ && entries_of("/proc/self/task") <= threads_) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return false;
  }

 private:
  int descriptors_ = 0, threads_ = 0;
};

/// A round whose fault is an absence lasts as long as its deadline: so many of those, unless more are wanted.
inline constexpr int few_rounds = 50;

/// `f(deadline)` gives "" or what was wrong. Where all depends on who comes before a short deadline a busy machine is
/// given a longer one.
template <class F>
std::string given_time(F f) {
  std::string wrong;
  for (milliseconds deadline(40); deadline < milliseconds(3000); deadline *= 4) {
    wrong = f(deadline);
    if (wrong.empty()) break;
  }
  return wrong;
}
inline std::string within(milliseconds deadline) { return " within " + std::to_string(deadline.count()) + " ms"; }
/// Is it said that somebody (" did not come") was late: for the deadline, or for that of a rank that had less time
/// left?
inline bool says_late(const std::string& text, const std::string& what, milliseconds deadline) {
  const std::size_t at = text.find(what + " within ");
  return at != std::string::npos && (has(text, what + within(deadline)) || has(text.substr(at), " ms, before rank "));
}

/// `round(i)` gives "" or what was wrong, long before the deadline of 20 s where there is a reason to tell; nothing is
/// left behind.
template <class F>
void for_rounds(F round, int usually = 200) {
  const held_by_process before;
  const int n = fault_rounds(usually);
  REQUIRE(n > 0);
  for (int i = 0; i < n; ++i) {
    CAPTURE(i);
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(round(i) == "");
    REQUIRE(std::chrono::steady_clock::now() - start < std::chrono::seconds(15));
  }
  CHECK(before.is_as_before());
}

}  // namespace rendezvous_test
