// SPDX-License-Identifier: Apache-2.0
#include "fake/graph.hpp"

#include <algorithm>
#include <set>

#include "fake/device.hpp"
#include "fake/stream.hpp"

namespace fake {
namespace {

// The thread's mode, and whether it has a capture of a mode that refuses calls that may synchronise.
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
thread_local int strict_captures = 0;
std::atomic<int> global_captures{0};  // of all threads, in the global mode
std::atomic<unsigned long long> last_id{0};

void begin(cudaStreamCaptureMode mode) {
  if (mode == cudaStreamCaptureModeGlobal) ++global_captures;
  if (mode != cudaStreamCaptureModeRelaxed) ++strict_captures;
}
void end(cudaStreamCaptureMode mode) {
  if (mode == cudaStreamCaptureModeGlobal) --global_captures;
  if (mode != cudaStreamCaptureModeRelaxed) --strict_captures;
}

struct graphs_and_mutex {
  std::mutex mutex;
  std::set<graph*> made, executable;
};
graphs_and_mutex& all() {
  static auto& a = *new graphs_and_mutex;
  return a;
}

// The graph of a handle, if it is in `set`.
graph* find(std::set<graph*> graphs_and_mutex::*set, void* handle) {
  const std::lock_guard lock(all().mutex);
  auto& graphs = all().*set;
  const auto at = graphs.find(static_cast<graph*>(handle));
  return at == graphs.end() ? nullptr : *at;
}

}  // namespace

cudaError_t refused_in_capture() {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  const bool refused = strict_captures > 0 || (thread_mode == cudaStreamCaptureModeGlobal && global_captures > 0);
  return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

void graph::append(const task& t) {
  const std::lock_guard lock(mutex);
  tasks.push(t);
}

void graph::release() {
  if (references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  while (!tasks.empty()) tasks.pop().drop();
  delete this;
}

void join_capture(graph& g, stream& s) {
  const std::lock_guard lock(g.mutex);
  g.streams.push_back(&s);
  s.set_capturing(&g);
}

void invalidate_capture(stream& s) {
  if (graph* g = s.capturing()) g->invalid = true;
}

}  // namespace fake

using namespace fake;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  FAKE_CUDA(cudaStreamBeginCapture);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (s->is_default) return remember(cudaErrorStreamCaptureUnsupported);
  if (s->capturing() != nullptr) return remember(cudaErrorIllegalState);
  auto* g = new graph;
  g->mode = mode;
  g->thread = std::this_thread::get_id();
  g->id = ++last_id;
  begin(mode);
  join_capture(*g, *s);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* result) {
  FAKE_CUDA(cudaStreamEndCapture);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (result == nullptr) return remember(cudaErrorInvalidValue);
  graph* g = s->capturing();
  if (g == nullptr || g->streams.front() != s.get()) return remember(cudaErrorIllegalState);
  end(g->mode);
  for (stream* joined : g->streams) joined->set_capturing(nullptr);
  g->streams.clear();
  *result = nullptr;
  if (g->invalid) {
    g->release();
    return remember(cudaErrorStreamCaptureInvalidated);
  }
  const std::lock_guard lock(all().mutex);
  all().made.insert(g);
  ++counts().graphs;
  *result = reinterpret_cast<cudaGraph_t>(g);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  FAKE_CUDA(cudaStreamIsCapturing);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (status == nullptr) return remember(cudaErrorInvalidValue);
  if (captured_behind(*s)) return remember(cudaErrorStreamCaptureImplicit);
  const graph* g = s->capturing();
  *status = g == nullptr ? cudaStreamCaptureStatusNone
            : g->invalid ? cudaStreamCaptureStatusInvalidated
                         : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph_out, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, std::size_t* total) {
  FAKE_CUDA(cudaStreamGetCaptureInfo);
  const auto s = find_stream(handle);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  if (status == nullptr) return remember(cudaErrorInvalidValue);
  graph* g = s->capturing();
  *status = g == nullptr ? cudaStreamCaptureStatusNone
            : g->invalid ? cudaStreamCaptureStatusInvalidated
                         : cudaStreamCaptureStatusActive;
  if (g != nullptr && id != nullptr) *id = g->id;
  if (graph_out != nullptr) *graph_out = reinterpret_cast<cudaGraph_t>(g);
  if (dependencies != nullptr) *dependencies = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (total != nullptr) *total = 0;
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  FAKE_CUDA(cudaThreadExchangeStreamCaptureMode);
  if (mode == nullptr) return remember(cudaErrorInvalidValue);
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* result, cudaGraph_t handle, unsigned long long) {
  FAKE_CUDA(cudaGraphInstantiate);
  graph* g = find(&graphs_and_mutex::made, handle);
  if (g == nullptr || result == nullptr) return remember(cudaErrorInvalidValue);
  auto* executable = new graph;
  {
    const std::scoped_lock lock(g->mutex, executable->mutex);
    // It has its own tasks, which have nothing to drop: the graph, which it holds, drops them.
    for (std::size_t i = 0; i < g->tasks.size(); ++i) {
      task copy = g->tasks[i];
      executable->tasks.push(copy.holding(nullptr, nullptr));
    }
  }
  g->references.fetch_add(1, std::memory_order_relaxed);
  executable->tasks.push(
      task::of(node_kind::none, [] {}).holding(g, [](void* held) { static_cast<graph*>(held)->release(); }));
  const std::lock_guard lock(all().mutex);
  all().executable.insert(executable);
  ++counts().graphs;
  *result = reinterpret_cast<cudaGraphExec_t>(executable);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t on) {
  FAKE_CUDA(cudaGraphLaunch);
  graph* g = find(&graphs_and_mutex::executable, handle);
  const auto s = find_stream(on);
  if (g == nullptr) return remember(cudaErrorInvalidValue);
  if (!s) return remember(cudaErrorInvalidResourceHandle);
  g->references.fetch_add(1, std::memory_order_relaxed);
  const task replay = task::of(node_kind::none, [g] {
                        for (std::size_t i = 0; i < g->tasks.size(); ++i) g->tasks[i].run();
                      }).holding(g, [](void* held) { static_cast<graph*>(held)->release(); });
  return remember(s->post(replay));
}

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, std::size_t* total) {
  FAKE_CUDA(cudaGraphGetNodes);
  graph* g = find(&graphs_and_mutex::made, handle);
  if (g == nullptr || total == nullptr) return remember(cudaErrorInvalidValue);
  const std::lock_guard lock(g->mutex);
  std::size_t seen = 0;
  for (std::size_t i = 0; i < g->tasks.size(); ++i) {
    if (g->tasks[i].kind() == node_kind::none) continue;
    if (nodes != nullptr && seen < *total) {
      nodes[seen] = reinterpret_cast<cudaGraphNode_t>(const_cast<task*>(&g->tasks[i]));
    }
    ++seen;
  }
  *total = seen;
  return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  FAKE_CUDA(cudaGraphNodeGetType);
  if (node == nullptr || type == nullptr) return remember(cudaErrorInvalidValue);
  switch (reinterpret_cast<const task*>(node)->kind()) {
    case node_kind::kernel: *type = cudaGraphNodeTypeKernel; return cudaSuccess;
    case node_kind::copy: *type = cudaGraphNodeTypeMemcpy; return cudaSuccess;
    case node_kind::set: *type = cudaGraphNodeTypeMemset; return cudaSuccess;
    case node_kind::host: *type = cudaGraphNodeTypeHost; return cudaSuccess;
    case node_kind::memory: *type = cudaGraphNodeTypeMemFree; return cudaSuccess;
    case node_kind::none: break;
  }
  return remember(cudaErrorInvalidValue);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  FAKE_CUDA(cudaGraphExecDestroy);
  auto* g = reinterpret_cast<graph*>(handle);
  {
    const std::lock_guard lock(all().mutex);
    if (all().executable.erase(g) == 0) return remember(cudaErrorInvalidValue);
  }
  --counts().graphs;
  g->release();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  FAKE_CUDA(cudaGraphDestroy);
  auto* g = reinterpret_cast<graph*>(handle);
  {
    const std::lock_guard lock(all().mutex);
    if (all().made.erase(g) == 0) return remember(cudaErrorInvalidValue);
  }
  --counts().graphs;
  g->release();
  return cudaSuccess;
}
