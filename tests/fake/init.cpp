// SPDX-License-Identifier: Apache-2.0
// How communicators are made: unique ids and init; blocking, non-blocking, and in groups.
#include <algorithm>
#include <cstring>
#include <thread>

#include "fake/communicator.hpp"
#include "fake/device.hpp"
#include "fake/group.hpp"

namespace fake {
namespace {

constexpr char id_magic[8] = {'f', 'a', 'k', 'e', 'g', 'p', 'u', '\n'};
constexpr int largest_world = 64;

struct id_text {
  char magic[8];
  char path[path_capacity];
};
static_assert(sizeof(id_text) <= NCCL_UNIQUE_ID_BYTES);

ncclResult_t check_duplicates(const communicator& c, const segment& world) {
  for (int r = 0; r < c.size; ++r) {
    for (int q = r + 1; q < c.size; ++q) {
      const rank_slot &a = world.slot(r), &b = world.slot(q);
      if (a.host_hash == b.host_hash && a.device == b.device) {
        return refuse(misuse::duplicate_gpu, "Duplicate GPU detected : rank %d and rank %d both on CUDA device %x", r,
                      q, static_cast<unsigned>(a.device));
      }
    }
  }
  return ncclSuccess;
}

}  // namespace

ncclResult_t join_world(communicator& c, communicator& interrupted_by, const char* path) {
  ncclResult_t error = ncclSuccess;
  const auto world = segment::join(path, c.size, c.rank, physical_device(c.device), error);
  if (!world) {
    segment::remove(path);
    return error;
  }
  {
    const std::lock_guard lock(c.mutex);
    c.shared = world;
  }
  // Until the last one has come any that dies is missed.
  const auto missing = [&](int) {
    for (int r = 0; r < c.size; ++r) {
      const auto state = world->slot(r).state.load(std::memory_order_acquire);
      if (state == presence::never || state == presence::failed) return true;
    }
    return false;
  };
  // A split is interrupted by the abort of the old communicator too.
  const auto ready = [&] { return !missing(0) || interrupted_by.abort.load(); };
  const auto how = wait_until(c, *world, "init", ready, missing);
  segment::remove(path);  // all have it mapped, or none will
  if (how == waited::failed) return static_cast<ncclResult_t>(c.async.load());
  if (how == waited::aborted || interrupted_by.abort) return ncclInternalError;
  if (const auto e = check_duplicates(c, *world); e != ncclSuccess) {
    world->end(c.rank, presence::left);  // all are there and see the same: this is not the others' reason
    return e;
  }
  c.state = life::usable;
  return ncclSuccess;
}

ncclResult_t check_config(const ncclConfig_t* given, ncclConfig_t& config) {
  config = NCCL_CONFIG_INITIALIZER;
  if (given == nullptr) return ncclSuccess;
  if (given->magic != config.magic) {
    return refuse(misuse::bad_config, "ncclConfig_t argument not initialized via NCCL_CONFIG_INITIALIZER");
  }
  const std::size_t size = std::min(given->size, sizeof config);
  std::memcpy(static_cast<void*>(&config), given, size);
  // init.cc envConfigOverride
  if (const char* blocking = std::getenv("NCCL_COMM_BLOCKING")) config.blocking = std::atoi(blocking);
  const auto undefined = [](int value) { return value == NCCL_CONFIG_UNDEF_INT; };
  if (!undefined(config.blocking) && config.blocking != 0 && config.blocking != 1) {
    return refuse(misuse::bad_config, "Invalid config blocking attribute value %d", config.blocking);
  }
  if ((!undefined(config.minCTAs) && config.minCTAs <= 0) || (!undefined(config.maxCTAs) && config.maxCTAs <= 0) ||
      (config.minCTAs > config.maxCTAs)) {  // init.cc parseCommConfig: also where the greatest number is not set
    return refuse(misuse::bad_config, "Invalid config min/max channels attribute value %d/%d", config.minCTAs,
                  config.maxCTAs);
  }
  return ncclSuccess;
}

namespace {

ncclResult_t run_init(long_work& w) {
  if (const auto e = injected(w, *w.comm); e != ncclSuccess) {
    // It fails in the middle: the others know that it was there.
    communicator& c = *w.comm;
    ncclResult_t error = ncclSuccess;
    const auto world = segment::join(w.path, c.size, c.rank, physical_device(c.device), error, presence::failed);
    const std::lock_guard lock(c.mutex);
    c.shared = world;
    return e;
  }
  return join_world(*w.comm, *w.comm, w.path);
}

ncclResult_t init(ncclComm_t* result, int size, const ncclUniqueId& id, int rank, const ncclConfig_t* given, int device,
                  const std::optional<fault>& hit) {
  if (result == nullptr) return refuse(misuse::null_result_pointer, "CommInitRank : newcomm");
  *result = nullptr;
  if (size < 1 || rank < 0 || rank >= size) {
    return refuse(misuse::bad_rank, "Invalid rank requested : %d/%d", rank, size);
  }
  if (size > largest_world) {
    warn("the fake has at most %d ranks", largest_world);
    return ncclSystemError;
  }
  if (device_count() == 0) {
    warn("Cuda failure 'no CUDA-capable device is detected'");
    return ncclUnhandledCudaError;
  }
  ncclConfig_t config;
  if (const auto e = check_config(given, config); e != ncclSuccess) return e;
  id_text text;
  std::memcpy(&text, id.internal, sizeof text);
  if (std::memcmp(text.magic, id_magic, sizeof id_magic) != 0 || text.path[path_capacity - 1] != '\0') {
    return refuse(misuse::bad_id, "rank %d: not an id of ncclGetUniqueId", rank);
  }
  long_work w;
  w.comm = *result = new_communicator(size, rank, device, &config);
  w.init_result = result;
  w.hit = hit;
  w.run = &run_init;
  std::memcpy(w.path, text.path, sizeof w.path);
  return begin_long_work(w);
}

}  // namespace

ncclResult_t finish_long_work(long_work& w) {
  const auto e = w.run(w);
  if (e == ncclSuccess) {
    if (w.made != nullptr) *w.result = static_cast<ncclComm_t>(w.made);
    int busy = ncclInProgress;
    w.comm->async.compare_exchange_strong(busy, ncclSuccess);
    return e;
  }
  if (w.made != nullptr) discard(*w.made);
  if (w.comm->blocking) {
    if (w.init_result != nullptr) {
      *w.init_result = nullptr;
      discard(*w.comm);
    }
  } else {
    w.comm->fail(e);
    // It stays with its error until it is aborted; the other ranks need not wait for it.
    const auto world = w.comm->world();
    if (world && w.comm->state == life::making) world->end(w.comm->rank, presence::failed);
  }
  return e;
}

ncclResult_t begin_long_work(const long_work& work) {
  if (group_is_open()) {
    add_to_group(work);
    return ncclSuccess;
  }
  if (work.comm->blocking) {
    long_work w = work;
    return finish_long_work(w);
  }
  return start_in_background(work);
}

ncclResult_t start_in_background(const long_work& work) {
  int idle = ncclSuccess;
  work.comm->async.compare_exchange_strong(idle, ncclInProgress);
  const bool started = work.comm->job.start(
      [](void* argument) -> void* {
        auto* w = static_cast<long_work*>(argument);
        finish_long_work(*w);
        delete w;
        return nullptr;
      },
      new long_work(work));
  return started ? ncclInProgress : ncclSystemError;
}

}  // namespace fake

