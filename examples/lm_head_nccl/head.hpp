// SPDX-License-Identifier: Apache-2.0
// This rank's part of the head, and the step that makes logits with it.
#pragma once
#include <cstddef>
#include <cstring>
#include <filesystem>

#include "blas.hpp"
#include "expected.hpp"
#include "shardwise/checkpoint.hpp"
#include "shardwise/cuda.hpp"
#include "shardwise/models.hpp"
#include "shardwise/run/gather_output.hpp"
#include "shardwise/shard.hpp"

namespace lm_head {
namespace sw = shardwise;

inline constexpr std::string_view module = "lm_head";

/// The plan of the model's family, applied to its head: another part of the model is not looked at.
inline sw::sharding shard_head(const sw::tree& tree, const sw::checkpoint::config& config, int ranks) {
  const sw::plan_view plan = sw::models::auto_plan(config);
  sw::sharding s = sw::shard(plan, tree, {.tp = ranks, .only = "lm_head.**"});
  if (s.size() != 1) throw sw::shard_error("the model has no lm_head.weight");
  return s;
}

/// The rank's rows of the head in device memory.
struct local_head {
  sw::cuda::device_memory memory;
  sw::tensor_view weight;
  sw::load_report read;
};
template <sw::tensor_source Source>
local_head load_head(const sw::sharding& s, int rank, const Source& source, sw::cuda::stream_ref stream) {
  local_head head;
  head.read = sw::load(
      s, rank, source,
      [&](const sw::sharded_parameter&, const sw::tensor_shape& local) {
        head.memory = sw::cuda::device_memory(local.elements() * sizeof(float));
        return head.weight = {head.memory.data(), sw::dtype::f32, local};
      },
      stream);
  return head;
}

/// A step of `tokens` tokens, over and over: states in, logits of all ranks out.
template <sw::can_gather_last_dim Gatherer, class Waiter>
class stepper {
 public:
  /// `comm` gathers, `ranks` waits: the same communicator, which may be watched when it gathers.
  stepper(Gatherer& comm, Waiter& ranks, const sw::sharding& sharding, const local_head& head, std::size_t tokens,
          const sw::gather_options& options, sw::cuda::stream_ref stream)
      : comm_(comm),
        ranks_(ranks),
        head_(head),
        stream_(stream),
        blas_(stream),
        gather_(sharding.step(module), comm.rank(), tokens, sw::dtype::f32, options),
        states_(tokens * sharding[0].shape[1] * sizeof(float)),
        logits_(gather_.bytes()),
        on_host_(gather_.bytes()),
        x_(states_.data(), sw::dtype::f32, {tokens, sharding[0].shape[1]}) {}

  const blas& product_library() const { return blas_; }
  std::size_t tokens() const { return x_.shape[0]; }
  bool row_major() const { return gather_.shape().row_major; }

  /// From all states of the model, in device memory, those of rows `first` and following.
  void take_states(const void* all, std::size_t first) {
    const auto* from = static_cast<const std::byte*>(all) + first * x_.shape[1] * sizeof(float);
    sw::cuda::check(cudaMemcpyAsync(states_.data(), from, states_.bytes(), cudaMemcpyDeviceToDevice, stream_),
                    "cudaMemcpyAsync");
  }
  void multiply() { blas_.multiply(x_, head_.weight, gather_.local(logits_.data())); }
  void gather() { gather_.run(comm_, stream_.get(), logits_.data()); }

  /// Waits, and gives what is there.
  sw::gathered result() {
    sw::cuda::check(cudaMemcpyAsync(on_host_.data(), logits_.data(), logits_.bytes(), cudaMemcpyDeviceToHost, stream_),
                    "cudaMemcpyAsync");
    ranks_.wait(stream_);
    return {on_host_.data(), sw::dtype::f32, gather_.shape()};
  }

 private:
  Gatherer& comm_;
  Waiter& ranks_;
  const local_head& head_;
  sw::cuda::stream_ref stream_;
  blas blas_;
  sw::gather_output gather_;
  sw::cuda::device_memory states_, logits_;
  sw::cuda::pinned_memory on_host_;
  sw::tensor_view x_;
};

}  // namespace lm_head
