// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/checkpoint/detail/byte_counter.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {

/// Tensors that are in memory already: from an engine's own reader, or weights sent by a trainer. Owns names, not
/// elements, which are only read; whoever adds a tensor keeps its memory alive and unchanged while it is read.
class memory_source {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  /// Adds a tensor, which may be strided. Throws `checkpoint_error` for a name that is there already, and for a tensor
  /// with elements but no memory.
  memory_source& add(std::string_view name, const tensor_view& tensor) {
    if (tensor.data == nullptr && tensor.elements() != 0) {
      detail::raise(checkpoint_error("the tensor ", detail::in_quotes(name), " in memory has no memory"));
    }
    const std::string_view kept = names_.keep(name);
    if (!index_.add(kept, tensors_.size())) {
      detail::raise(
          checkpoint_error("the tensor ", detail::in_quotes(name), " is in memory twice; add each name once"));
    }
    tensors_.push({kept, tensor});
    return *this;
  }

  std::size_t size() const { return tensors_.size(); }
  tensor_info info(std::size_t i) const { return {tensors_[i].name, tensors_[i].view.type, tensors_[i].view.shape}; }
  /// The index of a tensor; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// See `tensor_source`.
  void read(std::size_t i, const box& what, const tensor_view& to) const {
    const auto& [name, view] = tensors_[i];
    detail::check_read(name, view.type, view.shape, what, to);
    read_.add(to.elements() * size_of(view.type));
    if (to.elements() == 0) return;
    std::size_t first = 0;
    for (std::size_t d = 0; d < view.shape.dims(); ++d) first += what.offset[d] * view.strides[d];
    const auto* data = static_cast<const std::byte*>(view.data);
    detail::copy_strided(data + first * size_of(view.type), view.type, view.strides, to);
  }
  std::size_t bytes_read() const { return read_.value(); }

 private:
  struct named_view {
    std::string_view name;
    tensor_view view;
  };
  detail::text_store names_;
  detail::list<named_view> tensors_;
  detail::name_index index_;
  detail::byte_counter read_;
};

}  // namespace v0
}  // namespace shardwise