using namespace fake;

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const auto hit = enter(function::ncclGetUniqueId);
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (id == nullptr) return refuse(misuse::null_result_pointer, "GetUniqueId : out");
  const std::string path = segment::create();
  if (path.empty()) {
    warn("no shared segment can be made in %s", segment::folder().c_str());
    return ncclSystemError;
  }
  id_text text = {};
  std::memcpy(text.magic, id_magic, sizeof id_magic);
  std::memcpy(text.path, path.c_str(), path.size() + 1);
  std::memset(id->internal, 0, sizeof id->internal);
  std::memcpy(id->internal, &text, sizeof text);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  const auto hit = enter(function::ncclCommInitRankConfig, rank);
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  return group_result(init(comm, size, id, rank, config, current_device(), hit));
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  const auto hit = enter(function::ncclCommInitRank, rank);
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  return group_result(init(comm, size, id, rank, nullptr, current_device(), hit));
}

ncclResult_t ncclCommInitAll(ncclComm_t* comms, int total, const int* devices) {
  const auto hit = enter(function::ncclCommInitAll);
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (comms == nullptr) return refuse(misuse::null_result_pointer, "CommInitAll : comms");
  if (total < 1) return refuse(misuse::bad_rank, "Invalid device count requested : %d", total);
  for (int i = 0; i < total; ++i) {
    const int device = devices != nullptr ? devices[i] : i;
    if (device < 0 || device >= device_count()) {
      warn("CommInitAll : invalid device %d", device);
      return ncclUnhandledCudaError;
    }
  }
  ncclUniqueId id;
  if (const auto e = ncclGetUniqueId(&id); e != ncclSuccess) return e;
  open_group();
  for (int i = 0; i < total; ++i) {
    group_result(init(comms + i, total, id, i, nullptr, devices != nullptr ? devices[i] : i, std::nullopt));
  }
  return close_group();
}
