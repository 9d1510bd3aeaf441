// SPDX-License-Identifier: Apache-2.0
// What a collective costs the host more through shardwise than by NCCL's own function, on a communicator of one rank,
// for which NCCL does the least that it ever does. With several ranks a communicator that is not blocking costs more:
// NCCL starts a thread for each call, and the call waits for it. That is not in here.
//   bench_nccl_one_rank [calls a block] [blocks]
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "interleaved.hpp"
#include "shardwise/comm/tcp_rendezvous.hpp"
#include "shardwise/nccl.hpp"

namespace sw = shardwise;

namespace {

void require(ncclResult_t r) {
  if (r != ncclSuccess) throw sw::error("NCCL: ", ncclGetErrorString(r));
}

template <class Ours, class Raw>
void compare(const char* what, std::size_t calls, std::size_t blocks, sw::cuda::stream_ref stream, const Ours& ours,
             const Raw& raw) {
  const auto times = bench::interleaved(
      blocks,
      [&] {
        for (std::size_t i = 0; i < calls; ++i) ours();
      },
      [&] {
        for (std::size_t i = 0; i < calls; ++i) raw();
      },
      [&] { stream.synchronize(); });
  const double scale = 1e9 / static_cast<double>(calls);
  const bench::estimate more = bench::estimate_of(times.of_pairs([&](double a, double b) { return (a - b) * scale; }));
  std::printf("%-34s ours %8.1f ns, NCCL's own %8.1f ns, more: %+.1f ns [%+.1f, %+.1f]\n", what,
              bench::median(times.a) * scale, bench::median(times.b) * scale, more.middle, more.low, more.high);
}

int run(std::size_t calls, std::size_t blocks) {
  sw::tcp_rendezvous alone({.rank = 0, .size = 1});
  auto comm = sw::nccl::communicator::create(alone);
  const ncclComm_t handle = comm.native_handle();
  const sw::cuda::stream stream;
  constexpr std::size_t count = 1024;
  const sw::cuda::device_memory in(count * 4), out(count * 4);
  cudaDeviceProp device{};
  sw::cuda::check(cudaGetDeviceProperties(&device, comm.device()), "cudaGetDeviceProperties");
  int version = 0;
  require(ncclGetVersion(&version));
  std::printf("%s; NCCL %d (header %d), one process, one rank, no graph; %zu calls a block, %zu pairs of blocks\n",
              device.name, version, NCCL_VERSION_CODE, calls, blocks);

  compare(
      "all_reduce of 1024 F32", calls, blocks, stream,
      [&] { comm.all_reduce(in.data(), out.data(), count, sw::dtype::f32, sw::reduction::sum, stream.get()); },
      [&] { require(ncclAllReduce(in.data(), out.data(), count, ncclFloat32, ncclSum, handle, stream)); });
  compare(
      "all_gather of 1024 F32", calls, blocks, stream,
      [&] { comm.all_gather(in.data(), out.data(), count, sw::dtype::f32, stream.get()); },
      [&] { require(ncclAllGather(in.data(), out.data(), count, ncclFloat32, handle, stream)); });
  const std::size_t columns[] = {count};
  compare(
      "gather_last_dim of 1 x 1024 F32", calls, blocks, stream,
      [&] { comm.gather_last_dim(in.data(), count, out.data(), count, 1, columns, sw::dtype::f32, stream.get()); },
      [&] { require(ncclAllGather(in.data(), out.data(), count, ncclFloat32, handle, stream)); });
  const std::size_t narrow[] = {count / 16};
  compare(
      "gather_last_dim of 16 x 64 F32", calls / 8 + 1, blocks, stream,
      [&] {
        comm.gather_last_dim(in.data(), count / 16, out.data(), count / 16, 16, narrow, sw::dtype::f32, stream.get());
      },
      [&] {
        require(ncclGroupStart());
        for (std::size_t row = 0; row < 16; ++row) {
          const std::size_t at = row * count / 16 * 4;
          require(ncclAllGather(static_cast<std::byte*>(in.data()) + at, static_cast<std::byte*>(out.data()) + at,
                                count / 16, ncclFloat32, handle, stream));
        }
        require(ncclGroupEnd());
      });
  comm.close();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (sw::cuda::device_count() == 0) {
    std::puts("SKIP: no CUDA device");
    return 0;
  }
  try {
    return run(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 500,
               argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 41);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
