// SPDX-License-Identifier: Apache-2.0
// One rank of a test of the fake as a process: rank_program WHAT FILE, where FILE passes the unique id on.
#include <unistd.h>
#include <cstdlib>

#include "fake/fake_gpu.hpp"
#include "fake/tests/bodies.hpp"

namespace {

bool exchange(ncclUniqueId& id, int rank, const std::string& path) {
  if (rank == 0) {
    if (ncclGetUniqueId(&id) != ncclSuccess) return false;
    std::FILE* f = std::fopen((path + ".new").c_str(), "wbe");
    const bool written = f != nullptr && std::fwrite(&id, sizeof id, 1, f) == 1;
    return f != nullptr && std::fclose(f) == 0 && written && std::rename((path + ".new").c_str(), path.c_str()) == 0;
  }
  for (;;) {
    if (std::FILE* f = std::fopen(path.c_str(), "rbe")) {
      const bool whole = std::fread(&id, sizeof id, 1, f) == 1;
      std::fclose(f);
      return whole;
    }
    usleep(1000);
  }
}

// Until the operation is done or the communicator has an error.
ncclResult_t outcome_of(const bodies::rank_of_world& w) {
  for (;;) {
    ncclResult_t async = ncclSuccess;
    if (ncclCommGetAsyncError(w.comm, &async) != ncclSuccess || async != ncclSuccess) return async;
    if (cudaStreamQuery(w.stream) == cudaSuccess) return ncclSuccess;
    usleep(500);
  }
}

// A rank dies in the middle of a collective, or just does not call it and is gone: the others learn it, and go on.
int survive(bodies::rank_of_world& w, bool leaves) {
  const bodies::buffer data(ncclFloat32, 100'000, 0, [](std::size_t) { return 1.0; });
  const auto all_reduce = [&] {
    return ncclAllReduce(data.at(), data.at(), 100'000, ncclFloat32, ncclSum, w.comm, w.stream);
  };
  if (all_reduce() != ncclSuccess || outcome_of(w) != ncclSuccess) return 3;
  if (leaves && w.rank == 1) _exit(0);
  if (all_reduce() != ncclSuccess) return 4;  // rank 1 is killed in it by FAKE_GPU_INJECT
  if (const auto e = outcome_of(w); e != ncclRemoteError) return 10 + static_cast<int>(e);
  std::printf("last error: %s\n", ncclGetLastError(w.comm));
  return ncclCommAbort(w.comm) == ncclSuccess && cudaStreamSynchronize(w.stream) == cudaSuccess &&
                 cudaStreamDestroy(w.stream) == cudaSuccess
             ? 0
             : 5;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string what = argv[1];
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) {
    std::printf("SKIP: no CUDA device\n");
    return 0;
  }
  bodies::rank_of_world w;
  w.rank = std::atoi(std::getenv("RANK"));
  w.size = std::atoi(std::getenv("WORLD_SIZE"));
  ncclUniqueId id;
  if (cudaSetDevice(std::atoi(std::getenv("LOCAL_RANK"))) != cudaSuccess || !exchange(id, w.rank, argv[2])) return 2;
  if (!bodies::join(w, id, what != "collectives-nonblocking")) {
    std::printf("init: %s\n", ncclGetLastError(nullptr));
    return 9;
  }
  if (what == "survive" || what == "leave") return survive(w, what == "leave");
  const int wrong = bodies::wrong_of_all(w);
  if (!bodies::leave(w)) return 6;
  std::printf("%d wrong\n", wrong);
  if (!(fake_gpu::live() == fake_gpu::live_objects{})) return 7;
  return wrong == 0 ? 0 : 1;
}
