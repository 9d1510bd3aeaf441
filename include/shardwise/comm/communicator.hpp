// SPDX-License-Identifier: Apache-2.0
// What shardwise asks of a group of ranks: one concept per capability, so that an engine can replace just one.
//
// All calls are made by every rank of the communicator, in the same order, each from the thread that owns the rank.
// Buffers are pointers and counts in elements of a dtype, so that any engine's tensor fits.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>

#include "shardwise/model/dtype.hpp"
#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {

/// The stream of ranks that compute on the host: the work is done when the call returns.
struct host_stream {};

/// `rank()` in [0, size()), `size()`, and `barrier(stream)`: returns when every rank has called it.
template <class C>
concept communicator = requires(C& comm, const C& seen, typename C::stream_type stream) {
  { seen.rank() } -> std::same_as<int>;
  { seen.size() } -> std::same_as<int>;
  comm.barrier(stream);
};

/// `all_reduce(send, recv, count, type, op, stream)`: `recv` [count] becomes the reduction of all ranks' `send`
/// [count]. `send == recv` is allowed. Throws `comm_error` where ranks disagree, or one is gone; so do all below.
template <class C>
concept can_all_reduce = communicator<C> && requires(C& comm, const void* send, void* recv, std::size_t count,
                                                     dtype type, reduction op, typename C::stream_type stream) {
  comm.all_reduce(send, recv, count, type, op, stream);
};

/// `all_gather(send, recv, count, type, stream)`: `recv` [size * count] becomes the ranks' `send` [count] in rank
/// order. `send == recv + rank * count` (in elements) is allowed.
template <class C>
concept can_all_gather = communicator<C> &&
    requires(C& comm, const void* send, void* recv, std::size_t count, dtype type, typename C::stream_type stream) {
  comm.all_gather(send, recv, count, type, stream);
};

/// `gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, stream)`: rank r holds [rows,
/// columns[r]] with rows `send_stride` elements apart; its columns go to columns sum(columns[:r])... of `recv`, whose
/// rows are `recv_stride` elements apart: straight into the strided destination, and nothing else of `recv` is written.
/// Counts may be unequal, and zero. `send == recv + sum(columns[:rank])` (in elements) with `send_stride ==
/// recv_stride` is allowed; for one row, whatever the strides.
template <class C>
concept can_gather_last_dim = communicator<C> &&
    requires(C& comm, const void* send, void* recv, std::size_t n, std::span<const std::size_t> columns, dtype type,
             typename C::stream_type stream) {
  comm.gather_last_dim(send, n, recv, n, n, columns, type, stream);
};

/// `reduce_scatter(send, recv, count, type, op, stream)`: `recv` [count] becomes piece `rank` of the reduction of all
/// ranks' `send` [size * count]. `recv == send + rank * count` (in elements) is allowed.
template <class C>
concept can_reduce_scatter = communicator<C> && requires(C& comm, const void* send, void* recv, std::size_t count,
                                                         dtype type, reduction op, typename C::stream_type stream) {
  comm.reduce_scatter(send, recv, count, type, op, stream);
};

/// `broadcast(data, count, type, root, stream)`: `data` [count] becomes rank `root`'s.
template <class C>
concept can_broadcast = communicator<C> &&
    requires(C& comm, void* data, std::size_t count, dtype type, int root, typename C::stream_type stream) {
  comm.broadcast(data, count, type, root, stream);
};

/// `all_to_all(send, send_counts, recv, recv_counts, type, stream)`: piece r of `send`, `send_counts[r]` elements, goes
/// to rank r; piece r of `recv` comes from it. Pieces follow each other in rank order, without gaps.
template <class C>
concept can_all_to_all = communicator<C> &&
    requires(C& comm, const void* send, void* recv, std::span<const std::size_t> counts, dtype type,
             typename C::stream_type stream) {
  comm.all_to_all(send, counts, recv, counts, type, stream);
};

/// `split(color, key)`: a communicator of the ranks that gave the same color, in the order of (key, old rank). Every
/// rank of the old one calls it.
template <class C>
concept can_split = communicator<C> && requires(C& comm, int color, int key) {
  { comm.split(color, key) } -> communicator;
};

/// `in_module(path)`: the next collectives are of this module, until another is said; "" is none. The text lives until
/// then. No collective, and of no meaning but to who watches: what has no use for it, has it not.
template <class C>
concept takes_module = communicator<C> && requires(C& comm, std::string_view path) {
  comm.in_module(path);
};

/// All collectives.
template <class C>
concept full_communicator = can_all_reduce<C> && can_all_gather<C> && can_gather_last_dim<C> && can_reduce_scatter<C> &&
    can_broadcast<C> && can_all_to_all<C> && can_split<C>;

}  // namespace v0
}  // namespace shardwise
