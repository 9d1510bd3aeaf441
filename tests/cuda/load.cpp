// SPDX-License-Identifier: Apache-2.0
#include "shardwise/cuda/load.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "device_tensors.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;

namespace {

constexpr auto every_cut = sw::plan({{"columns", sw::colwise},
                                     {"rows", sw::rowwise},
                                     {"packed", sw::packed_colwise<2>},
                                     {"vocabulary", sw::embedding_rowwise},
                                     {"norm", sw::replicate}});
constexpr dtype every_type[] = {dtype::f64, dtype::f32, dtype::f16, dtype::bf16,
                                dtype::i64, dtype::i16, dtype::u8,  dtype::f8_e4m3};

/// A model of random shapes and bytes, in memory.
struct random_model {
  random_model(dice& random, int tp) {
    for (const char* name : {"columns.weight", "columns.bias", "rows.weight", "packed.weight", "vocabulary.weight",
                             "norm.weight", "norm.scale"}) {
      const std::string text = name;
      const std::size_t dims = text.ends_with("bias")     ? 1
                               : text.starts_with("norm") ? random.below(5)
                                                          : 2 + random.below(3);
      std::size_t cut = dims - 1;
      if (text.starts_with("vocabulary")) cut = 0;
      if (dims > 1 && (text.starts_with("columns") || text.starts_with("packed"))) cut = dims - 2;
      tensor_shape shape;
      for (std::size_t d = 0; d < dims; ++d) {
        const bool is_cut = d == cut && !text.starts_with("norm");
        shape.push((1 + random.below(dims > 2 ? 4 : 13)) * (is_cut ? 2 * static_cast<std::size_t>(tp) : 1));
      }
      const dtype type = every_type[random.below(std::size(every_type))];
      memory.emplace_back(shape.elements() * sw::size_of(type));
      for (std::byte& b : memory.back()) b = static_cast<std::byte>(random.below(256));
      names.push_back(text);
      source.add(text, tensor_view(memory.back().data(), type, shape));
      tree.add(names.back(), type, shape);
    }
  }
  std::vector<bytes> memory;
  std::vector<std::string> names;
  sw::memory_source source;
  sw::tree tree;
};

dtype type_in_engine(dtype stored, dice& random) {
  constexpr dtype floats[] = {dtype::f32, dtype::f16, dtype::bf16};
  return sw::castable(stored, dtype::f32) ? floats[random.below(3)] : stored;
}

/// A source that fails at its n-th read, and tells how many there were.
class failing_source {
 public:
  failing_source(const sw::memory_source& source, int fails_at) : source_(source), fails_at_(fails_at) {}
  std::size_t size() const { return source_.size(); }
  sw::tensor_info info(std::size_t i) const { return source_.info(i); }
  void read(std::size_t i, const sw::box& what, const tensor_view& to) const {
    if (++reads_ == fails_at_) throw std::runtime_error("the disk is gone");
    source_.read(i, what, to);
  }
  int reads() const { return reads_; }

 private:
  const sw::memory_source& source_;
  int fails_at_;
  mutable std::atomic<int> reads_{0};
};

/// [64, 16] of f32, each element its own number.
struct one_matrix {
  one_matrix() {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    source.add("norm.weight", tensor_view(values.data(), dtype::f32, {64, 16}));
    tree.add("norm.weight", dtype::f32, {64, 16});
  }
  sw::sharding whole() const { return sw::shard(sw::plan({{"norm", sw::replicate}}), tree); }
  std::vector<float> values = std::vector<float>(1024);
  sw::memory_source source;
  sw::tree tree;
};

}  // namespace

