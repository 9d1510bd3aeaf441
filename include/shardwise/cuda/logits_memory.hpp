// SPDX-License-Identifier: Apache-2.0
// Policies of logits that lie on a device.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/cuda/detail/done_within.hpp"
#include "shardwise/cuda/device_memory.hpp"
#include "shardwise/cuda/event.hpp"
#include "shardwise/cuda/pinned.hpp"
#include "shardwise/cuda/stream.hpp"
#include "shardwise/run/logits_memory.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

struct logits_memory_options {
  /// Of each wait for the stream, where the communicator has no `wait` of its own, as an `any_communicator`.
  std::chrono::milliseconds deadline = std::chrono::minutes(10);
};

/// What logits_memory is, for logits and a communicator whose buffers are on the device that is current when it is
/// made: `run(step, comm, stream, logits, policy, memory)`. There is no kernel: the rank's own logits (1/tp of a
/// gather) are copied to page-locked memory, and the host does the rest; what ranks tell each other goes over the
/// communicator, from and to the device. So the call waits for the stream, and cannot be captured in a graph; of gather
/// it does neither, and its logits stay on the device.
///
/// Where a call throws while copies are under way, and they are not done when this is destroyed, their memory stays
/// allocated.
class logits_memory {
 public:
  explicit logits_memory(const logits_memory_options& options = {}) : options_(options), held_(new buffers) {}
  logits_memory(const logits_memory&) = delete;
  logits_memory& operator=(const logits_memory&) = delete;
  ~logits_memory() {
    if (!held_->busy) return;
    const cudaError_t code = cudaEventQuery(held_->mark.get());
    (void)cudaGetLastError();
    if (code == cudaErrorNotReady || detail::is_of_capture(code)) (void)held_.release();
  }

  /// These five are for `run` alone: see shardwise::logits_memory.
  template <class C>
  shardwise::detail::host_logits on_host(C& comm, typename C::stream_type stream, const void* data, std::size_t rows,
                                         std::size_t bytes, std::size_t stride) {
    const stream_ref s = stream_of(stream);
    if (s.capturing()) {
      detail::fail(cudaErrorStreamCaptureUnsupported, "run",
                   " of a policy on a stream that is being captured: its answer is on the host");
    }
    if (held_->busy) wait(comm, stream);  // a call before this one failed
    if (bytes == 0) return {};
    grow(held_->local, rows * bytes);
    held_->busy = true;
    // Of one row the pitch is of no meaning, and may be less than the width.
    check(cudaMemcpy2DAsync(held_->local.data(), bytes, data, rows == 1 ? bytes : stride, bytes, rows,
                            cudaMemcpyDeviceToHost, s),
          "cudaMemcpy2DAsync");
    wait(comm, stream);
    return {held_->local.data(), bytes};
  }
  std::span<std::uint32_t> message(std::size_t words) {
    grow(held_->sent, words * sizeof(std::uint32_t));
    return {reinterpret_cast<std::uint32_t*>(held_->sent.data()), words};
  }
  template <can_all_gather C>
  std::span<const std::uint32_t> exchange(C& comm, typename C::stream_type stream, std::size_t words) {
    const stream_ref s = stream_of(stream);
    const std::size_t bytes = words * sizeof(std::uint32_t), all = bytes * static_cast<std::size_t>(comm.size());
    grow(held_->sending, bytes);
    grow(held_->receiving, all);
    grow(held_->received, all);
    held_->busy = true;
    check(cudaMemcpyAsync(held_->sending.data(), held_->sent.data(), bytes, cudaMemcpyHostToDevice, s),
          "cudaMemcpyAsync");
    comm.all_gather(held_->sending.data(), held_->receiving.data(), words, dtype::i32, stream);
    check(cudaMemcpyAsync(held_->received.data(), held_->receiving.data(), all, cudaMemcpyDeviceToHost, s),
          "cudaMemcpyAsync");
    wait(comm, stream);
    return {reinterpret_cast<const std::uint32_t*>(held_->received.data()), all / sizeof(std::uint32_t)};
  }
  void* whole(std::size_t bytes) {
    grow(held_->whole, bytes);
    return held_->whole.data();
  }
  shardwise::detail::logits_scratch& scratch() { return scratch_; }

 private:
  struct buffers {
    pinned_memory local, sent, received;
    device_memory sending, receiving, whole;
    event mark;
    bool busy = false;  // copies that nobody has waited for
  };

  template <class Stream>
  static stream_ref stream_of(Stream stream) {
    if constexpr (std::is_convertible_v<Stream, stream_ref>) {
      return stream;
    } else {
      return stream.template as<cudaStream_t>();
    }
  }
  template <class Memory>
  static void grow(Memory& memory, std::size_t bytes) {
    if (memory.bytes() < bytes) memory = Memory(std::max(bytes, 2 * memory.bytes()));
  }
  template <class C>
  void wait(C& comm, typename C::stream_type stream) {
    held_->mark.record(stream_of(stream));
    if constexpr (requires { comm.wait(stream); }) {
      comm.wait(stream);
    } else if (!detail::done_within(held_->mark, options_.deadline)) {
      detail::fail(cudaErrorNotReady, "cudaEventQuery", " of a policy's copies, for ", options_.deadline.count(),
                   " ms: does the stream wait for a collective that never ends?");
    }
    held_->busy = false;
  }

  logits_memory_options options_;
  std::unique_ptr<buffers> held_;
  shardwise::detail::logits_scratch scratch_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
