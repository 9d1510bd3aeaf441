// SPDX-License-Identifier: Apache-2.0
// A communicator that is another in everything: the base of those that differ in one capability.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/detail/counts.hpp"
#include "shardwise/comm/operation.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
/// What a plain forwarding communicator does around a call: nothing.
struct straight {
  template <class Bytes, class Call>
  decltype(auto) operator()(operation, int, const Bytes&, const Call& call) const {
    return call();
  }
};
}  // namespace detail

/// Has the capabilities of `Base`, no more and no less. `Base` is `C&`, which the caller keeps alive, or `C`, which is
/// kept here. To replace a capability derive from this and declare the function of that name, which hides this one:
/// see with_all_reduce.hpp.
///
/// `Around` makes every call: `around(operation, rank, bytes, call)`, where `bytes()` are those of the whole result on
/// one rank. all_reduce, broadcast and reduce_scatter: count elements; all_gather: size * count; gather_last_dim: rows
/// * sum(columns); all_to_all: sum(recv_counts); barrier and split: none. See observer.hpp.
template <class Base, class Around = detail::straight>
class forwarding_communicator {
 public:
  using base_type = std::remove_reference_t<Base>;
  static_assert(communicator<base_type>);
  using stream_type = typename base_type::stream_type;

  explicit forwarding_communicator(Base base, Around around = {})
      : around_(std::move(around)), base_(static_cast<Base&&>(base)) {}

  base_type& base() { return base_; }
  const base_type& base() const { return base_; }

  int rank() const { return base_.rank(); }
  int size() const { return base_.size(); }
  void in_module(std::string_view module) requires takes_module<base_type> { base_.in_module(module); }

  void barrier(stream_type stream) {
    make(operation::barrier, no_bytes, [&] { base_.barrier(stream); });
  }

  void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                  stream_type stream) requires can_all_reduce<base_type> {
    make(operation::all_reduce, bytes_of(count, type), [&] { base_.all_reduce(send, recv, count, type, op, stream); });
  }

  void all_gather(const void* send, void* recv, std::size_t count, dtype type,
                  stream_type stream) requires can_all_gather<base_type> {
    make(
        operation::all_gather, [&] { return static_cast<std::size_t>(size()) * count * size_of(type); },
        [&] { base_.all_gather(send, recv, count, type, stream); });
  }

  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       std::span<const std::size_t> columns, dtype type,
                       stream_type stream) requires can_gather_last_dim<base_type> {
    make(
        operation::gather_last_dim, [&] { return rows * detail::sum_of_counts(columns) * size_of(type); },
        [&] { base_.gather_last_dim(send, send_stride, recv, recv_stride, rows, columns, type, stream); });
  }

  void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                      stream_type stream) requires can_reduce_scatter<base_type> {
    make(operation::reduce_scatter, bytes_of(count, type),
         [&] { base_.reduce_scatter(send, recv, count, type, op, stream); });
  }

  void broadcast(void* data, std::size_t count, dtype type, int root,
                 stream_type stream) requires can_broadcast<base_type> {
    make(operation::broadcast, bytes_of(count, type), [&] { base_.broadcast(data, count, type, root, stream); });
  }

  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type,
                  stream_type stream) requires can_all_to_all<base_type> {
    make(
        operation::all_to_all, [&] { return detail::sum_of_counts(recv_counts) * size_of(type); },
        [&] { base_.all_to_all(send, send_counts, recv, recv_counts, type, stream); });
  }

  auto split(int color, int key) requires can_split<base_type> {
    return make(operation::split, no_bytes, [&] { return base_.split(color, key); });
  }

 protected:
  [[no_unique_address]] Around around_;

 private:
  template <class Bytes, class Call>
  decltype(auto) make(operation op, const Bytes& bytes, const Call& call) {
    return around_(op, rank(), bytes, call);
  }
  static std::size_t no_bytes() { return 0; }
  static auto bytes_of(std::size_t count, dtype type) {
    return [=] { return count * size_of(type); };
  }
  Base base_;
};

}  // namespace v0
}  // namespace shardwise
