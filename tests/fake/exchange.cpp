// SPDX-License-Identifier: Apache-2.0
// What a launch does in its stream: collectives one after the other, then all its sends and receives at once.
//
// A collective goes in parts. For each one a rank puts its data in its stage, says what it calls, and waits for all;
// then it reads the stages. Two stages take turns, so that one wait a part is enough.
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "fake/communicator.hpp"
#include "fake/operation.hpp"

namespace fake {
namespace {

std::byte* at(void* base, std::size_t element, ncclDataType_t type) {
  return static_cast<std::byte*>(base) + element * size_of(type);
}
const std::byte* at(const void* base, std::size_t element, ncclDataType_t type) {
  return static_cast<const std::byte*>(base) + element * size_of(type);
}

// A kernel whose communicator is broken spins until ncclCommAbort sets its flag.
void hang_until_abort(communicator& c, segment& world) {
  while (!c.abort.load(std::memory_order_acquire)) world.wait(world.bell());
}

void describe(char* text, std::size_t capacity, const call_header& h) {
  const auto kind = static_cast<function>(h.kind);
  const bool reduces =
      kind == function::ncclAllReduce || kind == function::ncclReduceScatter || kind == function::ncclReduce;
  const bool rooted = kind == function::ncclBroadcast || kind == function::ncclReduce;
  std::size_t used = static_cast<std::size_t>(std::snprintf(text, capacity, "%s(count %llu, %s", name_of(kind).data(),
                                                            static_cast<unsigned long long>(h.count),
                                                            name_of(static_cast<ncclDataType_t>(h.type))));
  if (reduces && used < capacity) {
    used += static_cast<std::size_t>(
        std::snprintf(text + used, capacity - used, ", %s", name_of(static_cast<ncclRedOp_t>(h.op))));
  }
  if (rooted && used < capacity) {
    used += static_cast<std::size_t>(std::snprintf(text + used, capacity - used, ", root %d", h.root));
  }
  if (used < capacity)
    std::snprintf(text + used, capacity - used, ") as collective %llu", static_cast<unsigned long long>(h.sequence));
}

void disagree(communicator& c, segment& world, std::size_t turn) {
  char all[segment::text_capacity] = "";
  std::size_t used = 0;
  for (int r = 0; r < c.size; ++r) {
    char one[160];
    describe(one, sizeof one, world.slot(r).header[turn]);
    if (used + sizeof one < sizeof all) {
      used += static_cast<std::size_t>(
          std::snprintf(all + used, sizeof all - used, "%srank %d called %s", r == 0 ? "" : "; ", r, one));
    }
  }
  end_world(c, world, misuse::ranks_disagree, all);
}

// This rank's data is in its stage. True: all ranks' is, and they call the same.
bool meet(communicator& c, segment& world, const call_header& mine) {
  const auto turn = static_cast<std::size_t>(c.step & 1);
  rank_slot& slot = world.slot(c.rank);
  slot.header[turn] = mine;
  slot.arrived.store(c.step + 1, std::memory_order_release);
  world.ring();
  const auto next = c.step + 1;
  const auto how = wait_for_ranks(c, world, name_of(static_cast<function>(mine.kind)).data(),
                                  [&](int r) { return world.slot(r).arrived.load(std::memory_order_acquire) < next; });
  if (how != waited::ready) return false;
  for (int r = 0; r < c.size; ++r) {
    if (world.slot(r).header[turn] != mine) {
      disagree(c, world, turn);
      return false;
    }
  }
  return true;
}

// Puts `count` elements from `offset` on into this rank's stage.
void fill(const operation& o, const communicator& c, std::byte* stage, std::size_t offset, std::size_t count) {
  const std::size_t bytes = count * size_of(o.type);
  if (o.kind == function::ncclReduceScatter) {
    for (int r = 0; r < c.size; ++r) {
      const auto piece = static_cast<std::size_t>(r);
      std::memcpy(stage + piece * bytes, at(o.send, piece * o.count + offset, o.type), bytes);
    }
  } else if (o.kind != function::ncclBroadcast || c.rank == o.root) {
    std::memcpy(stage, at(o.send, offset, o.type), bytes);
  }
}

// Takes from all ranks' stages what goes to `offset` on.
void drain(const operation& o, const communicator& c, const segment& world, std::size_t offset, std::size_t count) {
  const std::size_t bytes = count * size_of(o.type);
  if (o.kind == function::ncclAllGather) {
    for (int r = 0; r < c.size; ++r) {
      std::memcpy(at(o.recv, static_cast<std::size_t>(r) * o.count + offset, o.type), world.stage(r, c.step), bytes);
    }
    return;
  }
  std::byte* to = at(o.recv, offset, o.type);
  if (o.kind == function::ncclBroadcast) {
    std::memcpy(to, world.stage(o.root, c.step), bytes);
    return;
  }
  if (o.kind == function::ncclReduce && c.rank != o.root) return;
  const std::size_t piece = o.kind == function::ncclReduceScatter ? static_cast<std::size_t>(c.rank) * bytes : 0;
  for (int r = 0; r < c.size; ++r) {
    const std::byte* from = world.stage(r, c.step) + piece;
    if (r == 0) {
      std::memcpy(to, from, bytes);
    } else {
      accumulate(o.type, o.op, to, from, count);
    }
  }
  if (o.op == ncclAvg) divide(o.type, to, count, c.size);
}

// What was injected. True: the operation goes on.
bool apply(const operation& o, communicator& c, segment& world) {
  if (!o.hit) return true;
  if (o.hit->what == fake_gpu::action::async_error) {
    warn("%s, rank %d: injected", name_of(o.kind).data(), c.rank);
    c.fail(static_cast<ncclResult_t>(o.hit->result));
    hang_until_abort(c, world);
    return false;
  }
  if (o.hit->what == fake_gpu::action::hang) {
    hang_until_abort(c, world);
    return false;
  }
  return true;
}

bool run_collective(const operation& o, communicator& c, segment& world) {
  if (!apply(o, c, world)) return false;
  const std::size_t size = size_of(o.type);
  const std::size_t pieces = o.kind == function::ncclReduceScatter ? static_cast<std::size_t>(c.size) : 1;
  const std::size_t largest = segment::stage_capacity / (size * pieces);
  call_header h;
  h.sequence = ++c.sequence;
  h.count = o.count;
  h.kind = static_cast<std::int32_t>(o.kind);
  h.type = o.type;
  h.op = o.reduces() ? o.op : 0;
  h.root = o.rooted() ? o.root : 0;
  for (std::size_t offset = 0; offset < o.count; offset += largest) {
    const std::size_t count = o.count - offset < largest ? o.count - offset : largest;
    fill(o, c, world.stage(c.rank, c.step), offset, count);
    // After it has entered, before the others can have its data.
    if (o.hit && o.hit->what == fake_gpu::action::kill_inside) kill(getpid(), SIGKILL);
    if (!meet(c, world, h)) {
      hang_until_abort(c, world);
      return false;
    }
    drain(o, c, world, offset, count);
    ++c.step;
    ++h.part;
  }
  return true;
}

// A send or receive under way.
struct transfer {
  const operation* what = nullptr;
  std::size_t moved = 0;
  bool begun = false, done = false;
};

// Moves what can be moved now; true where something was. `wrong`: the other side's size or type is another one.
bool move(transfer& t, communicator& c, segment& world, bool& wrong) {
  const operation& o = *t.what;
  const std::size_t total = o.count * size_of(o.type);
  bool moved = false;
  if (o.kind == function::ncclSend) {
    channel& to = world.between(c.rank, o.root);
    while (!t.done && to.written.load(std::memory_order_relaxed) - to.read.load(std::memory_order_acquire) < 2) {
      const auto turn = to.written.load(std::memory_order_relaxed);
      channel::part& part = to.parts[turn & 1];
      const std::size_t size = total - t.moved < channel::capacity ? total - t.moved : channel::capacity;
      part.total = total;
      part.type = o.type;
      part.size = size;
      if (size != 0) std::memcpy(part.bytes, static_cast<const std::byte*>(o.send) + t.moved, size);
      t.moved += size;
      t.done = t.moved == total;
      if (o.hit && o.hit->what == fake_gpu::action::kill_inside) kill(getpid(), SIGKILL);
      to.written.store(turn + 1, std::memory_order_release);
      moved = true;
    }
  } else {
    channel& from = world.between(o.root, c.rank);
    while (!t.done && from.written.load(std::memory_order_acquire) != from.read.load(std::memory_order_relaxed)) {
      const auto turn = from.read.load(std::memory_order_relaxed);
      const channel::part& part = from.parts[turn & 1];
      if (part.total != total || part.type != o.type) {
        char text[300];
        std::snprintf(text, sizeof text, "rank %d sends %llu bytes of %s to rank %d, which receives %zu of %s", o.root,
                      static_cast<unsigned long long>(part.total), name_of(static_cast<ncclDataType_t>(part.type)),
                      c.rank, total, name_of(o.type));
        end_world(c, world, misuse::peers_disagree, text);
        wrong = true;
        return false;
      }
      if (part.size != 0) std::memcpy(static_cast<std::byte*>(o.recv) + t.moved, part.bytes, part.size);
      t.moved += part.size;
      t.done = t.moved == total;
      from.read.store(turn + 1, std::memory_order_release);
      moved = true;
    }
  }
  return moved;
}

// All sends and receives of a launch make progress at once; those of one peer and direction in their order.
bool run_transfers(const launch& l, communicator& c, segment& world) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < l.total; ++i) total += l.operations[i].between_two() ? 1 : 0;
  if (total == 0) return true;
  auto* transfers = static_cast<transfer*>(std::calloc(total, sizeof(transfer)));
  if (transfers == nullptr) std::abort();
  std::size_t seen = 0;
  bool fine = true;
  for (std::size_t i = 0; i < l.total && fine; ++i) {
    if (!l.operations[i].between_two()) continue;
    transfers[seen++].what = l.operations + i;
    fine = apply(l.operations[i], c, world);
  }
  bool wrong = false;
  const auto progress = [&] {
    bool moved = false, left = false;
    bool busy[2][64] = {};
    for (std::size_t i = 0; i < total; ++i) {
      transfer& t = transfers[i];
      if (t.done) continue;
      left = true;
      bool& taken = busy[t.what->kind == function::ncclSend ? 0 : 1][t.what->root];
      if (taken) continue;
      moved = move(t, c, world, wrong) || moved;
      if (wrong) return true;
      taken = !t.done;
    }
    if (moved) world.ring();
    return !left;
  };
  const auto missing = [&](int r) {
    for (std::size_t i = 0; i < total; ++i) {
      if (!transfers[i].done && transfers[i].what->root == r) return true;
    }
    return false;
  };
  if (fine) fine = wait_until(c, world, "ncclSend/ncclRecv", progress, missing) == waited::ready && !wrong;
  if (!fine) hang_until_abort(c, world);
  std::free(transfers);
  return fine;
}

}  // namespace

void run_launch(const launch& l) {
  communicator& c = *l.comm;
  {
    const std::lock_guard running(c.running);
    const auto world = c.world();
    if (world && !c.abort.load(std::memory_order_acquire)) {
      bool fine = true;
      for (std::size_t i = 0; i < l.total && fine; ++i) {
        if (!l.operations[i].between_two()) fine = run_collective(l.operations[i], c, *world);
      }
      if (fine) run_transfers(l, c, *world);
    }
  }
  if (l.captured) return;
  const std::lock_guard lock(c.mutex);
  ++c.done;
  c.changed.notify_all();
}

}  // namespace fake
