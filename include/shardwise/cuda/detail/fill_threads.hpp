// SPDX-License-Identifier: Apache-2.0
// Threads that help to fill a buffer, as one thread copies slower than a device reads.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace shardwise {
inline namespace v0 {
namespace cuda {
namespace detail {

/// Helpers of one thread, which come and go with the object.
class fill_threads {
 public:
  explicit fill_threads(std::size_t helpers) {
    for (std::size_t i = 0; i < helpers; ++i) threads_.emplace_back([this] { work(); });
  }
  fill_threads(const fill_threads&) = delete;
  ~fill_threads() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    more_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  /// The caller's thread too.
  std::size_t size() const { return threads_.size() + 1; }
  /// Calls f(0) to f(parts - 1), each once, on these threads and the caller's. When it returns, or throws what one of
  /// them threw, none is running.
  template <class F>
  void run(std::size_t parts, const F& f) {
    struct results {
      std::vector<std::future<void>> all;
      ~results() {
        for (const auto& r : all) {
          if (r.valid()) r.wait();
        }
      }
    } others;
    {
      const std::lock_guard lock(mutex_);
      for (std::size_t i = 1; i < parts; ++i) {
        tasks_.emplace_back([&f, i] { f(i); });
        others.all.push_back(tasks_.back().get_future());
      }
    }
    more_.notify_all();
    f(0);
    for (const auto& r : others.all) r.wait();
    for (auto& r : others.all) r.get();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      more_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::packaged_task<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::packaged_task<void()>> tasks_;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace detail
}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
