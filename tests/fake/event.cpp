// SPDX-License-Identifier: Apache-2.0
#include "fake/event.hpp"

#include <cstdlib>
#include <new>
#include <set>
#include <shared_mutex>

#include "fake/device.hpp"
#include "fake/graph.hpp"

namespace fake {

event* event::make(unsigned flags) {
  void* at = std::malloc(sizeof(event));  // not operator new, which tests count
  if (at == nullptr) std::abort();
  return new (at) event(flags);
}

void event::release() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  this->~event();
  std::free(this);
}

void event::record(stream& on) {
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    generation = ++recorded_;
  }
  keep();
  on.append(task::of(node_kind::none, [this, generation] { reach(generation); }).holding(this, [](void* e) {
    static_cast<event*>(e)->release();
  }));
}

void event::await(stream& on) {
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    generation = recorded_;
  }
  if (generation == 0) return;
  keep();
  on.append(task::of(node_kind::none, [this, generation] { wait(generation); }).holding(this, [](void* e) {
    static_cast<event*>(e)->release();
  }));
}

void event::reach(std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (generation > reached_) reached_ = generation;
  when_ = std::chrono::steady_clock::now();
  changed_.notify_all();
}

void event::wait(std::uint64_t generation) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reached_ >= generation; });
}

bool event::reached() {
  const std::lock_guard lock(mutex_);
  return reached_ == recorded_;
}

void event::wait() {
  std::unique_lock lock(mutex_);
  const auto generation = recorded_;
  changed_.wait(lock, [&] { return reached_ >= generation; });
}

cudaError_t event::elapsed(event& until, float& milliseconds) {
  if (((flags | until.flags) & cudaEventDisableTiming) != 0) return cudaErrorInvalidResourceHandle;
  const auto time_of = [](event& e, std::chrono::steady_clock::time_point& when) {
    const std::lock_guard lock(e.mutex_);
    when = e.when_;
    if (e.recorded_ == 0) return cudaErrorInvalidResourceHandle;
    return e.reached_ == e.recorded_ ? cudaSuccess : cudaErrorNotReady;
  };
  std::chrono::steady_clock::time_point from, to;
  if (const auto e = time_of(*this, from); e != cudaSuccess) return e;
  if (const auto e = time_of(until, to); e != cudaSuccess) return e;
  milliseconds = std::chrono::duration<float, std::milli>(to - from).count();
  return cudaSuccess;
}

namespace {

struct events_and_mutex {
  std::shared_mutex mutex;
  std::set<event*> events;
};
events_and_mutex& all() {
  static auto& a = *new events_and_mutex;
  return a;
}

// The event of a handle, kept while this lives.
class kept_event {
 public:
  explicit kept_event(cudaEvent_t handle) {
    const std::shared_lock lock(all().mutex);
    const auto at = all().events.find(reinterpret_cast<event*>(handle));
    if (at == all().events.end()) return;
    event_ = *at;
    event_->keep();
  }
  kept_event(const kept_event&) = delete;
  kept_event& operator=(const kept_event&) = delete;
  ~kept_event() {
    if (event_ != nullptr) event_->release();
  }
  explicit operator bool() const { return event_ != nullptr; }
  event* operator->() const { return event_; }
  event& operator*() const { return *event_; }

 private:
  event* event_ = nullptr;
};

cudaError_t make(cudaEvent_t* result, unsigned flags) {
  if (result == nullptr) return remember(cudaErrorInvalidValue);
  if (device_count() == 0) return remember(cudaErrorNoDevice);
  event* e = event::make(flags);
  e->device = current_device();
  const std::lock_guard lock(all().mutex);
  all().events.insert(e);
  ++counts().events;
  *result = reinterpret_cast<cudaEvent_t>(e);
  return cudaSuccess;
}

}  // namespace
}  // namespace fake

using namespace fake;

cudaError_t cudaEventCreate(cudaEvent_t* result) {
  FAKE_CUDA(cudaEventCreate);
  return make(result, cudaEventDefault);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* result, unsigned int flags) {
  FAKE_CUDA(cudaEventCreateWithFlags);
  return make(result, flags);
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  FAKE_CUDA(cudaEventDestroy);
  auto* e = reinterpret_cast<event*>(handle);
  {
    const std::lock_guard lock(all().mutex);
    if (all().events.erase(e) == 0) return remember(cudaErrorInvalidResourceHandle);
  }
  --counts().events;
  e->release();
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on) {
  FAKE_CUDA(cudaEventRecord);
  const kept_event e(handle);
  const auto s = find_stream(on);
  if (!e || !s || e->device != s->device) return remember(cudaErrorInvalidResourceHandle);
  graph* g = s->capturing();
  e->captured = g;
  if (g == nullptr) e->record(*s);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t on, cudaEvent_t handle, unsigned int) {
  FAKE_CUDA(cudaStreamWaitEvent);
  const kept_event e(handle);
  const auto s = find_stream(on);
  if (!e || !s) return remember(cudaErrorInvalidResourceHandle);
  if (graph* g = e->captured) {
    // The tasks of a graph are run in the order in which they were given, so the wait itself needs none.
    if (s->capturing() == nullptr) join_capture(*g, *s);
    return cudaSuccess;
  }
  if (s->capturing() != nullptr) {
    invalidate_capture(*s);
    return remember(cudaErrorStreamCaptureUnsupported);  // CUDA: cudaErrorStreamCaptureIsolation
  }
  e->await(*s);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  FAKE_CUDA(cudaEventQuery);
  const kept_event e(handle);
  if (!e) return remember(cudaErrorInvalidResourceHandle);
  if (e->captured != nullptr) return remember(cudaErrorCapturedEvent);
  if (const auto refused = refused_in_capture(); refused != cudaSuccess) return remember(refused);
  return e->reached() ? cudaSuccess : remember(cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  FAKE_CUDA(cudaEventSynchronize);
  const kept_event e(handle);
  if (!e) return remember(cudaErrorInvalidResourceHandle);
  if (e->captured != nullptr) return remember(cudaErrorCapturedEvent);
  counts().synchronisations.fetch_add(1, std::memory_order_relaxed);
  e->wait();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  FAKE_CUDA(cudaEventElapsedTime);
  const kept_event from(start), to(end);
  if (!from || !to) return remember(cudaErrorInvalidResourceHandle);
  if (milliseconds == nullptr) return remember(cudaErrorInvalidValue);
  return remember(from->elapsed(*to, *milliseconds));
}
