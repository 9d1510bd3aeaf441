// SPDX-License-Identifier: Apache-2.0
// Streams: a queue of tasks and the thread that runs them in order, so that work that hangs hangs its stream alone.
#pragma once
#include <cuda_runtime_api.h>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "fake/task.hpp"

namespace fake {

struct graph;

class stream : public std::enable_shared_from_this<stream> {
 public:
  stream(int on, unsigned f, bool first) : device(on), flags(f), is_default(first) {}

  /// Starts the thread.
  void start();
  /// Ends it, when the queue is done; where that does not happen at once, behind the caller's back.
  void close();

  /// Gives a task to the stream, after what the default stream's rule orders before it; while the stream is capturing,
  /// to the graph.
  cudaError_t post(const task& t);
  /// As post, without the default stream's rule and never captured.
  std::uint64_t append(const task& t);

  bool idle();
  void wait_idle();
  void wait_done(std::uint64_t ticket);
  std::uint64_t posted();

  graph* capturing();
  void set_capturing(graph* g);

  const int device;
  const unsigned flags;
  const bool is_default;
  /// Blocking streams and the default stream wait for each other.
  bool blocking() const { return !is_default && (flags & cudaStreamNonBlocking) == 0; }

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable filled_, ran_;
  task_queue queue_;
  std::uint64_t posted_ = 0, done_ = 0;
  bool closing_ = false;
  graph* capturing_ = nullptr;
  std::thread worker_;
};

/// The stream of a handle; null: the current device's default stream. Nothing where it was destroyed or never was.
std::shared_ptr<stream> find_stream(cudaStream_t handle);
/// The same with null for the default stream of `device`.
std::shared_ptr<stream> find_stream(cudaStream_t handle, int device);

/// Is it the null stream, and a stream that waits for it captured? CUDA answers nothing about it then.
bool captured_behind(const stream& s);

/// Waits for all streams of a device.
void wait_for_device(int device);

/// What `later` is given after this call runs after what `earlier` was given before.
void order_after(stream& later, stream& earlier);

/// What calls that CUDA refuses while this thread captures have to return.
cudaError_t refused_in_capture();

}  // namespace fake
