// SPDX-License-Identifier: Apache-2.0
// A rendezvous in a directory that all ranks share: for machines that cannot open a port to each other.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/file_handshake.hpp"
#include "shardwise/comm/detail/file_run.hpp"
#include "shardwise/comm/environment.hpp"
#include "shardwise/comm/rendezvous.hpp"

namespace shardwise {
inline namespace v0 {

/// `rank` is a rank's own; the rest must be the same on all ranks.
struct file_rendezvous_options {
  int rank = -1;
  int size = 0;
  /// An existing directory that all ranks see. On NFS what one machine writes is seen by another only when its cache of
  /// the directory ends (acdirmax, a minute by default): take a longer deadline there.
  std::string directory = {};
  /// The run's own name: two runs that are alive at the same time must not share it. At most 200 bytes, of which one
  /// that is no letter, digit, '-', '_' or '.' counts as three, as it does in the name of the directory.
  std::string job = {};
  /// Of the whole start-up, and of each later call.
  std::chrono::milliseconds deadline = std::chrono::minutes(2);
};

/// A `rendezvous` of processes that share a directory. For one thread; no call blocks past the deadline but for the
/// file system's own.
///
/// Ranks may start in any order; the constructor returns when all have come. Files that an earlier run of the same name
/// has left are harmless: ranks agree on a number that no run had before, and read no file without it. What keeps
/// strangers out is the file system: all is below `directory`/shardwise-JOB, which only the user may enter.
///
/// Throws `comm_error` on every rank where a rank does not come, was started with another size or library version,
/// where calls do not match, or where a rank has left. A rank that is killed leaves no word: its absence is told at the
/// deadline. After an error every call throws the first reason.
///
/// The last rank to leave removes all files and the directory; another run of that name may come meanwhile. After a
/// failure some stay, which may be removed when no run of that name is alive.
class file_rendezvous {
 public:
  explicit file_rendezvous(file_rendezvous_options options)
      : deadline_(detail::require_deadline(options.deadline, "file_rendezvous")) {
    check(options);
    run_.rank = options.rank;
    run_.size = options.size;
    if (options.size == 1) return;
    run_.words = "rendezvous of files \"" + detail::printable(options.job) + "\", rank " +
                 std::to_string(options.rank) + " of " + std::to_string(options.size) + ": ";
    run_.nonce = detail::fresh_nonce();
    if (run_.nonce.empty()) run_.refuse("the system gives no random bytes (/dev/urandom)");
    detail::file_handshake(run_, options.directory + "/shardwise-" + escaped(options.job), deadline_).run();
  }
  /// What a launcher has set (environment.hpp), but for what `options` says itself.
  static file_rendezvous from_environment(const launch_environment& launched, file_rendezvous_options options) {
    if (options.rank < 0) options.rank = launched.rank;
    if (options.size == 0) options.size = launched.size;
    if (options.job.empty()) options.job = launched.job;
    return file_rendezvous(std::move(options));
  }
  file_rendezvous(file_rendezvous&& o) noexcept
      : run_(std::exchange(o.run_, {})), deadline_(o.deadline_), calls_(o.calls_), failure_(std::move(o.failure_)) {}
  file_rendezvous& operator=(file_rendezvous&& o) noexcept {
    std::swap(run_, o.run_);
    std::swap(deadline_, o.deadline_);
    std::swap(calls_, o.calls_);
    std::swap(failure_, o.failure_);
    return *this;
  }
  ~file_rendezvous() {
    if (run_.id.empty()) return;
    (void)run_.directory.write(run_.left(run_.rank), "", {}, run_.nonce);
    for (int r = 0; r < run_.size; ++r) {
      if (!run_.directory.has(run_.left(r))) return;
    }
    run_.directory.remove_all(run_.id);
    run_.directory.remove_if_empty();
  }

  int rank() const { return run_.rank; }
  int size() const { return run_.size; }

  void broadcast(std::span<std::byte> bytes, int root) {
    require_alive();
    if (root < 0 || root >= run_.size) {
      fail("broadcast from rank " + std::to_string(root) + ", which is no rank of this rendezvous");
    }
    call({false, root, bytes.size(), ++calls_}, bytes);
  }
  void barrier() {
    require_alive();
    call({true, 0, 0, ++calls_}, {});
  }

 private:
  static constexpr std::size_t most_head = 256;

  static void check(const file_rendezvous_options& o) {
    const auto refuse = [](const auto&... text) { detail::raise(comm_error("file_rendezvous: ", text...)); };
    if (o.size < 1 || o.rank < 0 || o.rank >= o.size) {
      refuse("rank ", o.rank, " of ", o.size, ": ranks go from 0 to size - 1");
    }
    if (o.directory.empty()) refuse("no directory: name one that all ranks share");
    if (o.job.empty()) refuse("no job: give the run a name of its own, the same on all ranks (SHARDWISE_JOB)");
    // With what comes before it this is a file's name, and those end at 255 bytes.
    if (const std::size_t bytes = escaped(o.job).size(); bytes > 200) {
      refuse("the job's name has ", bytes,
             " bytes, where one that is no letter, digit, '-', '_' or '.' counts as three", "; 200 are the most");
    }
  }
  // A file name; different ones for different jobs.
  static std::string escaped(std::string_view job) {
    std::string name;
    for (const char c : job) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                         c == '_' || (c == '.' && !name.empty());
      const auto code = static_cast<unsigned char>(c);
      if (plain) name += c;
      if (!plain) (name += '%') += {"0123456789ABCDEF"[code >> 4], "0123456789ABCDEF"[code & 15]};
    }
    return name;
  }

  void require_alive() const {
    if (failure_) detail::raise(*failure_);
  }
  [[noreturn]] void fail(const std::string& why) {
    failure_.emplace(run_.words, run_.fail(why));
    detail::raise(*failure_);
  }

  void call(const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    if (run_.size == 1) return;
    run_.rank == 0 ? call_at_root(c, bytes) : call_at_peer(c, bytes);
  }
  std::string place(const detail::rendezvous_call& c) const { return run_.name(std::to_string(c.number)); }
  std::string request(const detail::rendezvous_call& c, int rank) const {
    return place(c) + "." + std::to_string(rank);
  }
  void write(const std::string& file, const detail::rendezvous_call& c, std::span<const std::byte> bytes) {
    if (const std::string why = run_.try_write(file, c.text() + "\n", bytes); !why.empty()) fail(why);
  }
  void look_for_failure() {
    if (const std::string why = run_.failure(); !why.empty()) fail(why);
  }
  bool has_left(int rank) const { return run_.directory.has(run_.left(rank)); }
  [[noreturn]] void fail_of_leaving(int rank, const detail::rendezvous_call& c) {
    // Who leaves because of a failure has written it before.
    look_for_failure();
    fail("rank " + std::to_string(rank) + " has left the rendezvous, and will not come to " + c.text());
  }

  // Rank 0 hears all, and answers when all have called the same. Until then the requests stay, its own among them, so
  // that any rank can see who has not come.
  void call_at_root(const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    const detail::deadline end(deadline_);
    write(request(c, 0), c, {});
    std::vector<int> absent;
    for (int r = 1; r < run_.size; ++r) absent.push_back(r);
    for (detail::file_wait wait(end);;) {
      std::erase_if(absent, [&](int r) { return hear(r, c, bytes); });
      if (absent.empty()) break;
      look_for_failure();
      for (const int r : absent) {
        if (has_left(r)) fail_of_leaving(r, c);
      }
      if (!wait.again()) fail_of_absence(absent, c);
    }
    write(place(c), c, c.is_barrier ? std::span<std::byte>() : bytes);
    for (int r = 0; r < run_.size; ++r) run_.directory.remove(request(c, r));
    // Who calls again has read the last answer.
    run_.directory.remove(run_.name(std::to_string(c.number - 1)));
  }
  bool hear(int r, const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    const auto said = run_.directory.read(request(c, r), most_head + bytes.size());
    if (!said) return false;
    const std::string head = said->substr(0, said->find('\n'));
    if (head != c.text()) fail(detail::mismatch_text(r, detail::printable(head), c.text()));
    if (r == c.root && !c.is_barrier) take_payload(*said, r, c, bytes);
    return true;
  }

  void call_at_peer(const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    const detail::deadline end(deadline_);
    write(request(c, run_.rank), c, gives(c) ? bytes : std::span<std::byte>());
    std::vector<int> absent;
    for (detail::file_wait wait(end);;) {
      if (take_answer(c, bytes)) return;
      // Looked at before the answer for the last time: with it the requests go.
      if (!absent.empty()) fail_of_absence(absent, c);
      look_for_failure();
      if (has_left(0)) {
        // It answers before it leaves: the answer may have come since it was looked for.
        if (take_answer(c, bytes)) return;
        fail_of_leaving(0, c);
      }
      if (wait.again()) continue;
      for (int r = 0; r < run_.size; ++r) {
        if (!run_.directory.has(request(c, r))) absent.push_back(r);
      }
      if (absent.empty()) fail("no answer of rank 0 to " + c.text() + " within " + detail::span_text(deadline_));
    }
  }
  bool gives(const detail::rendezvous_call& c) const { return run_.rank == c.root && !c.is_barrier; }
  bool take_answer(const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    const auto said = run_.directory.read(place(c), most_head + bytes.size());
    if (said && !gives(c) && !c.is_barrier) take_payload(*said, 0, c, bytes);
    return said.has_value();
  }
  [[noreturn]] void fail_of_absence(const std::vector<int>& absent, const detail::rendezvous_call& c) {
    fail(detail::ranks_text(absent) + " did not come to " + c.text() + " within " + detail::span_text(deadline_));
  }
  void take_payload(const std::string& said, int from, const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    const std::size_t head = c.text().size() + 1;
    if (said.size() != head + bytes.size()) {
      fail("the file of rank " + std::to_string(from) + " for " + c.text() + " has " + std::to_string(said.size()) +
           " bytes where " + std::to_string(head + bytes.size()) + " were expected");
    }
    if (!bytes.empty()) std::memcpy(bytes.data(), said.data() + head, bytes.size());
  }

  detail::file_run run_ = {};
  std::chrono::milliseconds deadline_;
  std::uint32_t calls_ = 0;
  std::optional<comm_error> failure_;
};

static_assert(rendezvous<file_rendezvous>);

}  // namespace v0
}  // namespace shardwise
