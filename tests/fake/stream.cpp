// SPDX-License-Identifier: Apache-2.0
#include "fake/stream.hpp"

#include <algorithm>
#include <map>
#include <shared_mutex>
#include <vector>

#include "fake/device.hpp"
#include "fake/event.hpp"
#include "fake/graph.hpp"

namespace fake {
namespace {

// Never destroyed, as threads may run while the process ends; close_all ends those that are idle.
struct streams_and_mutex {
  std::shared_mutex mutex;
  std::map<cudaStream_t, std::shared_ptr<stream>> made;
  std::map<int, std::shared_ptr<stream>> defaults;
};
streams_and_mutex& all() {
  static auto& a = *new streams_and_mutex;
  return a;
}

struct close_all {
  ~close_all() {
    std::vector<std::shared_ptr<stream>> streams;
    {
      const std::lock_guard lock(all().mutex);
      for (auto& [device, s] : all().defaults) streams.push_back(std::move(s));
      for (auto& [handle, s] : all().made) streams.push_back(std::move(s));
      all().defaults.clear();
      all().made.clear();
    }
    for (auto& s : streams) s->close();
  }
} close_at_exit;

std::shared_ptr<stream> default_stream(int device) {
  {
    const std::shared_lock lock(all().mutex);
    if (const auto at = all().defaults.find(device); at != all().defaults.end()) return at->second;
  }
  const std::lock_guard lock(all().mutex);
  auto& s = all().defaults[device];
  if (!s) {
    s = std::make_shared<stream>(device, cudaStreamDefault, true);
    s->start();
  }
  return s;
}

// Calls f(stream) for the made streams of a device.
template <class F>
void for_streams_of(int device, const F& f) {
  std::vector<std::shared_ptr<stream>> streams;
  {
    const std::shared_lock lock(all().mutex);
    for (const auto& [handle, s] : all().made) {
      if (s->device == device) streams.push_back(s);
    }
  }
  for (const auto& s : streams) f(*s);
}

cudaError_t make(cudaStream_t* result, unsigned flags) {
  if (result == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) return remember(cudaErrorInvalidValue);
  if (device_count() == 0) return remember(cudaErrorNoDevice);
  auto s = std::make_shared<stream>(current_device(), flags, false);
  s->start();
  const auto handle = reinterpret_cast<cudaStream_t>(s.get());
  const std::lock_guard lock(all().mutex);
  all().made.emplace(handle, std::move(s));
  ++counts().streams;
  *result = handle;
  return cudaSuccess;
}

}  // namespace

void stream::start() {
  worker_ = std::thread([self = shared_from_this()] { self->work(); });
}

void stream::close() {
  bool busy = false;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    busy = done_ != posted_;
    filled_.notify_all();
  }
  if (busy || worker_.get_id() == std::this_thread::get_id()) {
    worker_.detach();
  } else {
    worker_.join();
  }
}

void stream::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [this] { return !queue_.empty() || closing_; });
    if (queue_.empty()) return;
    const task t = queue_.pop();
    lock.unlock();
    t.run();
    t.drop();
    lock.lock();
    ++done_;
    ran_.notify_all();
  }
}

std::uint64_t stream::append(const task& t) {
  const std::lock_guard lock(mutex_);
  queue_.push(t);
  filled_.notify_one();
  return ++posted_;
}

cudaError_t stream::post(const task& t) {
  if (graph* g = capturing()) {
    if (g->invalid) {
      t.drop();
      return cudaErrorStreamCaptureInvalidated;
    }
    g->append(t);
    return cudaSuccess;
  }
  if (is_default) {
    for_streams_of(device, [this](stream& other) {
      if (other.blocking() && !other.idle()) order_after(*this, other);
    });
  } else if (blocking()) {
    std::shared_ptr<stream> first;
    {
      const std::shared_lock lock(all().mutex);
      if (const auto at = all().defaults.find(device); at != all().defaults.end()) first = at->second;
    }
    if (first && !first->idle()) order_after(*this, *first);
  }
  append(t);
  return cudaSuccess;
}

