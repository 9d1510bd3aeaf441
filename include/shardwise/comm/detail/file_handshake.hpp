// SPDX-License-Identifier: Apache-2.0
// The start-up of the file rendezvous: ranks that live find each other among files that an earlier run may have left.
//
// Every rank draws a nonce. The others write it in hello.RANK; rank 0 answers all of them in one file, `start`, with
// its own nonce, which names the run; a rank that finds its nonce there knows that this rank 0 lives, and acknowledges
// both in ack.RANK; rank 0 that finds that knows that this rank lives. A hello that an earlier run has left is answered
// too, in vain: the rank of this run writes over it, and rank 0 answers again.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/comm/detail/file_run.hpp"
#include "shardwise/version.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class file_handshake {
 public:
  file_handshake(file_run& run, const std::string& path, std::chrono::milliseconds span)
      : run_(run), path_(path), span_(span), end_(span) {}
  ~file_handshake() {
    if (run_.rank != 0 && holds_hello()) run_.directory.remove(of("hello", run_.rank));
  }
  file_handshake(const file_handshake&) = delete;
  file_handshake& operator=(const file_handshake&) = delete;

  /// Returns when all ranks have come, with the run's id.
  void run() { run_.rank == 0 ? lead() : follow(); }

 private:
  struct rank_state {
    std::string nonce = {};
    std::string misfit = {};
    bool lives = false;
  };
  static constexpr std::size_t most_hello = 512;

  static std::string of(std::string_view what, int rank) { return std::string(what) + "." + std::to_string(rank); }
  // "32 digits of the nonce" and then what must be the same on all ranks.
  std::string terms() const {
    return "shardwise " + std::to_string(SHARDWISE_VERSION_MAJOR) + "." + std::to_string(SHARDWISE_VERSION_MINOR) +
           "." + std::to_string(SHARDWISE_VERSION_PATCH) + ", " + std::to_string(run_.size) + " ranks";
  }
  static constexpr std::size_t nonce_size = 32;

  // Makes or opens the directory, and puts this rank's first file there. The last rank of an earlier run of this name
  // removes the directory if it is empty, and may do so at any time until that file is in it.
  void enter(const std::string& file, const std::string& text) {
    for (file_wait wait(end_);;) {
      std::string failure;
      run_.directory = private_directory::open_or_make(path_, failure);
      bool was_removed = run_.directory.was_removed();
      if (!failure.empty()) {
        failure = "the directory " + printable(path_) + " " + failure;
      } else {
        const int failed = run_.directory.write(file, text, {}, run_.nonce);
        if (failed == 0) return;
        was_removed = private_directory::means_removed(failed);
        failure = run_.cannot_write(file, failed);
      }
      if (!was_removed || !wait.again()) run_.refuse(failure);
    }
  }

  void lead() {
    run_.id = run_.nonce;
    std::vector<rank_state> ranks(static_cast<std::size_t>(run_.size));
    enter("start", start_of(ranks));
    file_wait wait(end_);
    for (;;) {
      bool changed = false, all_live = true;
      for (int r = 1; r < run_.size; ++r) {
        rank_state& state = ranks[static_cast<std::size_t>(r)];
        if (state.lives) continue;
        changed = take_hello(r, state) || changed;
        state.lives =
            !state.nonce.empty() && run_.directory.read(of("ack", r), most_hello) == run_.id + " " + state.nonce;
        all_live = all_live && state.lives;
        if (state.lives && !state.misfit.empty()) fail("rank " + std::to_string(r) + " was refused: " + state.misfit);
      }
      if (run_.directory.read("start", nonce_size) != run_.id) {
        fail("there is another rank 0 of this job in " + run_.directory.path() + "; the job's name must be its own");
      }
      if (all_live) break;
      if (const std::string why = run_.failure(); !why.empty()) run_.refuse(why);
      if (changed) run_.write("start", start_of(ranks));
      if (!wait.again()) fail_of_absence(ranks);
    }
    run_.write(run_.name("go"), "");
    // Where this fails they stay: who comes too late finds the reason through them.
    run_.directory.remove("start");
    for (int r = 1; r < run_.size; ++r) run_.directory.remove(of("ack", r));
  }

  bool take_hello(int r, rank_state& state) const {
    const std::string hello = run_.directory.read(of("hello", r), most_hello).value_or("");
    if (hello.size() <= nonce_size || hello.substr(0, nonce_size) == state.nonce) return false;
    state = {hello.substr(0, nonce_size)};
    const std::string theirs = printable(std::string_view(hello).substr(nonce_size + 1));
    if (theirs != terms()) state.misfit = "it was started as one of " + theirs + ", rank 0 as one of " + terms();
    return true;
  }
  // The run's id, then one line a rank: its nonce and, where it does not fit, why.
  std::string start_of(const std::vector<rank_state>& ranks) const {
    std::string text = run_.id;
    for (std::size_t r = 1; r < ranks.size(); ++r) text += "\n" + ranks[r].nonce + " " + ranks[r].misfit;
    return text + "\n";
  }
  [[noreturn]] void fail_of_absence(const std::vector<rank_state>& ranks) const {
    std::vector<int> absent;
    for (int r = 1; r < run_.size; ++r) {
      if (!ranks[static_cast<std::size_t>(r)].lives) absent.push_back(r);
    }
    std::string text = ranks_text(absent) + " did not come to " + run_.directory.path() + " within " + span_text(span_);
    const rank_state& first = ranks[static_cast<std::size_t>(absent.front())];
    if (!first.nonce.empty()) {
      text += "; of rank " + std::to_string(absent.front()) + " there is a file that nobody alive stands for";
      if (!first.misfit.empty()) text += " (" + first.misfit + ")";
    }
    fail(text);
  }
  [[noreturn]] void fail(const std::string& why) const { run_.refuse(run_.fail(why)); }

  void follow() {
    enter(of("hello", run_.rank), run_.nonce + " " + terms());
    file_wait wait(end_);
    for (std::string misfit; run_.id.empty() || !run_.directory.has(run_.name("go"));) {
      if (run_.id.empty() && find_answer(misfit)) {
        run_.write(of("ack", run_.rank), run_.id + " " + run_.nonce);
        if (!misfit.empty()) run_.refuse("refused by rank 0: " + misfit);
        continue;
      }
      if (const std::string why = run_.failure(); !why.empty()) run_.refuse(why);
      if (!holds_hello() && !(!run_.id.empty() && run_.directory.has(run_.name("go")))) {
        fail("rank taken: another process has come to " + run_.directory.path() + " as rank " +
             std::to_string(run_.rank) + "; give each process its own rank");
      }
      if (wait.again()) continue;
      if (run_.id.empty()) {
        run_.refuse("rank 0 did not answer in " + run_.directory.path() + " within " + span_text(span_) +
                    ": it has not come, or does not share this directory");
      }
      fail("not all ranks came to " + run_.directory.path() + " within " + span_text(span_));
    }
  }
  bool holds_hello() const { return run_.directory.read(of("hello", run_.rank), nonce_size) == run_.nonce; }
  bool find_answer(std::string& misfit) {
    const std::string start =
        run_.directory.read("start", 4096 + 512 * static_cast<std::size_t>(run_.size)).value_or("");
    const std::size_t line = start.find("\n" + run_.nonce + " ");
    if (line == std::string::npos || line < nonce_size) return false;
    run_.id = start.substr(0, nonce_size);
    const std::size_t reason = line + 1 + nonce_size + 1;
    misfit = printable(std::string_view(start).substr(reason, start.find('\n', reason) - reason));
    return true;
  }

  file_run& run_;
  const std::string path_;  ///< of the directory
  std::chrono::milliseconds span_;
  deadline end_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
