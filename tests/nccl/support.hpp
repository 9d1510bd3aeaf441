// SPDX-License-Identifier: Apache-2.0
// Ranks as threads, each with a device of the fake GPU, and what a test asks of them.
#pragma once
#include <dirent.h>
#include <chrono>
#include <concepts>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda/copy_now.hpp"
#include "error_of.hpp"
#include "fake/fake_gpu.hpp"
#include "fault_rounds.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/rendezvous.hpp"
#include "shardwise/cuda.hpp"
#include "shardwise/nccl.hpp"

namespace nccl_test {
namespace sw = shardwise;
namespace cu = shardwise::cuda;
using namespace std::chrono_literals;
using gpu_rank = sw::nccl::communicator;
using host_rank = sw::in_process_communicator;

/// Every rank calls `f(comm, stream, host)`, where `comm` has the options `opts_of(rank)` and `host` is a communicator
/// of the same ranks on the host; what they return, by rank. Assertions are for the main thread only.
template <std::invocable<int> OptionsOfRank, class F>
auto on_gpus(int ranks, OptionsOfRank opts_of, F f) {
  return sw::in_process(ranks, [&](host_rank& host) {
    cu::set_device(host.rank());
    sw::communicator_rendezvous meeting(host);
    gpu_rank comm = gpu_rank::create(meeting, opts_of(host.rank()));
    cu::stream stream;
    return f(comm, stream.get(), host);
  });
}
template <class F>
auto on_gpus(int ranks, sw::nccl::options opts, F f) {
  return on_gpus(
      ranks, [&opts](int) { return opts; }, std::move(f));
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Device memory of `count` floats that hold `x`.
class floats {
 public:
  explicit floats(std::size_t count, float x = 0) : memory_(count * sizeof(float)) {
    const std::vector<float> all(count, x);
    cuda_test::copy_now(memory_.data(), all.data(), memory_.bytes());
  }
  float* data() const { return static_cast<float*>(memory_.data()); }
  std::vector<float> get() const {
    std::vector<float> all(memory_.bytes() / sizeof(float));
    cuda_test::copy_now(all.data(), memory_.data(), memory_.bytes());
    return all;
  }

 private:
  cu::device_memory memory_;
};

/// Entries of a folder of /proc/self: "task" are the threads, "fd" the descriptors.
inline int entries(const char* folder) {
  int n = 0;
  DIR* const d = opendir((std::string("/proc/self/") + folder).c_str());
  while (readdir(d) != nullptr) ++n;
  closedir(d);
  return n;
}

/// Faults and counts of one test; at its end nothing may be left of it.
class clean_slate {
 public:
  clean_slate() {
    use_all_devices();
    threads_ = entries("task");
    descriptors_ = entries("fd");
    live_ = fake_gpu::live();
    fake_gpu::clear_injections();
    fake_gpu::reset_counts();
  }
  ~clean_slate() { fake_gpu::clear_injections(); }
  clean_slate(const clean_slate&) = delete;
  clean_slate& operator=(const clean_slate&) = delete;

  /// "" or what is left. A helper thread that the fake held up may take a moment to end.
  std::string left() {
    fake_gpu::clear_injections();
    std::string text;
    for (int i = 0; i < 3000; ++i) {
      text = now();
      if (text.empty()) return text;
      std::this_thread::sleep_for(1ms);
    }
    return text;
  }

 private:
  std::string now() const {
    const fake_gpu::live_objects live = fake_gpu::live();
    std::string text;
    const auto add = [&](const char* what, auto is, auto was) {
      if (is != was) text += std::string(what) + ": " + std::to_string(is) + ", was " + std::to_string(was) + "; ";
    };
    add("threads", entries("task"), threads_);
    add("descriptors", entries("fd"), descriptors_);
    add("communicators", live.communicators, live_.communicators);
    add("streams", live.streams, live_.streams);
    add("device blocks", live.device_blocks, live_.device_blocks);
    add("segments", live.segments, live_.segments);
    return text;
  }

  // A device of the fake that was used once keeps the thread of its null stream.
  static void use_all_devices() {
    for (int device = 0; device < cu::device_count(); ++device) {
      const cu::device_guard guard(device);
      (void)floats(1);
    }
  }

  int threads_ = 0, descriptors_ = 0;
  fake_gpu::live_objects live_;
};

}  // namespace nccl_test
