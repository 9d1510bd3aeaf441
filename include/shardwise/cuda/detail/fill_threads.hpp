// SPDX-License-Identifier: Apache-2.0
// Threads that help to fill a buffer, as one thread copies slower than a device reads.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <future>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace shardwise {
inline namespace v0 {
namespace cuda {
namespace detail {

/// Helpers of one thread, which come and go with the object. Fewer than were asked for where the system has no more.
class fill_threads {
 public:
  explicit fill_threads(std::size_t helpers) {
    threads_.reserve(helpers);
    for (std::size_t i = 0; i < helpers && start_one(); ++i) {
    }
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
  /// them threw, none is running. What they throw is made by them and let go by the caller alone.
  template <class F>
  void run(std::size_t parts, const F& f) {
    std::vector<std::packaged_task<void()>> others;
    for (std::size_t i = 1; i < parts; ++i) others.emplace_back([&f, i] { f(i); });
    {
      const std::lock_guard lock(mutex_);
      tasks_.reserve(others.size());
      for (auto& task : others) tasks_.push_back(&task);
      unfinished_ = others.size();
    }
    more_.notify_all();
    {
      const all_done last{*this};
      f(0);
    }
    for (auto& task : others) task.get_future().get();
  }

 private:
  bool start_one() {
#if defined(__cpp_exceptions)
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      return false;
    }
#else
    threads_.emplace_back([this] { work(); });
#endif
    return true;
  }

  struct all_done {
    fill_threads& threads;
    ~all_done() {
      std::unique_lock lock(threads.mutex_);
      threads.done_.wait(lock, [this] { return threads.unfinished_ == 0; });
    }
  };

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      more_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::packaged_task<void()>& task = *tasks_.back();
      tasks_.pop_back();
      lock.unlock();
      task();
      lock.lock();
      if (--unfinished_ == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_, done_;
  std::vector<std::packaged_task<void()>*> tasks_;  // not begun
  std::size_t unfinished_ = 0;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace detail
}  // namespace cuda
}  // namespace v0
}  // namespace shardwise
