// SPDX-License-Identifier: Apache-2.0
#include "fake/communicator.hpp"

#include <set>
#include <shared_mutex>
#include <thread>

#include "fake/device.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/group.hpp"

namespace fake {

constinit std::atomic<bool> null_mode{false};

namespace {

const bool null_mode_read = [] {
  const char* text = std::getenv("FAKE_GPU_NULL");
  if (text != nullptr && *text == '1') null_mode = true;
  return true;
}();

struct communicators_and_mutex {
  std::shared_mutex mutex;
  std::set<ncclComm_t> known;
};
communicators_and_mutex& all() {
  static auto& a = *new communicators_and_mutex;
  return a;
}
bool known(ncclComm_t comm) {
  const std::shared_lock lock(all().mutex);
  return all().known.contains(comm);
}

constexpr std::size_t name_capacity = 256;

}  // namespace

bool background::start(void* (*work)(void*), void* argument) {
  const std::lock_guard lock(mutex_);
  if (running_) pthread_join(thread_, nullptr);
  running_ = pthread_create(&thread_, nullptr, work, argument) == 0;
  return running_;
}

void background::join() {
  const std::lock_guard lock(mutex_);
  if (running_) pthread_join(thread_, nullptr);
  running_ = false;
}

void communicator::fail(ncclResult_t result) {
  int now = async.load();
  while ((now == ncclSuccess || now == ncclInProgress) && !async.compare_exchange_weak(now, result)) {
  }
}

void communicator::drain() {
  std::unique_lock lock(mutex);
  while (done != posted && !abort) changed.wait_for(lock, std::chrono::milliseconds(20));
}

void communicator::end_work() {
  const std::lock_guard ending(ending_work);
  drain();
  if (graphs == 0) return;
  refuse(misuse::end_while_captured, "rank %d waits until %d captured launches are destroyed", rank, graphs.load());
  while (graphs != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void communicator::hang() {
  while (!abort && any_faults) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void communicator::linger() {
  for (int i = delay.exchange(0); i > 0 && !abort; --i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void report_stall(const communicator& c, const char* what, const char* ranks) {
  std::fprintf(stderr, "fake_gpu: %s: rank %d of %d still waits for rank%s\n", what, c.rank, c.size, ranks);
}

std::chrono::seconds stall_limit() {
  static const std::chrono::seconds limit([] {
    const char* text = std::getenv("FAKE_GPU_STALL");
    return text != nullptr ? std::atoi(text) : 10;
  }());
  return limit;
}

ncclResult_t check_known(ncclComm_t comm, function f) {
  const char* called = name_of(f).data();
  if (comm == nullptr) return refuse(misuse::null_communicator, "%s : comm argument is NULL", called);
  if (!known(comm)) return refuse(misuse::corrupt_communicator, "%s", called);
  const auto state = comm->state.load();
  if (state == life::destroyed) return refuse(misuse::used_after_destroy, "%s, rank %d", called, comm->rank);
  if (state == life::aborted) return refuse(misuse::used_after_abort, "%s, rank %d", called, comm->rank);
  if (current_device() != comm->device) counts().other_device_current.fetch_add(1, std::memory_order_relaxed);
  if (comm->name != nullptr && hash_of(comm->name, name_capacity) != comm->name_hash) {
    comm->name = nullptr;
    const auto result = refuse(misuse::dangling_name, "%s, rank %d", called, comm->rank);
    comm->fail(result);
  }
  return ncclSuccess;
}

ncclResult_t check_use(ncclComm_t comm, function f) {
  if (const auto e = check_known(comm, f); e != ncclSuccess) return e;
  if (const auto world = comm->world()) {
    if (const auto e = world->poisoned(); e != ncclSuccess) {
      set_last_error(world->poison_text());
      comm->fail(e);
    }
  }
  const auto async = static_cast<ncclResult_t>(comm->async.load());
  if (async == ncclInProgress || (async == ncclSuccess && comm->state == life::making)) {
    return refuse(misuse::used_in_progress, "%s, rank %d", name_of(f).data(), comm->rank);
  }
  comm->job.join();
  return async;
}

ncclResult_t end_world(communicator& c, segment& world, misuse what, const char* text) {
  if (world.claim_poison()) {
    char sentence[segment::text_capacity];
    const auto& entry = entry_of(what);
    std::snprintf(sentence, sizeof sentence, "%.*s: %s", static_cast<int>(entry.name.size()), entry.name.data(), text);
    world.poison(refuse(what, "%s", text), sentence);
  }
  while (world.poisoned() == ncclSuccess && !c.abort) std::this_thread::yield();
  if (world.poisoned() == ncclSuccess) return entry_of(what).result;
  set_last_error(world.poison_text());
  c.fail(world.poisoned());
  return world.poisoned();
}

int rank_of(ncclComm_t comm) { return comm != nullptr && known(comm) ? comm->rank : -1; }

ncclComm_t new_communicator(int size, int rank, int device, const ncclConfig_t* config) {
  auto* c = new ncclComm;
  c->size = size;
  c->rank = rank;
  c->device = device;
  if (config != nullptr) {
    c->blocking = config->blocking != 0;
    c->name = config->commName;
    if (c->name != nullptr) c->name_hash = hash_of(c->name, name_capacity);
  }
  ++counts().communicators;
  const std::lock_guard lock(all().mutex);
  all().known.insert(c);
  return c;
}

ncclResult_t injected(long_work& w, communicator& interrupted_by) {
  if (!w.hit) return ncclSuccess;
  switch (w.hit->what) {
    case fake_gpu::action::hang: interrupted_by.hang(); return ncclSuccess;
    case fake_gpu::action::async_error: return static_cast<ncclResult_t>(w.hit->result);
    case fake_gpu::action::delay:
      for (int i = 0; i < w.hit->milliseconds && !interrupted_by.abort; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      return ncclSuccess;
    default: return ncclSuccess;
  }
}

namespace {

// The rank leaves: others that wait for it learn it.
void leave(communicator& c, life end, presence mark) {
  c.job.join();
  { const std::lock_guard ended(c.ending_work); }
  if (const auto world = c.world()) world->end(c.rank, mark);
  const std::lock_guard running(c.running);  // a launch that runs has seen the abort and ends
  const std::lock_guard lock(c.mutex);
  if (c.state.exchange(end) < life::destroyed) --counts().communicators;
  c.shared.reset();
  c.last.reset();
}

}  // namespace

void discard(communicator& c) { leave(c, life::destroyed, presence::failed); }

}  // namespace fake

void fake_gpu::null_collectives(bool on) { fake::null_mode = on; }

using namespace fake;

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const auto hit = enter(function::ncclCommDestroy, rank_of(comm));
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (comm == nullptr) return ncclSuccess;
  if (const auto e = check_use(comm, function::ncclCommDestroy); e != ncclSuccess) return e;
  if (hit && hit->what == fake_gpu::action::hang) comm->hang();
  if (comm->state != life::finalized) comm->end_work();
  if (comm->abort) return ncclSuccess;  // another thread ends it
  leave(*comm, life::destroyed, presence::left);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const auto hit = enter(function::ncclCommAbort, rank_of(comm));
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (comm == nullptr) return ncclSuccess;
  if (const auto e = check_known(comm, function::ncclCommAbort); e != ncclSuccess) return e;
  if (hit && hit->what == fake_gpu::action::hang) comm->hang();
  if (comm->blocking && comm->state == life::finalized) {
    const std::unique_lock ending(comm->ending_work, std::try_to_lock);
    if (!ending) return refuse(misuse::aborted_in_finalize, "rank %d", comm->rank);
  }
  if (comm->abort.exchange(true)) return refuse(misuse::used_after_abort, "ncclCommAbort, rank %d", comm->rank);
  if (const auto world = comm->world()) world->ring();
  leave(*comm, life::aborted, presence::left);
  return ncclSuccess;
}

namespace {
ncclResult_t finalize(long_work& w) {
  communicator& c = *w.comm;
  if (const auto e = injected(w, c); e != ncclSuccess) return e;
  c.end_work();
  return static_cast<ncclResult_t>(c.async.load()) == ncclInProgress ? ncclSuccess
                                                                     : static_cast<ncclResult_t>(c.async.load());
}
}  // namespace

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const auto hit = enter(function::ncclCommFinalize, rank_of(comm));
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (const auto e = check_use(comm, function::ncclCommFinalize); e != ncclSuccess) return e;
  auto usable = life::usable;
  if (!comm->state.compare_exchange_strong(usable, life::finalized)) {
    return refuse(misuse::finalized_twice, "rank %d", comm->rank);
  }
  long_work w;
  w.comm = comm;
  w.hit = hit;
  w.run = &finalize;
  return begin_long_work(w);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  const auto hit = enter(function::ncclCommGetAsyncError, rank_of(comm));
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (const auto e = check_known(comm, function::ncclCommGetAsyncError); e != ncclSuccess) return e;
  if (result == nullptr) return refuse(misuse::null_result_pointer, "ncclCommGetAsyncError : asyncError");
  if (hit && hit->what == fake_gpu::action::async_error) comm->fail(static_cast<ncclResult_t>(hit->result));
  if (const auto world = comm->world()) {
    if (const auto e = world->poisoned(); e != ncclSuccess) {
      set_last_error(world->poison_text());
      comm->fail(e);
    }
  }
  *result = static_cast<ncclResult_t>(comm->async.load());
  return ncclSuccess;
}

namespace {
ncclResult_t ask(ncclComm_t comm, function f, int* result, int communicator::*member) {
  const auto hit = enter(f, rank_of(comm));
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (const auto e = check_use(comm, f); e != ncclSuccess) return e;
  if (result == nullptr) return refuse(misuse::null_result_pointer, "%s", name_of(f).data());
  *result = comm->*member;
  return ncclSuccess;
}
}  // namespace

ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  return ask(comm, function::ncclCommCount, count, &communicator::size);
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  return ask(comm, function::ncclCommUserRank, rank, &communicator::rank);
}
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int* device) {
  return ask(comm, function::ncclCommCuDevice, device, &communicator::device);
}

ncclResult_t ncclGetVersion(int* version) {
  const auto hit = enter(function::ncclGetVersion);
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (version == nullptr) return refuse(misuse::null_result_pointer, "ncclGetVersion");
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  count_call(function::ncclGetErrorString);
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError: return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t) {
  count_call(function::ncclGetLastError);
  return last_error();
}
