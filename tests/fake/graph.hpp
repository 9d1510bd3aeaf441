// SPDX-License-Identifier: Apache-2.0
// Captured work: the tasks in the order in which they were given, whatever streams they were given to.
#pragma once
#include <cuda_runtime_api.h>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "fake/task.hpp"

namespace fake {

class stream;

struct graph {
  std::mutex mutex;
  task_queue tasks;
  std::vector<stream*> streams;  // that are captured into it, the first is where it began
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool invalid = false;
  unsigned long long id = 0;
  std::atomic<int> references{1};  // the graph's handle, and its executable ones

  void append(const task& t);
  void release();
};

/// The stream takes part in the capture from now on.
void join_capture(graph& g, stream& s);
void invalidate_capture(stream& s);

}  // namespace fake
