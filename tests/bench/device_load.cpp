// SPDX-License-Identifier: Apache-2.0
// Loading a rank's shards into device memory, against cudaMemcpy of as many bytes out of pinned memory: what a loader
// could at most reach that had its weights in pinned memory, cut and cast, before it began.
//   bench_device_load [MiB a tensor] [tensors] [blocks]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "interleaved.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/cuda.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {

constexpr auto plan = sw::plan({{"layers.*.up", sw::colwise}, {"layers.*.down", sw::rowwise}});

struct model {
  model(std::size_t tensors, std::size_t mib) {
    for (std::size_t i = 0; i < tensors; ++i) {
      memory.emplace_back(mib << 20, static_cast<std::byte>(i + 1));
      names.push_back("layers." + std::to_string(i) + (i % 2 == 0 ? ".up.weight" : ".down.weight"));
      const sw::tensor_shape shape{mib * 128, 4096};  // bf16: 8 KiB a row
      source.add(names.back(), sw::tensor_view(memory.back().data(), sw::dtype::bf16, shape));
      tree.add(names.back(), sw::dtype::bf16, shape);
    }
  }
  std::vector<std::vector<std::byte>> memory;
  std::vector<std::string> names;
  sw::memory_source source;
  sw::tree tree;
};

void report(const char* what, std::size_t bytes, const bench::two_ways& t) {
  const bench::estimate ratio = bench::estimate_of(t.of_pairs([](double a, double b) { return b / a; }));
  const auto rate = [&](const std::vector<double>& s) { return static_cast<double>(bytes) / bench::median(s) / 1e9; };
  std::printf("%-40s %6.2f GB/s, pinned cudaMemcpy %6.2f GB/s, ratio %.3f [%.3f, %.3f]\n", what, rate(t.a), rate(t.b),
              ratio.middle, ratio.low, ratio.high);
}

int run(std::size_t mib, std::size_t tensors, std::size_t blocks) {
  const model m(tensors, mib);
  const sw::sharding s = sw::shard(plan, m.tree, {.tp = 2});
  std::vector<sw::cuda::device_memory> memory;
  for (std::size_t i = 0; i < s.size(); ++i) memory.emplace_back(s.bytes(i, 0));
  const auto weights = [&](const sw::sharded_parameter& p, const sw::tensor_shape& local) {
    return sw::tensor_view(memory[static_cast<std::size_t>(&p - s.begin())].data(), p.type, local);
  };
  const sw::cuda::pinned_memory pinned(s.bytes(0));
  std::memset(pinned.data(), 1, pinned.bytes());
  const sw::cuda::stream stream;
  cudaDeviceProp device{};
  sw::cuda::check(cudaGetDeviceProperties(&device, sw::cuda::current_device()), "cudaGetDeviceProperties");
  std::printf("%s; %zu tensors of bf16, %zu MiB each, rank 0 of 2; %zu pairs of blocks\n", device.name, tensors, mib,
              blocks);

  const auto copy = [&] {
    std::size_t at = 0;
    for (const auto& d : memory) {
      sw::cuda::check(cudaMemcpy(d.data(), pinned.data() + at, d.bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
      at += d.bytes();
    }
    sw::cuda::stream_ref().synchronize();
  };
  const auto nothing = [] {};
  for (const std::size_t threads : {1u, 4u, 8u, 16u}) {
    for (const std::size_t buffer : {4u, 8u, 32u}) {
      sw::cuda::staging staging(stream, {.buffer_bytes = buffer << 20, .threads = threads});
      if (staging.threads() != threads) continue;  // this machine has fewer
      const std::string what =
          "kept staging, " + std::to_string(threads) + " threads, 2 x " + std::to_string(buffer) + " MiB";
      report(what.c_str(), s.bytes(0),
             bench::interleaved(
                 blocks, [&] { sw::load(s, 0, m.source, weights, staging); }, copy, nothing));
    }
  }
  report("load(..., stream)", s.bytes(0),
         bench::interleaved(
             blocks, [&] { sw::load(s, 0, m.source, weights, stream); }, copy, nothing));
  return 0;
}

std::size_t argument(int argc, char** argv, int i, std::size_t otherwise) {
  return i < argc ? std::strtoull(argv[i], nullptr, 10) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  if (sw::cuda::device_count() == 0) {
    std::puts("SKIP: no CUDA device");
    return 0;
  }
  try {
    return run(argument(argc, argv, 1, 128), argument(argc, argv, 2, 32), argument(argc, argv, 3, 15));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
