// SPDX-License-Identifier: Apache-2.0
// Device memory for the suite of communicators.
#pragma once
#include <cstddef>
#include <span>

#include "comm/suite.hpp"
#include "cuda/copy_now.hpp"
#include "shardwise/cuda.hpp"
#include "shardwise/nccl.hpp"

namespace nccl_test {

class device_bytes : public shardwise::cuda::device_memory {
 public:
  using device_memory::device_memory;
  void upload(std::span<const std::byte> from) { cuda_test::copy_now(data(), from.data(), from.size()); }
  void download(std::span<std::byte> to) { cuda_test::copy_now(to.data(), data(), to.size()); }
};

class device_backend {
 public:
  static constexpr bool any_alignment = false, in_place_on_some_ranks = false;
  using logits_memory = shardwise::cuda::logits_memory;
  explicit device_backend(shardwise::nccl::communicator& whole) : whole_(whole) {}
  comm_test::mirrored<device_bytes> make(shardwise::dtype type, std::size_t count, std::size_t shift) const {
    return {type, count, shift};
  }
  void wait(cudaStream_t stream) const { whole_.wait(stream); }

 private:
  shardwise::nccl::communicator& whole_;
};

}  // namespace nccl_test
