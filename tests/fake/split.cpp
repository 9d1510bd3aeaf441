// SPDX-License-Identifier: Apache-2.0
// ncclCommSplit: who has which color and key is said in the old communicator's segment; the first of a color makes the
// new one's.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "fake/communicator.hpp"
#include "fake/group.hpp"

namespace fake {
namespace {

ncclResult_t run_split(long_work& w) {
  communicator& c = *w.comm;
  if (const auto e = injected(w, c); e != ncclSuccess) return e;
  const auto world = c.world();
  const auto turn = ++c.splits;
  const std::size_t entry = turn & 1;
  rank_slot& mine = world->slot(c.rank);
  mine.split[entry].color = w.color;
  mine.split[entry].key = w.key;
  mine.split_arrived.store(turn, std::memory_order_release);
  world->ring();
  const auto failed = [&](waited how) {
    return how == waited::failed ? static_cast<ncclResult_t>(c.async.load()) : ncclInternalError;
  };
  const auto all_said = wait_for_ranks(c, *world, "ncclCommSplit", [&](int r) {
    return world->slot(r).split_arrived.load(std::memory_order_acquire) < turn;
  });
  if (all_said != waited::ready) return failed(all_said);

  // The ranks of my color, in the order of (key, old rank).
  std::vector<int> members;
  for (int r = 0; r < c.size; ++r) {
    if (world->slot(r).split[entry].color == w.color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(),
                   [&](int a, int b) { return world->slot(a).split[entry].key < world->slot(b).split[entry].key; });
  rank_slot& leader = world->slot(members.front());
  if (w.color != NCCL_SPLIT_NOCOLOR && members.front() == c.rank) {
    std::snprintf(mine.split[entry].path, path_capacity, "%s", segment::create().c_str());
  }
  // Everybody says when it is done with this turn, so that the entry after next can be written.
  mine.split_path_arrived.store(turn, std::memory_order_release);
  world->ring();
  if (w.color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
  const auto path_said = wait_for_ranks(c, *world, "ncclCommSplit", [&](int r) {
    return r == members.front() && leader.split_path_arrived.load(std::memory_order_acquire) < turn;
  });
  if (path_said != waited::ready) return failed(path_said);
  char path[path_capacity];
  std::memcpy(path, leader.split[entry].path, sizeof path);

  w.made->rank = static_cast<int>(std::find(members.begin(), members.end(), c.rank) - members.begin());
  w.made->size = static_cast<int>(members.size());
  return join_world(*w.made, c, path);
}

}  // namespace
}  // namespace fake

using namespace fake;

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* result, ncclConfig_t* given) {
  const auto hit = enter(function::ncclCommSplit, rank_of(comm));
  if (hit && hit->what == fake_gpu::action::fail) return static_cast<ncclResult_t>(hit->result);
  if (const auto e = check_use(comm, function::ncclCommSplit); e != ncclSuccess) return group_result(e);
  if (result == nullptr) return refuse(misuse::null_result_pointer, "CommSplit : newcomm");
  if (comm->state == life::finalized) {
    return group_result(refuse(misuse::used_after_finalize, "ncclCommSplit, rank %d", comm->rank));
  }
  *result = nullptr;
  long_work w;
  w.comm = comm;
  w.result = result;
  w.color = color;
  w.key = key;
  w.hit = hit;
  w.run = &run_split;
  if (color != NCCL_SPLIT_NOCOLOR) {
    ncclConfig_t config;
    if (const auto e = check_config(given, config); e != ncclSuccess) return group_result(e);
    if (given == nullptr) config.blocking = comm->blocking ? 1 : 0;  // the old one's configuration, but not its name
    w.made = new_communicator(0, 0, comm->device, &config);
  }
  const auto begun = begin_long_work(w);
  // init.cc ncclCommInitChildComm gives what the group's end gave, which is ncclSuccess for a non-blocking one that has
  // only begun. Its own ncclCommGetAsyncError tells the truth, and *result stays null until then.
  return group_result(begun == ncclInProgress ? ncclSuccess : begun);
}
