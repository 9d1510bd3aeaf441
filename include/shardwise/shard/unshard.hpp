// SPDX-License-Identifier: Apache-2.0
// A whole tensor in host memory to a rank's local tensor, and back: what a loader does with a file, for what is in
// memory.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/model/tensor_view.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {

/// The elements of `t` in `b`, at their place.
inline tensor_view inside(tensor_view t, const box& b) {
  std::size_t at = 0;
  for (std::size_t d = 0; d < b.extent.dims(); ++d) at += b.offset[d] * t.strides[d];
  t.data = static_cast<std::byte*>(t.data) + at * size_of(t.type);
  t.shape = b.extent;
  return t;
}

/// Copies between two views of the same shape and type, whatever their strides.
inline void copy_elements(const tensor_view& from, const tensor_view& to) {
  if (to.elements() == 0) return;
  const std::size_t bytes = size_of(to.type), dims = to.shape.dims();
  // The last dims that are dense on both sides are one run of bytes.
  std::size_t run = bytes, outer = dims;
  for (std::size_t dense = 1; outer > 0; --outer) {
    const std::size_t d = outer - 1;
    if (to.shape[d] != 1 && (from.strides[d] != dense || to.strides[d] != dense)) break;
    dense *= to.shape[d];
    run = dense * bytes;
  }
  const auto* source = static_cast<const std::byte*>(from.data);
  auto* target = static_cast<std::byte*>(to.data);
  std::size_t at[max_dims] = {};
  for (;;) {
    std::size_t source_at = 0, target_at = 0;
    for (std::size_t d = 0; d < outer; ++d) {
      source_at += at[d] * from.strides[d];
      target_at += at[d] * to.strides[d];
    }
    __builtin_memcpy(target + target_at * bytes, source + source_at * bytes, run);
    std::size_t d = outer;
    while (d > 0 && ++at[d - 1] == to.shape[d - 1]) at[--d] = 0;
    if (d == 0) return;
  }
}

inline void append_shape(error& e, const tensor_shape& s) {
  e.append(std::string_view("["));
  for (std::size_t d = 0; d < s.dims(); ++d) {
    if (d != 0) e.append(std::string_view(", "));
    e.append(s[d]);
  }
  e.append(std::string_view("]"));
}

/// Throws unless `t` is what a whole or a local tensor of `p` has to be.
inline void check_fits(const sharded_parameter& p, std::string_view which, const tensor_view& t,
                       const tensor_shape& expected) {
  if (t.type == p.type && t.shape == expected) return;
  shard_error e("the ", which, " tensor of '", p.name, "' is ", name_of(t.type), " ");
  append_shape(e, t.shape);
  e.append(std::string_view(", and must be "));
  e.append(name_of(p.type));
  e.append(std::string_view(" "));
  append_shape(e, expected);
  raise(e);
}

/// `copy(part of whole, part of local)` for every slice of `rank`, in order.
template <class Copy>
void for_each_slice(const sharding& s, std::size_t i, int rank, const tensor_view& whole, const tensor_view& local,
                    Copy&& copy) {
  check_fits(s[i], "whole", whole, s[i].shape);
  check_fits(s[i], "local", local, s.local_shape(i, rank));
  const std::size_t dim = s[i].how.whole() ? 0 : static_cast<std::size_t>(s[i].how.dim);
  std::size_t begin = 0;
  for (const box& slice : s.slices_of(i, rank)) {
    box here = box::whole(slice.extent);
    if (slice.extent.dims() != 0) {
      here.offset[dim] = begin;
      begin += slice.extent[dim];
    }
    copy(inside(whole, slice), inside(local, here));
  }
}

}  // namespace detail

/// Copies what `rank` owns of parameter `i` from the `whole` tensor into its `local` one. Both lie in host memory, are
/// of the parameter's type, and have any strides. Throws `shard_error` where a type or a shape is another. Not a
/// collective.
inline void shard_tensor(const sharding& s, std::size_t i, int rank, const tensor_view& whole,
                         const tensor_view& local) {
  detail::for_each_slice(s, i, rank, whole, local,
                         [](const tensor_view& from, const tensor_view& to) { detail::copy_elements(from, to); });
}

/// The inverse: copies `rank`'s `local` tensor to where it lies in the `whole` one, and leaves the rest as it is.
inline void unshard_tensor(const sharding& s, std::size_t i, int rank, const tensor_view& local,
                           const tensor_view& whole) {
  detail::for_each_slice(s, i, rank, whole, local,
                         [](const tensor_view& to, const tensor_view& from) { detail::copy_elements(from, to); });
}

/// Puts the `whole` parameter `i` together from the local tensors of all `s.tp()` ranks, in rank order; of one that is
/// whole on each, rank 0's is taken.
inline void unshard(const sharding& s, std::size_t i, const tensor_view* locals, const tensor_view& whole) {
  const int ranks = s[i].how.whole() ? 1 : s.tp();
  for (int rank = 0; rank < ranks; ++rank) unshard_tensor(s, i, rank, locals[rank], whole);
}

}  // namespace v0
}  // namespace shardwise