TEST_CASE("a device load is the host's, byte for byte, whatever shapes, cuts, types, strides and buffers") {
  if (!has_device()) return;
  dice random(4);
  const sw::cuda::stream stream;
  for (int round = 0; round < 400; ++round) {
    const int tp = 1 + static_cast<int>(random.below(4));
    const random_model model(random, tp);
    const sw::sharding s = sw::shard(every_cut, model.tree, {.tp = tp, .holes = sw::uncovered::whole});
    const int rank = static_cast<int>(random.below(static_cast<std::size_t>(tp)));
    both_engines engines;
    for (std::size_t i = 0; i < s.size(); ++i) {
      engines.add(s[i], anywhere(s.local_shape(i, rank), type_in_engine(s[i].type, random), random));
    }
    constexpr std::size_t sizes[] = {8, 9, 24, 64, 100, 1000, 4096, 1 << 20};
    sw::cuda::staging staging(stream, {.buffer_bytes = sizes[random.below(std::size(sizes))],
                                       .buffers = 1 + random.below(3),
                                       .threads = 1 + random.below(4)});
    INFO("round " << round << ", tp " << tp << ", rank " << rank << ", " << staging.options().buffers << " buffers of "
                  << staging.options().buffer_bytes);
    std::vector<std::pair<std::size_t, std::size_t>> told, told_by_host;
    sw::load_options options, host_options;
    options.progress = [&](std::size_t done, std::size_t all) { told.emplace_back(done, all); };
    host_options.progress = [&](std::size_t done, std::size_t all) { told_by_host.emplace_back(done, all); };

    const sw::load_report on_host = sw::load(s, rank, model.source, engines.host(), host_options);
    const std::size_t before = model.source.bytes_read();
    const sw::load_report on_device = sw::load(s, rank, model.source, engines.device(), staging, options);
    CHECK(engines.differing().empty());
    CHECK(on_device.tensors == on_host.tensors);
    CHECK(on_device.bytes_read == s.bytes(rank));
    CHECK(model.source.bytes_read() - before == s.bytes(rank));
    CHECK(told == told_by_host);
  }
}

TEST_CASE("a device load on the engine's stream needs nothing else, and large pieces are filled by several threads") {
  if (!has_device()) return;
  dice random(9);
  std::vector<std::uint32_t> values(3u << 20);  // 12 MiB: more than one buffer
  for (auto& v : values) v = static_cast<std::uint32_t>(random.below(1u << 31));
  const sw::cuda::stream stream;
  // Rows for all threads; and two experts, whose rows they share.
  for (const tensor_shape& shape : {tensor_shape{1024, 3072}, tensor_shape{2, 512, 3072}}) {
    sw::memory_source source;
    source.add("rows.weight", tensor_view(values.data(), dtype::f32, shape));
    sw::tree tree;
    tree.add("rows.weight", dtype::f32, shape);
    const sw::sharding s = sw::shard(sw::plan({{"rows", sw::rowwise}}), tree, {.tp = 3});
    for (int rank = 0; rank < 3; ++rank) {
      both_engines engines;
      engines.add(s[0], dense(s.local_shape(0, rank), dtype::f32));
      sw::load(s, rank, source, engines.host());
      CHECK(sw::load(s, rank, source, engines.device(), stream).bytes_read == 4u << 20);
      CHECK(engines.differing().empty());
      sw::cuda::staging staging(stream, {.buffer_bytes = 3u << 20, .threads = 7});
      upload(engines.on_device(s[0]).data, std::vector<float>(1u << 20));
      sw::load(s, rank, source, engines.device(), staging);
      CHECK(engines.differing().empty());
    }
  }
}

TEST_CASE("rows that lie further apart than CUDA's pitch allows are copied one by one") {
  if (!has_device()) return;
  std::vector<float> values = {1, 2, 3, 4};
  sw::memory_source source;
  source.add("norm.weight", tensor_view(values.data(), dtype::f32, {2, 2}));
  sw::tree tree;
  tree.add("norm.weight", dtype::f32, {2, 2});
  const sw::sharding s = sw::shard(sw::plan({{"norm", sw::replicate}}), tree);
  constexpr std::size_t apart = (std::size_t(1) << 29) + 1;  // elements: more than 2 GiB
  const sw::cuda::device_memory memory((apart + 2) * 4);
  const sw::cuda::stream stream;
  const auto weights = [&](const sw::sharded_parameter&, const tensor_shape& local) {
    tensor_view v(memory.data(), dtype::f32, local);
    v.strides[0] = apart;
    return v;
  };
  sw::load(s, 0, source, weights, stream);
  CHECK(download<float>(memory.data(), 2) == std::vector<float>{1, 2});
  CHECK(download<float>(static_cast<float*>(memory.data()) + apart, 2) == std::vector<float>{3, 4});
}

