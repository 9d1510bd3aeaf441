// SPDX-License-Identifier: Apache-2.0
// What a device load asks of CUDA, as the fake counts it; what it leaves behind; and what it says when CUDA fails.
#include <cstring>
#include <string>
#include <vector>

#include "device_tensors.hpp"
#include "fake/fake_gpu.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/cuda/load.hpp"
#include "shardwise/cuda/permute.hpp"
#include "shardwise/shard/shard.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;

namespace {

/// Whole tensors of f32, [64, 16] each.
struct matrices {
  explicit matrices(std::size_t n) : values(n * 1024) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    for (std::size_t i = 0; i < n; ++i) names.push_back("norm." + std::to_string(i));
    for (std::size_t i = 0; i < n; ++i) {
      source.add(names[i], tensor_view(values.data() + i * 1024, dtype::f32, {64, 16}));
      tree.add(names[i], dtype::f32, {64, 16});
    }
  }
  sw::sharding whole() const { return sw::shard(sw::plan({{"norm", sw::replicate}}), tree); }
  std::vector<float> values;
  std::vector<std::string> names;
  sw::memory_source source;
  sw::tree tree;
};

struct copies {
  std::uint64_t plain, strided;
  bool operator==(const copies&) const = default;
};
std::ostream& operator<<(std::ostream& out, const copies& c) { return out << c.plain << '+' << c.strided; }

/// The copies of a load into tensors with these strides. Nothing else is counted: nothing waits, nothing is allocated.
copies copies_of(const matrices& model, std::size_t row_stride, std::size_t column_stride,
                 const sw::cuda::staging_options& options) {
  const sw::sharding s = model.whole();
  both_engines engines;
  for (const auto& p : s) {
    tensor_place place = dense({64, 16}, dtype::f32);
    place.view.strides[0] = row_stride;
    place.view.strides[1] = column_stride;
    place.allocated = (63 * row_stride + 15 * column_stride + 1) * 4;
    engines.add(p, place);
  }
  sw::load(s, 0, model.source, engines.host());
  const sw::cuda::stream stream;
  sw::cuda::staging staging(stream, options);
  fake_gpu::reset_counts();
  sw::load(s, 0, model.source, engines.device(), staging);
  // The bytes are there, before anything else waits: on the fake the host can look.
  if (row_stride == 16 && column_stride == 1) {
    for (const auto& p : s) CHECK(std::memcmp(engines.on_device(p).data, engines.on_host(p).data, 4096) == 0);
  }
  const fake_gpu::totals done = fake_gpu::counted();
  CHECK(fake_gpu::calls("cudaDeviceSynchronize") == 0);
  CHECK(fake_gpu::calls("cudaStreamSynchronize") == 0);
  CHECK(done.device_allocations + done.pinned_allocations == 0);
  CHECK(done.pageable_copies == 0);
  CHECK(done.findings == 0);
  const copies n{fake_gpu::calls("cudaMemcpyAsync"), fake_gpu::calls("cudaMemcpy2DAsync")};
  CHECK(engines.differing().empty());
  return n;
}

/// That a load of one matrix fails with these words, that it read this many bytes, and that nothing is left behind.
template <class Error>
void fails(const std::string& words, std::size_t bytes_read) {
  const matrices model(1);
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  const auto before = fake_gpu::live();
  const auto load = [&] {
    sw::cuda::staging staging(stream, {.buffer_bytes = 1024});
    sw::load(s, 0, model.source, engines.device(), staging);
  };
  CHECK_THROWS_MATCHES(load(), Error, says(words));
  fake_gpu::clear_injections();
  CHECK(model.source.bytes_read() == bytes_read);
  CHECK(fake_gpu::live() == before);
  if (bytes_read == 0) CHECK(engines.differing().empty());
}

}  // namespace

TEST_CASE("a device load makes as few copies as strides and buffers allow, and nothing waits for the device") {
  const matrices one(1), ten(10);
  // 4096 bytes through buffers of 256, and through one that holds all.
  CHECK(copies_of(one, 16, 1, {.buffer_bytes = 256}) == copies{16, 0});
  CHECK(copies_of(one, 16, 1, {.buffer_bytes = 4096}) == copies{1, 0});
  CHECK(copies_of(one, 16, 1, {}) == copies{1, 0});
  // Rows of 64 bytes with a gap after each; 100 bytes hold one of them, and 40 not even that.
  CHECK(copies_of(one, 20, 1, {.buffer_bytes = 256}) == copies{0, 16});
  CHECK(copies_of(one, 20, 1, {}) == copies{0, 1});
  CHECK(copies_of(one, 20, 1, {.buffer_bytes = 100}) == copies{64, 0});
  CHECK(copies_of(one, 20, 1, {.buffer_bytes = 40}) == copies{128, 0});
  // Column-major, as Eigen's matrices are: the transposing is the host's.
  CHECK(copies_of(one, 1, 64, {}) == copies{1, 0});
  CHECK(copies_of(one, 1, 70, {}) == copies{0, 1});
  // A gap after each element.
  CHECK(copies_of(one, 32, 2, {}) == copies{0, 1});
  // Small tensors share a buffer; one that no longer fits begins in what is left.
  CHECK(copies_of(ten, 16, 1, {}) == copies{10, 0});
  CHECK(copies_of(ten, 16, 1, {.buffer_bytes = 6144}) == copies{13, 0});
}

