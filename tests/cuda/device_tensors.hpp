// SPDX-License-Identifier: Apache-2.0
// Engines for tests of device loads: the same tensors, strides and gaps in a device's memory and in the host's.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../checkpoint/support.hpp"
#include "catch.hpp"
#include "copy_now.hpp"
#include "shardwise/cuda/device.hpp"
#include "shardwise/cuda/device_memory.hpp"
#include "shardwise/shard/sharding.hpp"

namespace support {

using bytes = std::vector<std::byte>;
using cuda_test::copy_now;

/// False on a machine without a GPU, where the test is skipped: see tests/cuda/CMakeLists.txt.
inline bool has_device() {
  if (sw::cuda::device_count() != 0) return true;
  WARN("SKIP: no CUDA device");
  return false;
}

template <class T = std::byte>
std::vector<T> download(const void* data, std::size_t n) {
  std::vector<T> out(n);
  copy_now(out.data(), data, n * sizeof(T));
  return out;
}
template <class T>
void upload(void* data, const std::vector<T>& in) {
  copy_now(data, in.data(), in.size() * sizeof(T));
}

/// Where a tensor lies in its allocation.
struct tensor_place {
  sw::tensor_view view;    ///< of null memory
  std::size_t offset = 0;  ///< bytes before the first element
  std::size_t allocated = 0;
};

/// Dense, row-major.
inline tensor_place dense(const sw::tensor_shape& shape, sw::dtype type) {
  const sw::tensor_view v(nullptr, type, shape);
  return {v, 0, v.bytes()};
}

/// Dims in any order of memory, gaps between rows and, now and then, between elements.
inline tensor_place anywhere(const sw::tensor_shape& shape, sw::dtype type, dice& random) {
  tensor_place p = dense(shape, type);
  std::vector<std::size_t> order(shape.dims());
  for (std::size_t d = 0; d < order.size(); ++d) order[d] = d;
  if (random.below(2) == 0) {
    for (std::size_t d = order.size(); d > 1; --d) std::swap(order[d - 1], order[random.below(d)]);
  }
  std::size_t stride = random.below(8) == 0 ? 2 : 1;
  for (std::size_t k = order.size(); k-- > 0;) {
    p.view.strides[order[k]] = stride;
    stride = stride * shape[order[k]] + random.below(3) / 2 * random.below(5);
  }
  p.offset = random.below(3) * sw::size_of(type);
  p.allocated = p.offset + (shape.elements() == 0 ? 0 : (stride + 3) * sw::size_of(type));
  return p;
}

/// The tensors of an engine in both memories, all bytes 0xee before they are loaded.
class both_engines {
 public:
  void add(const sw::sharded_parameter& parameter, const tensor_place& p) {
    auto& t = tensors_[std::string(parameter.name)];
    t.place = p;
    t.host.assign(p.allocated, std::byte{0xee});
    t.device = sw::cuda::device_memory(p.allocated);
    upload(t.device.data(), t.host);
  }

  sw::tensor_view on_host(const sw::sharded_parameter& p) { return view(p, at(p).host.data()); }
  sw::tensor_view on_device(const sw::sharded_parameter& p) {
    return view(p, static_cast<std::byte*>(at(p).device.data()));
  }
  auto host() {
    return [this](const sw::sharded_parameter& p, const sw::tensor_shape&) { return on_host(p); };
  }
  auto device() {
    return [this](const sw::sharded_parameter& p, const sw::tensor_shape&) { return on_device(p); };
  }

  /// Names of the tensors whose bytes, gaps among them, are not the same in both memories.
  std::vector<std::string> differing() const {
    std::vector<std::string> names;
    for (const auto& [name, t] : tensors_) {
      if (download(t.device.data(), t.host.size()) != t.host) names.push_back(name);
    }
    return names;
  }

 private:
  struct tensor {
    tensor_place place;
    bytes host;
    sw::cuda::device_memory device;
  };
  tensor& at(const sw::sharded_parameter& p) { return tensors_.at(std::string(p.name)); }
  sw::tensor_view view(const sw::sharded_parameter& p, std::byte* memory) {
    const tensor& t = at(p);
    sw::tensor_view v = t.place.view;
    if (memory != nullptr) v.data = memory + t.place.offset;
    return v;
  }

  std::map<std::string, tensor> tensors_;
};

}  // namespace support