TEST_CASE("a device load refuses what a host load refuses, in the same words, and leaves live tensors alone") {
  if (!has_device()) return;
  const one_matrix model;
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  const auto refused = [&](auto weights, int rank, const sw::memory_source& source) {
    std::string on_host, on_device;
    const std::size_t before = source.bytes_read();
    try {
      sw::load(s, rank, source, weights);
    } catch (const sw::checkpoint_error& e) {
      on_host = e.what();
    }
    try {
      sw::load(s, rank, source, weights, stream);
    } catch (const sw::checkpoint_error& e) {
      on_device = e.what();
    }
    CHECK(!on_host.empty());
    CHECK(on_device == on_host);
    CHECK(source.bytes_read() == before);
    CHECK(engines.differing().empty());
  };
  const auto as = [&](dtype type, const tensor_shape& shape) {
    return [&, type, shape](const sw::sharded_parameter& p, const tensor_shape&) {
      return tensor_view(engines.on_device(p).data, type, shape);
    };
  };
  refused(as(dtype::f32, {16, 64}), 0, model.source);
  refused(as(dtype::i32, {64, 16}), 0, model.source);
  refused(engines.device(), 1, model.source);
  refused(engines.device(), 0, sw::memory_source());
  refused(
      [](const sw::sharded_parameter&, const tensor_shape& local) { return tensor_view(nullptr, dtype::f32, local); },
      0, model.source);
}

TEST_CASE("a device load refuses host memory and a buffer without room for an element, before a byte is written") {
  if (!has_device()) return;
  const one_matrix model;
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  sw::cuda::pinned_memory pinned(4096);
  const auto in_pinned = [&](const sw::sharded_parameter&, const tensor_shape& local) {
    return tensor_view(pinned.data(), dtype::f32, local);
  };
  CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, engines.host(), stream), sw::checkpoint_error,
                       says("the engine's tensor for 'norm.weight' is in host memory"));
  CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, in_pinned, stream), sw::checkpoint_error, says("in host memory"));
  sw::cuda::staging small(stream, {.buffer_bytes = 3});
  CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, engines.device(), small), sw::checkpoint_error,
                       says("an element of 'norm.weight' has 4 bytes, and a staging buffer 3"));
  CHECK_THROWS_MATCHES(sw::cuda::staging(stream, {.buffers = 0}), sw::error, says("0 buffers of 8388608 bytes"));
  CHECK_THROWS_MATCHES(sw::cuda::staging(stream, {.buffer_bytes = 0}), sw::error, says("2 buffers of 0 bytes"));
  CHECK(model.source.bytes_read() == 0);
  CHECK(engines.differing().empty());
}

TEST_CASE("a load into a captured stream is refused, and the capture goes on") {
  if (!has_device()) return;
  const one_matrix model;
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  sw::cuda::staging staging(stream);
  sw::cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, engines.device(), staging), sw::cuda::error,
                       says("load into a stream that is being captured"));
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(model.source.bytes_read() == 0);
  CHECK(engines.differing().empty());
  sw::load(s, 0, model.source, engines.host());
  sw::load(s, 0, model.source, engines.device(), staging);
  CHECK(engines.differing().empty());
}

TEST_CASE("a source that fails half way ends the load with its own error, and the staging serves the next load") {
  if (!has_device()) return;
  const one_matrix model;
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  for (const std::size_t threads : {1u, 3u}) {
    sw::cuda::staging staging(stream, {.buffer_bytes = 256, .threads = threads});
    for (const int fails_at : {1, 2, 5, 16}) {
      both_engines engines;
      engines.add(s[0], dense({64, 16}, dtype::f32));
      const failing_source failing(model.source, fails_at);
      CHECK_THROWS_MATCHES(sw::load(s, 0, failing, engines.device(), staging), std::runtime_error,
                           says("the disk is gone"));
      CHECK(failing.reads() == fails_at);
      sw::load(s, 0, model.source, engines.host());
      sw::load(s, 0, model.source, engines.device(), staging);
      CHECK(engines.differing().empty());
    }
  }
}

