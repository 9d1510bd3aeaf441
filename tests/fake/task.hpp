// SPDX-License-Identifier: Apache-2.0
// One piece of work of a stream: a function of few bytes, so that posting it needs no operator new (tests count it).
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

namespace fake {

/// What a captured task is in the graph; `none` is no node.
enum class node_kind { none, kernel, copy, set, host, memory };

class task {
 public:
  /// `work()` is copied by its bytes; it may be called many times (a graph is replayed).
  template <class Work>
  static task of(node_kind kind, const Work& work) {
    static_assert(std::is_trivially_copyable_v<Work> && sizeof(Work) <= capacity);
    task t;
    t.kind_ = kind;
    std::memcpy(t.bytes_, &work, sizeof work);
    t.run_ = [](const std::byte* bytes) { (*std::launder(reinterpret_cast<const Work*>(bytes)))(); };
    return t;
  }
  /// `let_go(held)` is called once, when the task will not be run again.
  task& holding(void* held, void (*let_go)(void*)) {
    held_ = held;
    drop_ = let_go;
    return *this;
  }
  node_kind kind() const { return kind_; }
  void run() const { run_(bytes_); }
  void drop() const {
    if (drop_ != nullptr) drop_(held_);
  }

 private:
  static constexpr std::size_t capacity = 160;
  alignas(16) std::byte bytes_[capacity];
  void (*run_)(const std::byte*) = nullptr;
  void (*drop_)(void*) = nullptr;
  void* held_ = nullptr;
  node_kind kind_ = node_kind::none;
};

/// A queue of tasks, in memory of malloc.
class task_queue {
 public:
  task_queue() = default;
  task_queue(const task_queue&) = delete;
  task_queue& operator=(const task_queue&) = delete;
  ~task_queue() { std::free(tasks_); }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  const task& operator[](std::size_t i) const { return tasks_[(first_ + i) % capacity_]; }
  void push(const task& t) {
    if (size_ == capacity_) grow();
    new (tasks_ + (first_ + size_) % capacity_) task(t);
    ++size_;
  }
  task pop() {
    const task t = tasks_[first_];
    first_ = (first_ + 1) % capacity_;
    --size_;
    return t;
  }

 private:
  void grow() {
    const std::size_t capacity = capacity_ == 0 ? 16 : 2 * capacity_;
    auto* tasks = static_cast<task*>(std::malloc(capacity * sizeof(task)));
    if (tasks == nullptr) std::abort();
    for (std::size_t i = 0; i < size_; ++i) new (tasks + i) task((*this)[i]);
    std::free(tasks_);
    tasks_ = tasks;
    first_ = 0;
    capacity_ = capacity;
  }

  task* tasks_ = nullptr;
  std::size_t first_ = 0, size_ = 0, capacity_ = 0;
};

}  // namespace fake