bool stream::idle() {
  const std::lock_guard lock(mutex_);
  return done_ == posted_;
}
std::uint64_t stream::posted() {
  const std::lock_guard lock(mutex_);
  return posted_;
}
void stream::wait_done(std::uint64_t ticket) {
  std::unique_lock lock(mutex_);
  ran_.wait(lock, [&] { return done_ >= ticket; });
}
void stream::wait_idle() { wait_done(posted()); }
graph* stream::capturing() {
  const std::lock_guard lock(mutex_);
  return capturing_;
}
void stream::set_capturing(graph* g) {
  const std::lock_guard lock(mutex_);
  capturing_ = g;
}

std::shared_ptr<stream> find_stream(cudaStream_t handle, int device) {
  if (handle == nullptr || handle == cudaStreamLegacy) return default_stream(device);
  const std::shared_lock lock(all().mutex);
  const auto at = all().made.find(handle);
  return at == all().made.end() ? nullptr : at->second;
}
std::shared_ptr<stream> find_stream(cudaStream_t handle) { return find_stream(handle, current_device()); }

bool captured_behind(const stream& s) {
  bool captured = false;
  if (s.is_default) {
    for_streams_of(s.device, [&](stream& o) { captured = captured || (o.blocking() && o.capturing() != nullptr); });
  }
  return captured;
}

void wait_for_device(int device) {
  std::shared_ptr<stream> first;
  {
    const std::shared_lock lock(all().mutex);
    if (const auto at = all().defaults.find(device); at != all().defaults.end()) first = at->second;
  }
  if (first) first->wait_idle();
  for_streams_of(device, [](stream& s) { s.wait_idle(); });
}

void order_after(stream& later, stream& earlier) {
  event* e = event::make(cudaEventDisableTiming);
  e->record(earlier);
  e->await(later);
  e->release();
}

}  // namespace fake

using namespace fake;

cudaError_t cudaStreamCreate(cudaStream_t* result) {
  FAKE_CUDA(cudaStreamCreate);
  return make(result, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* result, unsigned int flags) {
  FAKE_CUDA(cudaStreamCreateWithFlags);
  return make(result, flags);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* result, unsigned int flags, int) {
  FAKE_CUDA(cudaStreamCreateWithPriority);
  return make(result, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  FAKE_CUDA(cudaStreamDestroy);
  std::shared_ptr<stream> s;
  {
    const std::lock_guard lock(all().mutex);
    const auto at = all().made.find(handle);
    if (at == all().made.end()) return remember(cudaErrorInvalidResourceHandle);
    s = std::move(at->second);
    all().made.erase(at);
  }
  if (s->capturing() != nullptr) invalidate_capture(*s);
  --counts().streams;
  s->close();
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  FAKE_CUDA(cudaStreamSynchronize);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (s->capturing() != nullptr) {
    invalidate_capture(*s);
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  counts().synchronisations.fetch_add(1, std::memory_order_relaxed);
  if (s->is_default) {
    for_streams_of(s->device, [](stream& other) {
      if (other.blocking()) other.wait_idle();
    });
  }
  s->wait_idle();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  FAKE_CUDA(cudaStreamQuery);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (s->capturing() != nullptr) {
    invalidate_capture(*s);
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  if (captured_behind(*s)) return remember(cudaErrorStreamCaptureImplicit);
  if (const auto e = refused_in_capture(); e != cudaSuccess) return remember(e);
  return s->idle() ? cudaSuccess : remember(cudaErrorNotReady);
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  FAKE_CUDA(cudaStreamGetDevice);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (device == nullptr) return remember(cudaErrorInvalidValue);
  *device = s->device;
  return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned int* flags) {
  FAKE_CUDA(cudaStreamGetFlags);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (flags == nullptr) return remember(cudaErrorInvalidValue);
  *flags = s->flags;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  FAKE_CUDA(cudaDeviceSynchronize);
  if (const auto e = refused_in_capture(); e != cudaSuccess) return remember(e);
  counts().synchronisations.fetch_add(1, std::memory_order_relaxed);
  wait_for_device(current_device());
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t f, void* data) {
  FAKE_CUDA(cudaLaunchHostFunc);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (f == nullptr) return remember(cudaErrorInvalidValue);
  return remember(s->post(task::of(node_kind::host, [f, data] { f(data); })));
}
