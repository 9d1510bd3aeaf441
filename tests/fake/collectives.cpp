// SPDX-License-Identifier: Apache-2.0
// The operations as NCCL's functions: their checks, and the way to a stream.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "fake/communicator.hpp"
#include "fake/group.hpp"
#include "fake/memory.hpp"
#include "fake/operation.hpp"

namespace fake {

const char* name_of(ncclDataType_t type) {
  constexpr const char* names[] = {"ncclInt8",    "ncclUint8",    "ncclInt32",      "ncclUint32",
                                   "ncclInt64",   "ncclUint64",   "ncclFloat16",    "ncclFloat32",
                                   "ncclFloat64", "ncclBfloat16", "ncclFloat8e4m3", "ncclFloat8e5m2"};
  return type >= 0 && type < ncclNumTypes ? names[type] : "?";
}
const char* name_of(ncclRedOp_t op) {
  constexpr const char* names[] = {"ncclSum", "ncclProd", "ncclMax", "ncclMin", "ncclAvg"};
  return op >= 0 && op < ncclNumOps ? names[op] : "?";
}

namespace {

// What an operation reads and writes on this rank, in elements; 0 where it does not look at the buffer.
struct extents {
  std::size_t send = 0, recv = 0;
};
extents extents_of(const operation& o, const communicator& c) {
  const auto n = static_cast<std::size_t>(c.size);
  switch (o.kind) {
    case function::ncclAllReduce: return {o.count, o.count};
    case function::ncclAllGather: return {o.count, n * o.count};
    case function::ncclReduceScatter: return {n * o.count, o.count};
    case function::ncclBroadcast: return {c.rank == o.root ? o.count : 0, o.count};
    case function::ncclReduce: return {o.count, c.rank == o.root ? o.count : 0};
    case function::ncclSend: return {o.count, 0};
    case function::ncclRecv: return {0, o.count};
    default: return {};
  }
}

ncclResult_t check_buffer(const operation& o, const communicator& c, const char* which, const void* at,
                          std::size_t count) {
  if (count == 0) return ncclSuccess;
  const char* called = name_of(o.kind).data();
  if (at == nullptr) return refuse(misuse::null_buffer, "%s : %s is NULL, count %zu", called, which, count);
  const auto b = find_block(at);
  if (!b) return refuse(misuse::host_pointer, "%s : %s %p is not a valid pointer", called, which, at);
  if (!b->pinned && b->device != c.device) {
    return refuse(misuse::pointer_of_other_device, "%s : %s allocated on device %d mismatchs with NCCL device %d",
                  called, which, b->device, c.device);
  }
  if (b->rest(at) < count * size_of(o.type)) {
    return refuse(misuse::past_the_allocation, "%s : %s has %zu bytes, %zu are asked for", called, which, b->rest(at),
                  count * size_of(o.type));
  }
  return ncclSuccess;
}

// Buffers may be the same where nccl.h says so, and must not touch each other otherwise.
bool overlaps(const operation& o, const communicator& c, extents e) {
  if (e.send == 0 || e.recv == 0 || o.between_two()) return false;
  const auto size = size_of(o.type);
  const auto* send = static_cast<const std::byte*>(o.send);
  const auto* recv = static_cast<const std::byte*>(o.recv);
  const auto offset = static_cast<std::size_t>(c.rank) * o.count * size;
  if (o.kind == function::ncclAllGather && send == recv + offset) return false;
  if (o.kind == function::ncclReduceScatter && recv == send + offset) return false;
  const bool same_allowed = o.kind != function::ncclAllGather && o.kind != function::ncclReduceScatter;
  if (same_allowed && send == recv) return false;
  return send < recv + e.recv * size && recv < send + e.send * size;
}

}  // namespace

ncclResult_t check_operation(const operation& o, communicator& c) {
  const char* called = name_of(o.kind).data();
  if (c.state == life::finalized) return refuse(misuse::used_after_finalize, "%s, rank %d", called, c.rank);
  if (o.root < 0 || o.root >= c.size) {
    return refuse(o.between_two() ? misuse::bad_peer : misuse::bad_root,
                  "%s : invalid root %d (root should be in the 0..%d range)", called, o.root, c.size);
  }
  if (o.type < 0 || o.type >= ncclNumTypes) {
    return refuse(misuse::bad_type, "%s : invalid type %d", called, static_cast<int>(o.type));
  }
  if (o.reduces() && (o.op < 0 || o.op >= ncclNumOps)) {
    return refuse(misuse::bad_op, "%s : invalid reduction operation %d", called, static_cast<int>(o.op));
  }
  if (o.reduces() && (o.type == ncclFloat8e4m3 || o.type == ncclFloat8e5m2)) {
    return refuse(misuse::float8_sum, "%s of %s", called, name_of(o.type));
  }
  const auto e = extents_of(o, c);
  if (const auto bad = check_buffer(o, c, "sendbuff", o.send, e.send); bad != ncclSuccess) return bad;
  if (const auto bad = check_buffer(o, c, "recvbuff", o.recv, e.recv); bad != ncclSuccess) return bad;
  const auto s = find_stream(o.stream, c.device);
  if (!s) return refuse(misuse::dead_stream, "%s, rank %d", called, c.rank);
  if (s->device != c.device) {
    return refuse(misuse::stream_of_other_device, "%s, rank %d: stream of device %d, communicator of device %d", called,
                  c.rank, s->device, c.device);
  }
  if (overlaps(o, c, e)) {
    char text[200];
    std::snprintf(text, sizeof text, "%s, rank %d: send %p, recv %p, count %zu of %s", called, c.rank, o.send,
                  static_cast<const void*>(o.recv), o.count, name_of(o.type));
    if (const auto world = c.world()) return end_world(c, *world, misuse::overlap, text);
    return refuse(misuse::overlap, "%s", text);
  }
  return ncclSuccess;
}

ncclResult_t submit(operation o) {
  if (null_mode.load(std::memory_order_relaxed) && o.comm != nullptr && o.comm->size == 1) {
    count_call(o.kind);
    return ncclSuccess;
  }
  const auto hit = enter(o.kind, any_faults ? rank_of(o.comm) : -1);
  if (hit && hit->what == fake_gpu::action::fail) return group_result(static_cast<ncclResult_t>(hit->result));
  o.hit = hit;
  if (const auto e = check_use(o.comm, o.kind); e != ncclSuccess) return group_result(e);
  if (const auto e = check_operation(o, *o.comm); e != ncclSuccess) return group_result(e);
  if (o.count == 0 && !o.between_two()) return ncclSuccess;  // enqueue.cc: empty collectives are discarded
  const auto i = static_cast<std::size_t>(o.kind);
  counts().operations[i].fetch_add(1, std::memory_order_relaxed);
  counts().bytes[i].fetch_add(o.count * size_of(o.type), std::memory_order_relaxed);
  if (group_is_open()) {
    add_to_group(o);
    return ncclSuccess;
  }
  return launch_all(&o, 1);
}

launch* launch::make(communicator& c, const operation* all, std::size_t total) {
  std::size_t ours = 0;
  for (std::size_t i = 0; i < total; ++i) ours += all[i].comm == &c ? 1 : 0;
  void* at = std::malloc(sizeof(launch) + ours * sizeof(operation));
  if (at == nullptr) std::abort();
  auto* l = new (at) launch;
  l->comm = &c;
  l->operations = reinterpret_cast<operation*>(l + 1);
  for (std::size_t i = 0; i < total; ++i) {
    if (all[i].comm == &c) new (l->operations + l->total++) operation(all[i]);
  }
  return l;
}

void launch::release(void* held) {
  auto* l = static_cast<launch*>(held);
  if (l->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (l->captured) --l->comm->graphs;
  l->~launch();
  std::free(held);
}

ncclResult_t start_launch(launch* l) {
  // The stream may be done with it before this function is.
  l->references.fetch_add(1, std::memory_order_relaxed);
  const std::unique_ptr<launch, decltype(&launch::release)> kept(l, &launch::release);
  communicator& c = *l->comm;
  const auto first = find_stream(l->operations[0].stream, c.device);
  if (!first) {
    launch::release(l);
    return refuse(misuse::dead_stream, "rank %d", c.rank);
  }
  const auto other_streams = [&](const auto& f) {
    for (std::size_t i = 1; i < l->total; ++i) {
      const auto s = find_stream(l->operations[i].stream, c.device);
      if (s && s != first) f(*s);
    }
  };
  counts().launches.fetch_add(1, std::memory_order_relaxed);
  const task t = task::of(node_kind::kernel, [l] { run_launch(*l); }).holding(l, &launch::release);
  if (graph* g = first->capturing()) {
    bool all_captured = true;
    other_streams([&](stream& s) { all_captured = all_captured && s.capturing() == g; });
    if (!all_captured) {
      // enqueue.cc: 'Streams given to a communicator within a NCCL group must either be all uncaptured or all captured'
      warn("streams of one group must all be captured by the same graph or none");
      launch::release(l);
      return ncclInvalidUsage;
    }
    l->captured = true;
    ++c.graphs;
    return first->post(t) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
  }
  std::shared_ptr<stream> before;
  {
    const std::lock_guard lock(c.mutex);
    before = std::exchange(c.last, first);
    ++c.posted;
  }
  // Launches of one communicator follow each other, on whatever streams they are.
  if (before && before != first && !before->idle()) order_after(*first, *before);
  other_streams([&](stream& s) { order_after(*first, s); });
  first->post(t);
  other_streams([&](stream& s) { order_after(s, *first); });
  return ncclSuccess;
}

}  // namespace fake

using namespace fake;

ncclResult_t ncclAllReduce(const void* send, void* recv, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  return submit({function::ncclAllReduce, send, recv, count, type, op, 0, comm, stream});
}

ncclResult_t ncclAllGather(const void* send, void* recv, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return submit({function::ncclAllGather, send, recv, count, type, ncclSum, 0, comm, stream});
}

ncclResult_t ncclReduceScatter(const void* send, void* recv, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  return submit({function::ncclReduceScatter, send, recv, count, type, op, 0, comm, stream});
}

ncclResult_t ncclBroadcast(const void* send, void* recv, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return submit({function::ncclBroadcast, send, recv, count, type, ncclSum, root, comm, stream});
}

ncclResult_t ncclReduce(const void* send, void* recv, std::size_t count, ncclDataType_t type, ncclRedOp_t op, int root,
                        ncclComm_t comm, cudaStream_t stream) {
  return submit({function::ncclReduce, send, recv, count, type, op, root, comm, stream});
}

ncclResult_t ncclSend(const void* send, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return submit({function::ncclSend, send, nullptr, count, type, ncclSum, peer, comm, stream});
}

ncclResult_t ncclRecv(void* recv, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return submit({function::ncclRecv, nullptr, recv, count, type, ncclSum, peer, comm, stream});
}