TEST_CASE("a kept staging allocates its buffers once, and gives all back") {
  const auto before = fake_gpu::live();
  {
    const matrices model(3);
    const sw::sharding s = model.whole();
    const sw::cuda::stream stream;
    both_engines engines;
    for (const auto& p : s) engines.add(p, dense({64, 16}, dtype::f32));
    fake_gpu::reset_counts();
    sw::cuda::staging staging(stream, {.buffer_bytes = 1000, .buffers = 3});
    CHECK(fake_gpu::counted().pinned_allocations == 3);
    for (int i = 0; i < 5; ++i) sw::load(s, 0, model.source, engines.device(), staging);
    sw::load(s, 0, model.source, engines.device(), stream);
    CHECK(fake_gpu::counted().pinned_allocations == 3 + 2);
    CHECK(fake_gpu::counted().device_allocations == 0);
  }
  CHECK(fake_gpu::live() == before);
}

TEST_CASE("a call of CUDA that fails ends a load with its name, and nothing is left behind") {
  fake_gpu::inject({.function = "cudaHostAlloc", .nth = 2, .result = cudaErrorMemoryAllocation});
  fails<sw::cuda::error>("cudaHostAlloc of 1024 bytes", 0);
  fake_gpu::inject({.function = "cudaEventCreateWithFlags", .result = cudaErrorMemoryAllocation});
  fails<sw::cuda::error>("cudaEventCreateWithFlags", 0);
  fake_gpu::inject({.function = "cudaEventRecord", .result = cudaErrorInvalidResourceHandle});
  fails<sw::cuda::error>("cudaEventRecord", 0);
  fake_gpu::inject({.function = "cudaPointerGetAttributes", .result = cudaErrorInvalidValue});
  fails<sw::cuda::error>("cudaPointerGetAttributes", 0);
  fake_gpu::inject({.function = "cudaMemcpyAsync", .nth = 3, .result = cudaErrorUnknown});
  fails<sw::cuda::error>("cudaMemcpyAsync of 1024 bytes", 3072);
  fake_gpu::inject({.function = "cudaEventQuery", .nth = 1, .result = cudaErrorUnknown});
  fails<sw::cuda::error>("cudaEventQuery", 1024);
}

TEST_CASE("a device load refuses another device's tensor, stream and staging before a byte is read") {
  const matrices model(1);
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines, elsewhere;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  {
    const sw::cuda::device_guard on(1);
    elsewhere.add(s[0], dense({64, 16}, dtype::f32));
  }
  sw::cuda::staging staging(stream);
  CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, elsewhere.device(), staging), sw::checkpoint_error,
                       says("the engine's tensor for 'norm.0' is on device 1, and device 0 is current; nothing was "
                            "loaded: call cudaSetDevice(1) first"));
  {
    const sw::cuda::device_guard on(1);
    CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, engines.device(), staging), sw::checkpoint_error,
                         says("device 1 is current, and the load is staged for device 0; nothing was loaded"));
    CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, elsewhere.device(), stream), sw::cuda::error,
                         says("device 1: cudaEventRecord"));
  }
  CHECK(model.source.bytes_read() == 0);
  CHECK(engines.differing().empty());
  CHECK(elsewhere.differing().empty());
}

TEST_CASE("permute on a stream is one copy for each segment, and nothing waits") {
  const sw::cuda::stream stream;
  const sw::cuda::device_memory from(3 * 10 * 4), to(3 * 10 * 4);
  const sw::tensor_view out(to.data(), dtype::f32, {3, 10});
  fake_gpu::reset_counts();
  sw::permute(sw::gathered(from.data(), dtype::f32, {3, 10, 4, 2, 2, false}), out, stream);
  CHECK(fake_gpu::calls("cudaMemcpy2DAsync") == 3);
  sw::permute(sw::gathered(from.data(), dtype::f32, {3, 10, 4, 2, 2, true}), out, stream);
  CHECK(fake_gpu::calls("cudaMemcpy2DAsync") == 4);
  sw::permute(sw::gathered(from.data(), dtype::f32, {0, 10, 4, 2, 2, false}),
              tensor_view(to.data(), dtype::f32, {0, 10}), stream);
  CHECK(fake_gpu::calls("cudaMemcpy2DAsync") == 4);
  CHECK(fake_gpu::counted().synchronisations == 0);
}
