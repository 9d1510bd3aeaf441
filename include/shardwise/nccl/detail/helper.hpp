// SPDX-License-Identifier: Apache-2.0
// Calls of NCCL that cannot be interrupted, in a thread that can be left behind.
#pragma once
#include <pthread.h>

#include <atomic>
#include <memory>
#include <new>
#include <utility>

#include "shardwise/cuda/detail/runtime.hpp"
#include "shardwise/nccl/detail/header.hpp"
#include "shardwise/nccl/detail/patience.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

using nccl_call = ncclResult_t (*)(ncclComm_t);

// What a helper thread calls. Two have it, that thread and who waits for it: the last one lets it go.
struct helper_job {
  std::shared_ptr<const void> kept;
  int device;
  nccl_call call;
  nccl_call when_left;
  ncclComm_t handle;
  ncclResult_t result = ncclInProgress;
  std::atomic<bool> done = false;
  std::atomic<int> owners = 2;
};
inline void* run_helper(void* argument) {
  auto* const job = static_cast<helper_job*>(argument);
  if (job->device >= 0) (void)cudaSetDevice(job->device);  // else NCCL makes device 0 this thread's, and uses it
  job->result = job->call(job->handle);
  job->done.store(true, std::memory_order_release);
  if (job->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (job->when_left != nullptr) (void)job->when_left(job->handle);
    delete job;
  }
  return nullptr;
}

enum class came_back : unsigned char { yes, no, was_not_called };
struct helped {
  came_back how;
  ncclResult_t result;  ///< of the call, where it came back

  bool good() const { return how == came_back::yes && (result == ncclSuccess || result == ncclInProgress); }
};

/// One such call. It is waited for once.
class helper {
 public:
  /// `kept` lives until the call has come back; where nobody waits for it any more then, `when_left` is called, too,
  /// whatever the call gave.
  helper(std::shared_ptr<const void> kept, int device, nccl_call call, ncclComm_t handle,
         nccl_call when_left = nullptr) noexcept
      : job_(new (std::nothrow) helper_job{std::move(kept), device, call, when_left, handle}) {
    if (job_ == nullptr || pthread_create(&thread_, nullptr, run_helper, job_) == 0) return;
    delete job_;
    job_ = nullptr;
  }
  helped wait(const patience& time) noexcept {
    if (job_ == nullptr) return {came_back::was_not_called, ncclSystemError};
    bool in_time = true;
    while (in_time && !job_->done.load(std::memory_order_acquire)) in_time = time.pause();
    if (in_time) {
      pthread_join(thread_, nullptr);
    } else {
      pthread_detach(thread_);
    }
    // This is the last owner after a join, and where the thread came back in the last moment.
    if (job_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return {came_back::no, ncclInProgress};
    const ncclResult_t result = job_->result;
    delete job_;
    return {came_back::yes, result};
  }

 private:
  helper_job* job_;
  pthread_t thread_{};
};

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
