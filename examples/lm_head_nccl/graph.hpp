// SPDX-License-Identifier: Apache-2.0
// Work captured in a CUDA graph.
#pragma once
#include <cstddef>
#include <vector>

#include "shardwise/cuda/stream.hpp"

namespace lm_head {
namespace sw = shardwise;

/// What `work` puts on the stream, which is not run but kept. Goes before the communicator that was captured.
class graph {
 public:
  template <class Work>
  graph(sw::cuda::stream_ref stream, const Work& work) : stream_(stream) {
    // Of this thread: NCCL's own threads may do what a capture forbids.
    sw::cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    try {
      work();
    } catch (...) {
      (void)cudaStreamEndCapture(stream, &graph_);
      if (graph_ != nullptr) (void)cudaGraphDestroy(graph_);
      throw;
    }
    sw::cuda::check(cudaStreamEndCapture(stream, &graph_), "cudaStreamEndCapture");
  }
  graph(const graph&) = delete;
  ~graph() {
    if (ready_ != nullptr) (void)cudaGraphExecDestroy(ready_);
    (void)cudaGraphDestroy(graph_);
  }

  std::size_t nodes() const {
    std::size_t n = 0;
    sw::cuda::check(cudaGraphGetNodes(graph_, nullptr, &n), "cudaGraphGetNodes");
    return n;
  }
  /// How many of them are kernels.
  std::size_t kernels() const {
    std::size_t n = nodes(), kernels = 0;
    std::vector<cudaGraphNode_t> all(n);
    sw::cuda::check(cudaGraphGetNodes(graph_, all.data(), &n), "cudaGraphGetNodes");
    for (cudaGraphNode_t node : all) {
      cudaGraphNodeType type{};
      sw::cuda::check(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
      kernels += type == cudaGraphNodeTypeKernel;
    }
    return kernels;
  }

  void launch() {
    if (ready_ == nullptr) sw::cuda::check(cudaGraphInstantiate(&ready_, graph_, 0), "cudaGraphInstantiate");
    sw::cuda::check(cudaGraphLaunch(ready_, stream_), "cudaGraphLaunch");
  }

 private:
  sw::cuda::stream_ref stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t ready_ = nullptr;
};

}  // namespace lm_head
