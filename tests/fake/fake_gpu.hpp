// SPDX-License-Identifier: Apache-2.0
// What a test can ask of the fake GPU (libfake_gpu.so) beside the NCCL, CUDA and cuBLAS calls: faults, counts, leaks.
//
// Everything here may be called from any thread. Processes that a test starts are reached by environment variables:
//   FAKE_GPU_DEVICES=8      devices of the machine; CUDA_VISIBLE_DEVICES chooses among them; 0: no device
//   FAKE_GPU_INJECT=...     faults, see inject_text()
//   FAKE_GPU_NULL=1         see null_collectives()
//   FAKE_GPU_LOG=FILE       findings and refusals are appended to FILE; without it findings go to stderr
//   FAKE_GPU_FOLDER=FOLDER  where shared segments are made; without it /dev/shm, else TMPDIR, else /tmp
//   FAKE_GPU_STALL=SECONDS  a rank that waits longer for its peers says for whom and for what (default 10)
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fake_gpu {

/// What an injected fault does.
enum class action {
  fail,  ///< the call returns `result` and does nothing
  hang,  ///< the call's work never ends, until its communicator is aborted; ncclCommInitRank and the like hang in the
         ///< call
  async_error,  ///< the call's work sets the communicator's asynchronous error to `result`, and hangs
  delay,  ///< the call takes `milliseconds` longer; a collective of a non-blocking communicator is on the stream so
          ///< much later
  kill,   ///< the process ends by SIGKILL in the call
  kill_inside,  ///< the process ends by SIGKILL in the middle of the collective, after it has given its first part
};

/// A fault: the `nth` call (from 1) of `function` by `rank` does `what`.
struct injection {
  std::string_view function;  ///< as the program spells it: "ncclAllReduce", "cudaStreamQuery"
  int nth = 1;
  int result = 0;  ///< an ncclResult_t, cudaError_t or cublasStatus_t
  /// The rank in the communicator that is used; for calls without one, RANK of the environment, else the current
  /// device. -1: any.
  int rank = -1;
  action what = action::fail;
  int milliseconds = 0;
  bool every = false;  ///< the calls after the nth too
};

/// Adds a fault. Ends the process where the fake has no such function.
void inject(const injection& fault);

/// Adds faults by text: `[rank=R:]FUNCTION:NTH[+]:WHAT`, separated by `;`. WHAT is a result (ncclSystemError,
/// cudaErrorUnknown, or a number), hang, async=RESULT, delay=MILLISECONDS, kill or kill-inside; `+`: the calls after
/// the nth too. `rank` here is RANK of the environment: faults of other processes are left out. Ends the process where
/// the text cannot be read.
void inject_text(std::string_view text);

/// Removes all faults, and forgets how often functions were called for them.
void clear_injections();

/// While on, operations on a communicator of one rank return at once and move nothing: for counting instructions.
void null_collectives(bool on);

/// How often `function` was called since the last reset_counts().
std::uint64_t calls(std::string_view function);

/// Operations of one kind that were given to streams, and their bytes: the call's count times the element's size.
struct operation_count {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
};
/// `function`: "ncclAllReduce", ...
operation_count operations(std::string_view function);

/// What was counted in this process since the last reset_counts().
struct totals {
  std::uint64_t groups = 0;                ///< outermost ncclGroupStart/ncclGroupEnd pairs that were closed
  std::uint64_t launches = 0;              ///< collectives' kernels: one per communicator and group, or per call
  std::uint64_t largest_group = 0;         ///< operations
  std::uint64_t device_allocations = 0;    ///< cudaMalloc, cudaMallocAsync, ncclMemAlloc
  std::uint64_t pinned_allocations = 0;    ///< cudaHostAlloc, cudaMallocHost, cudaHostRegister
  std::uint64_t synchronisations = 0;      ///< calls that made the calling thread wait for a device
  std::uint64_t pageable_copies = 0;       ///< cudaMemcpy*Async from or to host memory that is not pinned
  std::uint64_t other_device_current = 0;  ///< NCCL calls while another device than the communicator's was current
  std::uint64_t findings = 0;              ///< misuse that NCCL would not refuse, see refusals.hpp
};
totals counted();
void reset_counts();

/// What exists in this process now: all zero at the end of a test that leaks nothing.
struct live_objects {
  std::size_t communicators = 0, streams = 0, events = 0, graphs = 0, device_blocks = 0, pinned_blocks = 0;
  std::size_t segments = 0;  ///< shared segments that are mapped
  bool operator==(const live_objects&) const = default;
};
live_objects live();

/// Files of shared segments: none, but while communicators are being made. Where FAKE_GPU_FOLDER is set, those of all
/// processes that have it; else those that this process has made.
std::vector<std::string> files();

/// The last finding or refusal: one sentence.
std::string last_report();

}  // namespace fake_gpu
