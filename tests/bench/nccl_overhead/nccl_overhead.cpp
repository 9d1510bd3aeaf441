// SPDX-License-Identifier: Apache-2.0
// Each collective called by hand and through shardwise, on the fake, whose own work is switched off: what callgrind
// counts in `raw_...` and `our_...` differs by what shardwise adds. Allocations are counted here. What it costs NCCL to
// start a thread for each call on a communicator of several ranks that is not blocking is not in here.
//
// Prints one line a collective: NAME CALLS NCCL_CALLS ALLOCATIONS. nccl_overhead.sh makes a table of it.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <span>

#include "fake/fake_gpu.hpp"
#include "shardwise/cuda.hpp"
#include "shardwise/nccl.hpp"

namespace {
bool counting = false;
std::size_t allocations = 0;
void* allocated(std::size_t bytes) {
  if (counting) ++allocations;
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  std::abort();
}
}  // namespace

void* operator new(std::size_t bytes) { return allocated(bytes); }
void* operator new[](std::size_t bytes) { return allocated(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocated(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace sw = shardwise;
using comm_type = sw::nccl::communicator;

namespace {

constexpr int calls = 1000, rows = 16;

// What both sides are given. Read through a volatile pointer, so that nothing about it is known when it is compiled but
// the type, which an engine knows, too.
struct arguments {
  ncclComm_t handle;
  comm_type* comm;
  float* x;
  std::size_t count;
  std::size_t rows;
  cudaStream_t stream;
  std::span<const std::size_t> counts;
};

void must(ncclResult_t result) {
  if (result != ncclSuccess) std::abort();
}

}  // namespace

// Every loop is a function of its own name, which is what callgrind tells apart.
#define BOTH(name, raw_call, our_call)                               \
  extern "C" [[gnu::noinline]] void raw_##name(const arguments& a) { \
    for (int i = 0; i < calls; ++i) raw_call;                        \
  }                                                                  \
  extern "C" [[gnu::noinline]] void our_##name(const arguments& a) { \
    for (int i = 0; i < calls; ++i) our_call;                        \
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmissing-declarations"
#endif

BOTH(all_reduce, must(ncclAllReduce(a.x, a.x, a.count, ncclFloat32, ncclSum, a.handle, a.stream)),
     a.comm->all_reduce(a.x, a.x, a.count, sw::dtype::f32, sw::reduction::sum, a.stream))
BOTH(all_gather, must(ncclAllGather(a.x, a.x, a.count, ncclFloat32, a.handle, a.stream)),
     a.comm->all_gather(a.x, a.x, a.count, sw::dtype::f32, a.stream))
BOTH(reduce_scatter, must(ncclReduceScatter(a.x, a.x, a.count, ncclFloat32, ncclSum, a.handle, a.stream)),
     a.comm->reduce_scatter(a.x, a.x, a.count, sw::dtype::f32, sw::reduction::sum, a.stream))
BOTH(broadcast, must(ncclBroadcast(a.x, a.x, a.count, ncclFloat32, 0, a.handle, a.stream)),
     a.comm->broadcast(a.x, a.count, sw::dtype::f32, 0, a.stream))
// By hand, too, somebody has to look whether all ranks have as many columns.
static bool equal(std::span<const std::size_t> columns) {
  for (const std::size_t c : columns) {
    if (c != columns[0]) return false;
  }
  return true;
}
BOTH(
    gather_one_row,
    {
      if (!equal(a.counts)) std::abort();
      must(ncclAllGather(a.x, a.x, a.counts[0], ncclFloat32, a.handle, a.stream));
    },
    a.comm->gather_last_dim(a.x, a.count, a.x, a.count, 1, a.counts, sw::dtype::f32, a.stream))
BOTH(
    gather_rows,
    {
      if (!equal(a.counts)) std::abort();
      must(ncclGroupStart());
      for (std::size_t row = 0; row < a.rows; ++row) {
        float* to = a.x + row * a.count;
        must(ncclAllGather(to, to, a.counts[0], ncclFloat32, a.handle, a.stream));
      }
      must(ncclGroupEnd());
    },
    a.comm->gather_last_dim(a.x, a.count, a.x, a.count, a.rows, a.counts, sw::dtype::f32, a.stream))
BOTH(
    all_to_all,
    {
      must(ncclGroupStart());
      const float* from = a.x;
      float* to = a.x + a.count;
      for (std::size_t peer = 0; peer < a.counts.size(); ++peer) {
        const std::size_t n = a.counts[peer];
        if (n == 0) continue;
        must(ncclSend(from, n, ncclFloat32, static_cast<int>(peer), a.handle, a.stream));
        must(ncclRecv(to, n, ncclFloat32, static_cast<int>(peer), a.handle, a.stream));
        from += n;
        to += n;
      }
      must(ncclGroupEnd());
    },
    a.comm->all_to_all(a.x, a.counts, a.x + a.count, a.counts, sw::dtype::f32, a.stream))

int main() {
  ncclUniqueId id{};
  must(ncclGetUniqueId(&id));
  comm_type comm = comm_type::create(id, 1, 0, {.name = "bench"});
  const sw::cuda::stream stream;
  const sw::cuda::device_memory memory(4096);
  static constexpr std::size_t counts[] = {16};
  const arguments a{comm.native_handle(), &comm, static_cast<float*>(memory.data()), 16, rows, stream, counts};
  fake_gpu::null_collectives(true);
  const struct {
    const char* name;
    int nccl_calls;  // that one call makes
    void (*raw)(const arguments&);
    void (*ours)(const arguments&);
  } all[] = {{"all_reduce", 1, raw_all_reduce, our_all_reduce},
             {"all_gather", 1, raw_all_gather, our_all_gather},
             {"reduce_scatter", 1, raw_reduce_scatter, our_reduce_scatter},
             {"broadcast", 1, raw_broadcast, our_broadcast},
             {"gather_one_row", 1, raw_gather_one_row, our_gather_one_row},
             {"gather_rows", 2 + rows, raw_gather_rows, our_gather_rows},
             {"all_to_all", 4, raw_all_to_all, our_all_to_all}};
  for (const auto& c : all) {
    c.raw(a);
    allocations = 0;
    counting = true;
    c.ours(a);
    counting = false;
    std::printf("%s %d %d %zu\n", c.name, calls, c.nccl_calls, allocations);
  }
  fake_gpu::null_collectives(false);
  return 0;
}
