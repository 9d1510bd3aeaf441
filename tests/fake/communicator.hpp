// SPDX-License-Identifier: Apache-2.0
// A communicator of the fake: one rank's side. Objects are never freed, so that a use after the end is found.
#pragma once
#include <nccl.h>
#include <pthread.h>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "fake/functions.hpp"
#include "fake/injection.hpp"
#include "fake/report.hpp"
#include "fake/segment.hpp"
#include "fake/stream.hpp"

namespace fake {

/// A thread without operator new, which tests count.
class background {
 public:
  /// `work` gets `argument`. The one before is joined first.
  bool start(void* (*work)(void*), void* argument);
  void join();

 private:
  std::mutex mutex_;
  pthread_t thread_{};
  bool running_ = false;
};

enum class life { making, usable, finalized, destroyed, aborted };

struct communicator {
  static constexpr std::uint64_t good = 0x666b67707520636fu;
  const std::uint64_t magic = good;
  int rank = -1, size = 0, device = 0;
  bool blocking = true;
  const char* name = nullptr;  // the caller's, as in NCCL
  std::uint64_t name_hash = 0;

  std::atomic<life> state{life::making};
  std::atomic<int> async{ncclSuccess};  // ncclInProgress while a call goes on; the first error stays
  std::atomic<bool> abort{false};
  std::atomic<int> graphs{0};  // captured launches
  std::atomic<int> delay{0};   // milliseconds, of the next launch

  // Of the thread that runs a launch: one at a time.
  std::mutex running;
  std::uint64_t step = 0, sequence = 0, splits = 0;

  std::mutex ending_work;  // while end_work runs

  std::mutex mutex;  // of what follows
  std::condition_variable changed;
  std::shared_ptr<segment> shared;
  std::shared_ptr<stream> last;  // that had a launch
  std::uint64_t posted = 0, done = 0;
  background job;

  std::shared_ptr<segment> world() {
    const std::lock_guard lock(mutex);
    return shared;
  }

  /// The first error stays.
  void fail(ncclResult_t result);
  /// All launches have run, or the communicator was aborted.
  void drain();
  /// Those too that graphs have captured: until these are destroyed, even where the communicator is aborted.
  void end_work();
  /// Until it is aborted, or faults are cleared.
  void hang();
  /// For the delay of the launch, or until it is aborted.
  void linger();
};

/// How a wait for other ranks ended.
enum class waited { ready, aborted, failed };

/// Waits until `missing(rank)` is false for all ranks. Where one is gone or the segment is poisoned the communicator
/// gets its asynchronous error.
template <class Missing>
waited wait_for_ranks(communicator& c, segment& world, const char* what, const Missing& missing);

/// What every use of a communicator looks at first.
ncclResult_t check_use(ncclComm_t comm, function f);
/// The same, but it may be busy or broken: for destroy and abort.
ncclResult_t check_known(ncclComm_t comm, function f);

/// Ends the communicator on all ranks by a finding, which the first who has one says. Returns what was said first.
ncclResult_t end_world(communicator& c, segment& world, misuse what, const char* text);

/// A rank for faults: that of the communicator, if it is one.
int rank_of(ncclComm_t comm);

/// While set, one-rank communicators do nothing.
extern std::atomic<bool> null_mode;

/// Work on a communicator that may take long: done now, or in a thread of its own where it is non-blocking.
struct long_work {
  communicator* comm = nullptr;
  ncclComm_t* result = nullptr;  // where the new communicator goes once it is made (split)
  communicator* made = nullptr;
  ncclComm_t* init_result = nullptr;  // nulled where a blocking init fails
  char path[path_capacity] = {};
  int color = 0, key = 0;
  std::optional<fault> hit;
  ncclResult_t (*run)(long_work&) = nullptr;
};
/// What was injected into it, before the work itself. Success: go on.
ncclResult_t injected(long_work& work, communicator& interrupted_by);
/// Starts it, in a group at the group's end.
ncclResult_t begin_long_work(const long_work& work);
/// Starts it in a thread of its own: the communicator is in progress until it ends.
ncclResult_t start_in_background(const long_work& work);
/// Runs it to the end and gives its result to the communicator.
ncclResult_t finish_long_work(long_work& work);

/// Takes c's place in the world of a file, and waits for all. A split is interrupted by the old communicator's abort.
ncclResult_t join_world(communicator& c, communicator& interrupted_by, const char* path);
/// `config` becomes what is given, else the defaults.
ncclResult_t check_config(const ncclConfig_t* given, ncclConfig_t& config);

/// A new object of this process.
ncclComm_t new_communicator(int size, int rank, int device, const ncclConfig_t* config);
/// It is no use to anybody: failed before it was made.
void discard(communicator& c);

}  // namespace fake

struct ncclComm : fake::communicator {};

#include "fake/waiting.hpp"
