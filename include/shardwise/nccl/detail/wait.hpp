// SPDX-License-Identifier: Apache-2.0
// The host waits for a stream, and looks after the communicator meanwhile.
#pragma once
#include <memory>

#include "shardwise/cuda/detail/relaxed_capture.hpp"
#include "shardwise/cuda/stream.hpp"
#include "shardwise/nccl/detail/open_group.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

/// A handle that means another stream in each thread.
inline bool is_of_a_thread(cudaStream_t stream) {
#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
  if (stream == nullptr) return true;
#endif
  return stream == cudaStreamPerThread;
}

inline void require_can_wait(const state& s, const char* what, cudaStream_t stream) {
  const char* why = nullptr;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  const cudaError_t asked = cudaStreamIsCapturing(stream, &capture);
  if (asked != cudaSuccess) (void)cudaGetLastError();
  if (s.in_group) {
    why = " was called inside a group, whose calls only start when it ends: end it first";
  } else if (asked == cudaErrorStreamCaptureImplicit) {
    why =
        " was called on the null stream while a stream that waits for it is captured: end the capture first, or use "
        "streams made with cudaStreamNonBlocking";
  } else if (asked == cudaSuccess && capture != cudaStreamCaptureStatusNone) {
    why = " was called while the stream is captured: its work is not done now, so the host cannot wait for it";
  }
  if (why != nullptr) shardwise::detail::raise(error_of(s, fault::refused, ncclInvalidUsage, what, why));
}

/// Four bytes of the device in the order of a stream: there for what is put on it while this lives.
struct stream_word {
  explicit stream_word(cudaStream_t s) : stream(s) { cuda::check(cudaMallocAsync(&data, 4, s), "cudaMallocAsync"); }
  stream_word(const stream_word&) = delete;
  stream_word& operator=(const stream_word&) = delete;
  ~stream_word() { (void)cudaFreeAsync(data, stream); }

  cudaStream_t stream;
  void* data = nullptr;
};

inline void append_last_call(nccl::error& text, const state& s) {
  if (s.calls == 0) return;
  text.append("; the last call was ");
  words_of(text, s.last);
  text.append(" (call ");
  text.append(s.calls);
  text.append(")");
}

[[noreturn, gnu::cold, gnu::noinline]] inline void poison_in_wait(const std::shared_ptr<state>& s, nccl::error reason) {
  append_last_call(reason, *s);
  poison_and_raise(s, reason);
}

inline void wait_for(const std::shared_ptr<state>& s, cudaStream_t stream) {
  const cuda::detail::relaxed_capture other_streams;
  const patience time(s->opts.deadline);
  for (;;) {
    // NCCL first: what it is still at is not on the stream yet.
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(s->handle, &result);
    if (asked != ncclSuccess) result = asked;
    const cudaError_t done = cudaStreamQuery(stream);
    if (done != cudaSuccess) (void)cudaGetLastError();  // told here, or nothing: nobody else is blamed for it
    const bool unknown = cuda::detail::is_of_capture(done);
    if (done != cudaSuccess && done != cudaErrorNotReady && !unknown) {
      poison_in_wait(
          s, error_of(*s, fault::failed, ncclUnhandledCudaError, "wait: cudaStreamQuery gave ", cudaGetErrorName(done),
                      " (", static_cast<int>(done), "), ", cudaGetErrorString(done)));
    }
    if (result != ncclSuccess && result != ncclInProgress) {
      nccl::error reason = error_of(*s, fault::failed, result, "wait: ");
      append_result(reason, "ncclCommGetAsyncError", result);
      poison_in_wait(s, reason);
    }
    if (unknown) {
      shardwise::detail::raise(error_of(*s, fault::refused, ncclInvalidUsage,
                                        "wait: a capture of the stream began meanwhile (", cudaGetErrorName(done),
                                        "): let no other thread capture it before wait has returned"));
    }
    if (done == cudaSuccess && result == ncclSuccess) return;
    if (!time.pause()) {
      poison_in_wait(s, error_of(*s, fault::timed_out, ncclInProgress, "wait: the stream was not done within ",
                                 s->opts.deadline.count(), " ms"));
    }
  }
}

}  // namespace detail
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise
