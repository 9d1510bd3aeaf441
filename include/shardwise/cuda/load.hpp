// SPDX-License-Identifier: Apache-2.0
// `load` into the memory of a device: the loader of checkpoint/load.hpp with another end.
#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <string_view>

#include "shardwise/checkpoint/load.hpp"
#include "shardwise/cuda/detail/strided_copy.hpp"
#include "shardwise/cuda/staging.hpp"

namespace shardwise {
inline namespace v0 {

namespace cuda {
namespace detail {

// The end of a load whose tensors are in a device's memory: see host_end.
class device_end {
 public:
  explicit device_end(staging& s) : staging_(s), room_(s.options().buffer_bytes) {
    const int current = current_device();
    if (current == s.device()) return;
    shardwise::detail::raise(checkpoint_error("device ", current, " is current, and the load is staged for device ",
                                              s.device(), "; nothing was loaded: call cudaSetDevice(", s.device(),
                                              ") first"));
  }

  void check(const sharded_parameter& p, const tensor_view& to) const {
    namespace sw = shardwise::detail;
    const std::string_view name = p.name;
    if (size_of(to.type) > room_) {
      sw::raise(checkpoint_error("an element of ", sw::in_quotes(name), " has ", size_of(to.type),
                                 " bytes, and a staging buffer ", room_, "; nothing was loaded"));
    }
    cudaPointerAttributes memory{};
    cuda::check(cudaPointerGetAttributes(&memory, to.data), "cudaPointerGetAttributes");
    if (memory.type == cudaMemoryTypeManaged) return;
    if (memory.type != cudaMemoryTypeDevice) {
      sw::raise(checkpoint_error("the engine's tensor for ", sw::in_quotes(name),
                                 " is in host memory, and a load with a stream is into a device's; nothing was "
                                 "loaded: load without a stream fills host memory"));
    }
    if (memory.device != staging_.device()) {
      sw::raise(checkpoint_error("the engine's tensor for ", sw::in_quotes(name), " is on device ", memory.device,
                                 ", and device ", staging_.device(),
                                 " is current; nothing was loaded: call "
                                 "cudaSetDevice(",
                                 memory.device, ") first"));
    }
  }
  void begin() { staging_.begin(); }
  template <tensor_source Source>
  void read(const Source& source, std::size_t tensor, const box& what, const tensor_view& to) {
    if (to.elements() != 0) cut(source, tensor, what, to, memory_order(to), 0);
  }
  void finish() { staging_.finish(); }

 private:
  // A piece of less is not worth the way to another thread.
  static constexpr std::size_t least_for_a_thread = std::size_t(256) << 10;

  static box part_of_box(const box& whole, std::size_t dim, std::size_t begin, std::size_t extent) {
    box part = whole;
    part.offset[dim] += begin;
    part.extent[dim] = extent;
    return part;
  }

  // As many rows at once as there is room for; a row that no buffer can hold is cut in its turn. The dims before
  // `level`, in the order of memory, are one element long.
  template <class Source>
  void cut(const Source& source, std::size_t tensor, const box& what, const tensor_view& to, const memory_order& order,
           std::size_t level) {
    while (level + 1 < to.shape.dims() && to.shape[order.dim[level]] == 1) ++level;
    const std::size_t dim = order.dim[level];
    const std::size_t rows = to.shape.dims() == 0 ? 1 : to.shape[dim];
    const std::size_t row = to.bytes() / rows;
    for (std::size_t begin = 0; begin < rows;) {
      std::size_t n = 1;
      if (row <= room_) {
        if (staging_.room() < row) staging_.next();
        n = std::min(rows - begin, staging_.room() / row);
      }
      const bool all = n == rows;
      const box piece = all ? what : part_of_box(what, dim, begin, n);
      const tensor_view target = all ? to : part_of(to, dim, begin, n);
      if (row <= room_) {
        bring(source, tensor, piece, target, order);
      } else {
        cut(source, tensor, piece, target, order, level + 1);
      }
      begin += n;
    }
  }

  // A piece for which there is room.
  template <class Source>
  void bring(const Source& source, std::size_t tensor, const box& what, const tensor_view& to,
             const memory_order& order) {
    const tensor_view dense = dense_like(to, order, staging_.take(to.bytes()));
    const std::size_t wanted = std::clamp<std::size_t>(to.bytes() / least_for_a_thread, 1, staging_.threads_.size());
    // Along the outermost dim that is long enough for all of them.
    std::size_t level = 0;
    while (level < to.shape.dims() && to.shape[order.dim[level]] < wanted) ++level;
    if (wanted == 1 || level == to.shape.dims()) {
      source.read(tensor, what, dense);
    } else {
      const std::size_t dim = order.dim[level], rows = to.shape[dim];
      staging_.threads_.run(wanted, [&](std::size_t part) {
        const std::size_t begin = rows * part / wanted, n = rows * (part + 1) / wanted - begin;
        source.read(tensor, part_of_box(what, dim, begin, n), part_of(dense, dim, begin, n));
      });
    }
    staging_.copying();
    copy_to_device(dense, order, to, staging_.stream());
  }

  staging& staging_;
  std::size_t room_;
};

}  // namespace detail
}  // namespace cuda

/// Fills tensors in the memory of the device that is current: `load` as it is for host memory, with the same checks,
/// errors, report and options, and `weights` gives views of device memory, with any strides. The source's bytes, cast
/// on the host, go through the pinned buffers of `staging` and on its stream, in order with the engine's own work:
/// kernels that come later on that stream see them.
///
/// Returns when they are on the device: it waits for its own copies (by events, with `staging_options::deadline`), and
/// never for the device. `progress` tells what has been read.
///
/// Refused before a byte is written, besides what `load` refuses: tensors in host memory or on another device
/// (`checkpoint_error`); a stream of another device, or one that is being captured (`cuda::error`). A source that fails
/// while reading, or a copy that fails, ends the load half done.
template <tensor_source Source, local_tensors Weights>
load_report load(const sharding& s, int rank, const Source& source, Weights&& weights, cuda::staging& staging,
                 const load_options& options = {}) {
  cuda::detail::device_end end(staging);
  detail::loader<Source> work(s, rank, source, options);
  work.check(weights, end);
  end.begin();
  const load_report report = work.read(end);
  end.finish();
  return report;
}

/// The same on the engine's stream, with buffers for this load alone.
template <tensor_source Source, local_tensors Weights, std::convertible_to<cuda::stream_ref> Stream>
load_report load(const sharding& s, int rank, const Source& source, Weights&& weights, const Stream& stream,
                 const load_options& options = {}) {
  cuda::staging staging{cuda::stream_ref(stream)};
  return load(s, rank, source, weights, staging, options);
}

}  // namespace v0
}  // namespace shardwise