TEST_CASE("a source that fails in one of several threads ends the load when none of them reads any more") {
  if (!has_device()) return;
  const std::vector<float> values(1u << 20, 1.0f);
  sw::memory_source source;
  source.add("norm.weight", tensor_view(const_cast<float*>(values.data()), dtype::f32, {1024, 1024}));
  sw::tree tree;
  tree.add("norm.weight", dtype::f32, {1024, 1024});
  const sw::sharding s = sw::shard(sw::plan({{"norm", sw::replicate}}), tree);
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({1024, 1024}, dtype::f32));
  sw::cuda::staging staging(stream, {.buffer_bytes = 2u << 20});
  for (const int fails_at : {1, 2}) {
    for (int round = 0; round < 20; ++round) {
      const failing_source failing(source, fails_at);
      CHECK_THROWS_MATCHES(sw::load(s, 0, failing, engines.device(), staging), std::runtime_error,
                           says("the disk is gone"));
    }
  }
  sw::load(s, 0, source, engines.host());
  sw::load(s, 0, source, engines.device(), staging);
  CHECK(engines.differing().empty());
}

TEST_CASE("progress that throws ends a device load, and its copies are done when the staging is gone") {
  if (!has_device()) return;
  const one_matrix model;
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  sw::load_options options;
  options.progress = [](std::size_t, std::size_t) { throw std::runtime_error("enough"); };
  CHECK_THROWS_MATCHES(sw::load(s, 0, model.source, engines.device(), stream, options), std::runtime_error,
                       says("enough"));
  sw::load(s, 0, model.source, engines.host());
  CHECK(engines.differing().empty());  // the staging's destructor has waited
}

TEST_CASE("a stream that does not go on ends a load by its deadline, and what the device may still read stays") {
  if (!has_device()) return;
  const one_matrix model;
  const sw::sharding s = model.whole();
  const sw::cuda::stream stream;
  both_engines engines;
  engines.add(s[0], dense({64, 16}, dtype::f32));
  std::atomic<bool> go_on{false};
  const auto wait = [](void* flag) {
    while (!static_cast<std::atomic<bool>*>(flag)->load()) std::this_thread::yield();
  };
  sw::cuda::check(cudaLaunchHostFunc(stream, wait, &go_on), "cudaLaunchHostFunc");
  const auto load = [&] {
    sw::cuda::staging staging(stream, {.buffer_bytes = 256, .deadline = std::chrono::milliseconds(50)});
    sw::load(s, 0, model.source, engines.device(), staging);
  };
  CHECK_THROWS_MATCHES(load(), sw::cuda::error, says("of the copies of a load, for 50 ms"));
  CHECK(model.source.bytes_read() == 512);
  go_on = true;
  stream.synchronize();
  // Both buffers were full, and the copies out of them came when the stream went on.
  const auto written = download<float>(engines.on_device(s[0]).data, 129);
  CHECK(std::vector<float>(written.begin(), written.end() - 1) ==
        std::vector<float>(model.values.begin(), model.values.begin() + 128));
  CHECK(written.back() != model.values[128]);
}

TEST_CASE("ranks of a device that hold nothing load nothing, and need no memory") {
  if (!has_device()) return;
  std::vector<float> values = {1, 2};
  sw::memory_source source;
  source.add("vocabulary.weight", tensor_view(values.data(), dtype::f32, {2, 1}));
  sw::tree tree;
  tree.add("vocabulary.weight", dtype::f32, {2, 1});
  sw::imported_plan plan;
  plan.add("vocabulary", "embedding_rowwise");
  const sw::sharding s = sw::shard(plan, tree, {.tp = 4});
  const sw::cuda::stream stream;
  const auto none = [](const sw::sharded_parameter&, const tensor_shape& local) {
    return tensor_view(nullptr, dtype::f32, local);
  };
  CHECK(sw::load(s, 3, source, none, stream).bytes_read == 0);
  CHECK_THROWS_AS(sw::load(s, 1, source, none, stream), sw::checkpoint_error);
}
