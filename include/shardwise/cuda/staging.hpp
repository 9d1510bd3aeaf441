// SPDX-License-Identifier: Apache-2.0
// Pinned buffers through which tensors reach a device: while one is copied, the next is filled.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "shardwise/cuda/detail/done_within.hpp"
#include "shardwise/cuda/detail/fill_threads.hpp"
#include "shardwise/cuda/detail/relaxed_capture.hpp"
#include "shardwise/cuda/device.hpp"
#include "shardwise/cuda/event.hpp"
#include "shardwise/cuda/pinned.hpp"
#include "shardwise/cuda/stream.hpp"

namespace shardwise {
inline namespace v0 {
namespace cuda {

namespace detail {
class device_end;
}

struct staging_options {
  std::size_t buffer_bytes = std::size_t(8) << 20;  ///< of each buffer: one element of the widest type at the least
  std::size_t buffers = 2;
  /// Threads that fill a buffer, the caller's among them; never more than there are processors. More than one read the
  /// source at once: a single thread copies slower than a device takes.
  std::size_t threads = 8;
  std::chrono::milliseconds deadline = std::chrono::minutes(10);  ///< of each wait for the copies out of a buffer
};

/// The buffers of device loads on one stream, and on the device that is current when it is made. Keep one where loads
/// repeat: page-locked memory takes long to get, and CUDA may wait for the device when it is given back. The stream
/// outlives it. For one thread at a time.
///
/// The destructor waits for the copies out of its own buffers and for nothing else. Buffers whose copies are not done
/// by the deadline stay allocated until the process ends, as the device may still read them; so do those of which CUDA
/// does not say it, as the stream is being captured.
class staging {
 public:
  explicit staging(stream_ref stream, const staging_options& options = {})
      : stream_(stream), options_(options), device_(current_device()), threads_(helpers(options)) {
    if (options.buffer_bytes == 0 || options.buffers == 0) {
      shardwise::detail::raise(shardwise::error("a staging of ", options.buffers, " buffers of ", options.buffer_bytes,
                                                " bytes holds nothing; one buffer of one element is the least"));
    }
    for (std::size_t i = 0; i < options.buffers; ++i)
      buffers_.push_back({pinned_memory(options.buffer_bytes), event()});
  }
  staging(const staging&) = delete;
  staging& operator=(const staging&) = delete;
  ~staging() {
    int before = device_;
    (void)cudaGetDevice(&before);
    if (before != device_) (void)cudaSetDevice(device_);
    // An event that is recorded in a capture may not be asked after, and asking would end the capture.
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    if (dirty_ &&
        (cudaStreamIsCapturing(stream_.get(), &capture) != cudaSuccess || capture != cudaStreamCaptureStatusNone)) {
      keep_for_ever(buffers_[current_]);
      buffers_.erase(buffers_.begin() + static_cast<std::ptrdiff_t>(current_));
    } else if (dirty_) {
      (void)cudaEventRecord(buffers_[current_].copied.get(), stream_.get());
    }
    const auto until = std::chrono::steady_clock::now() + (late_ ? std::chrono::milliseconds(0) : options_.deadline);
    const detail::relaxed_capture other_streams;
    for (buffer& b : buffers_) {
      for (;;) {
        const cudaError_t done = cudaEventQuery(b.copied.get());
        const bool unknown = detail::is_of_capture(done);
        // Any other answer means that no copy will come any more.
        if (done != cudaErrorNotReady && !unknown) break;
        if (unknown || std::chrono::steady_clock::now() >= until) {
          keep_for_ever(b);
          break;
        }
        std::this_thread::yield();
      }
    }
    if (before != device_) (void)cudaSetDevice(before);
    (void)cudaGetLastError();
  }

  stream_ref stream() const { return stream_; }
  int device() const { return device_; }
  const staging_options& options() const { return options_; }
  /// That fill a buffer, the caller's among them: fewer than were asked for where there are fewer processors, or where
  /// the system starts no more.
  std::size_t threads() const { return threads_.size(); }

 private:
  friend class detail::device_end;
  static constexpr std::size_t alignment = 64;  // of each piece in a buffer

  struct buffer {
    pinned_memory memory;
    event copied;
  };

  // Buffers that a device may still read are never freed; they stay reachable, so that leak checkers know of them.
  struct kept_buffer {
    buffer kept;
    kept_buffer* next;
  };
  static inline std::atomic<kept_buffer*> kept_{nullptr};
  static void keep_for_ever(buffer& b) noexcept {
    auto* node = new (std::nothrow) kept_buffer{std::move(b), kept_.load()};
    while (node != nullptr && !kept_.compare_exchange_weak(node->next, node)) {
    }
  }

  static std::size_t helpers(const staging_options& options) {
    const std::size_t processors = std::max(1u, std::thread::hardware_concurrency());
    return std::clamp<std::size_t>(options.threads, 1, processors) - 1;
  }

  // Throws, before anything is written, where the stream cannot take copies now: of another device, or captured.
  void begin() {
    if (stream_.capturing()) {
      detail::fail(cudaErrorStreamCaptureUnsupported, "load", " into a stream that is being captured");
    }
    buffers_[current_].copied.record(stream_);
  }
  std::size_t room() const { return used_ < options_.buffer_bytes ? options_.buffer_bytes - used_ : 0; }
  // The next `bytes` of the buffer, for which there is room; their copies go on the stream before anything else is
  // asked.
  std::byte* take(std::size_t bytes) {
    std::byte* at = buffers_[current_].memory.data() + used_;
    used_ += (bytes + alignment - 1) / alignment * alignment;
    return at;
  }
  void copying() { dirty_ = true; }
  // Leaves the buffer to its copies, and takes the next when its own are done.
  void next() {
    mark();
    current_ = (current_ + 1) % buffers_.size();
    used_ = options_.buffer_bytes;  // as long as it is not known that the device has read it
    wait(buffers_[current_].copied);
    used_ = 0;
  }
  // Waits until all copies are done.
  void finish() {
    mark();
    for (const buffer& b : buffers_) wait(b.copied);
    used_ = 0;
  }
  void mark() {
    if (dirty_) buffers_[current_].copied.record(stream_);
    dirty_ = false;
  }
  void wait(const event& copied) {
    if (detail::done_within(copied, options_.deadline)) return;
    late_ = true;
    detail::fail(cudaErrorNotReady, "cudaEventQuery", " of the copies of a load, for ", options_.deadline.count(),
                 " ms: does the stream wait for a collective that never ends?");
  }

  stream_ref stream_;
  staging_options options_;
  int device_;
  detail::fill_threads threads_;
  std::vector<buffer> buffers_;
  std::size_t current_ = 0, used_ = 0;
  bool dirty_ = false;  // copies out of the current buffer that its event does not know of
  bool late_ = false;
};

}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
