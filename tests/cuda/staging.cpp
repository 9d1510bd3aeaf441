// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "device_tensors.hpp"
#include "fake/fake_gpu.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/cuda/load.hpp"
#include "shardwise/shard/shard.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;

namespace {

/// While it lives no thread can be started, as none finds room for its stack.
class no_more_threads {
 public:
  no_more_threads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t none;
    pthread_attr_init(&none);
    pthread_attr_setstacksize(&none, std::size_t(1) << 50);
    pthread_setattr_default_np(&none);
    pthread_attr_destroy(&none);
  }
  ~no_more_threads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

/// One tensor, and the device's memory for it.
struct one_tensor {
  template <class T>
  one_tensor(const char* name, dtype type, const std::vector<T>& values)
      : bytes(values.size() * sizeof(T)), memory(bytes.size()) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    source.add(name, tensor_view(bytes.data(), type, {values.size()}));
    tree.add(name, type, {values.size()});
  }
  void load(sw::cuda::staging& staging, const sw::load_options& options = {}) const {
    const auto to = [&](const sw::sharded_parameter& p, const tensor_shape& shape) {
      return tensor_view(static_cast<std::byte*>(memory.data()), p.type, shape);
    };
    sw::load(sw::shard(sw::plan({{"norm", sw::replicate}}), tree), 0, source, to, staging, options);
  }
  bool there(std::size_t n) const {
    return download(memory.data(), n) == support::bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
  }

  support::bytes bytes;
  sw::cuda::device_memory memory;
  sw::memory_source source;
  sw::tree tree;
};

}  // namespace

TEST_CASE("where the system starts no more threads a staging fills its buffers with fewer") {
  const sw::cuda::stream stream;
  const one_tensor large("norm.a", dtype::f32, std::vector<float>(1u << 20, 3));
  const auto with_one = [&] {
    const no_more_threads here;
    return sw::cuda::staging(stream, {.threads = 2}).threads();
  };
  CHECK(with_one() == 1);
  if (std::thread::hardware_concurrency() > 1) CHECK(sw::cuda::staging(stream, {.threads = 2}).threads() == 2);
  const no_more_threads here;
  sw::cuda::staging staging(stream, {.threads = 2});
  large.load(staging);
  CHECK(large.there(large.bytes.size()));
}

TEST_CASE("a load after one that ended by its deadline leaves alone what the device has not read yet") {
  const sw::cuda::stream stream;
  std::vector<float> a(65);
  std::vector<double> b(64);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i + 1);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<double>(i + 1);
  const one_tensor first("norm.a", dtype::f32, a), second("norm.b", dtype::f64, b);
  const one_tensor third("norm.c", dtype::f32, std::vector<float>{-1});
  std::atomic<bool> go_on{false};
  const auto wait = [](void* flag) {
    while (!static_cast<std::atomic<bool>*>(flag)->load()) std::this_thread::yield();
  };
  // The first tensor fills one buffer to its end, the second all but 4 bytes of the other; then the first is waited
  // for.
  sw::cuda::staging staging(stream, {.buffer_bytes = 260, .deadline = std::chrono::milliseconds(30)});
  sw::cuda::check(cudaLaunchHostFunc(stream, wait, &go_on), "cudaLaunchHostFunc");
  for (const one_tensor* t : {&first, &second, &third}) {
    CHECK_THROWS_MATCHES(t->load(staging), sw::cuda::error, says("of the copies of a load, for 30 ms"));
  }
  go_on = true;
  stream.synchronize();
  CHECK(first.there(260));
  CHECK(second.there(256));
}

TEST_CASE("a staging ends on its own device, whichever is current, and leaves that one current") {
  REQUIRE(sw::cuda::device_count() > 1);  // the fake's
  fake_gpu::reset_counts();
  {
    const sw::cuda::stream stream;
    const one_tensor t("norm.a", dtype::f32, std::vector<float>{1, 2});
    auto* const staging = new sw::cuda::staging(stream);
    t.load(*staging);
    const sw::cuda::device_guard other(1);
    delete staging;
    CHECK(sw::cuda::current_device() == 1);
  }
  CHECK(sw::cuda::current_device() == 0);
  CHECK(fake_gpu::counted().findings == 0);
}

TEST_CASE("a staging that ends while its stream is captured leaves the capture alone") {
  const sw::cuda::stream stream;
  const one_tensor t("norm.a", dtype::f32, std::vector<float>{1, 2});
  auto* const staging = new sw::cuda::staging(stream);
  const auto stop = [](const auto&...) { throw std::runtime_error("stop"); };
  CHECK_THROWS_AS(t.load(*staging, {.progress = stop}), std::runtime_error);
  sw::cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  fake_gpu::reset_counts();
  delete staging;
  CHECK(fake_gpu::calls("cudaEventRecord") == 0);
  cudaGraph_t graph = nullptr;
  sw::cuda::check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  std::size_t nodes = 1;
  sw::cuda::check(cudaGraphGetNodes(graph, nullptr, &nodes), "cudaGraphGetNodes");
  CHECK(nodes == 0);
  sw::cuda::check(cudaGraphDestroy(graph), "cudaGraphDestroy");
}
