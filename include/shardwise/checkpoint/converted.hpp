// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/detail/converter.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// A source under the model's names; made by `converted`. A read asks the source only for what the box touches.
template <class Source>
class converted_source {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  converted_source(Source&& source, std::span<const conversion> rules) : source_(std::forward<Source>(source)) {
    std::vector<tensor_info> file;
    for (std::size_t i = 0; i < source_.size(); ++i) file.push_back(source_.info(i));
    const checkpoint::config* config = nullptr;
    if constexpr (requires { source_.config(); }) config = &source_.config();
    detail::converter work(file, config);
    for (const conversion& rule : rules) work.apply(rule);
    tensors_ = std::move(work).result();
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (!index_.add(tensors_[i].name, i)) {
        detail::raise(checkpoint_error("the checkpoint has ", detail::in_quotes(tensors_[i].name),
                                       " and also the tensors that are converted to it; leave one of them out"));
      }
    }
  }

  std::size_t size() const { return tensors_.size(); }
  tensor_info info(std::size_t i) const { return {tensors_[i].name, tensors_[i].type, tensors_[i].shape}; }
  /// The index of a parameter; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// The parts that a parameter was assembled of; none for a tensor of the file as it is.
  std::span<const part> parts(std::size_t i) const { return tensors_[i].parts; }
  /// See `tensor_source`.
  void read(std::size_t i, const box& what, const tensor_view& to) const {
    const detail::converted_tensor& t = tensors_[i];
    if (t.parts.empty()) return source_.read(t.tensor, what, to);
    detail::check_read(t.name, t.type, t.shape, what, to);
    for (const part& p : t.parts) read_part(p, what, to);
  }

  std::size_t bytes_read() const requires requires(const std::remove_reference_t<Source>& s) { s.bytes_read(); }
  { return source_.bytes_read(); }
  const checkpoint::config& config() const requires requires(const std::remove_reference_t<Source>& s) { s.config(); }
  { return source_.config(); }

 private:
  // What `p` and `what` have in common is a box of the tensor, and a part of `to` with some dims left out.
  void read_part(const part& p, const box& what, const tensor_view& to) const {
    box common = what;
    std::size_t first = 0;
    for (std::size_t d = 0; d < what.offset.dims(); ++d) {
      const std::size_t begin = std::max(p.at.offset[d], what.offset[d]);
      const std::size_t end = std::min(p.at.offset[d] + p.at.extent[d], what.offset[d] + what.extent[d]);
      if (begin >= end) return;
      common.offset[d] = begin;
      common.extent[d] = end - begin;
      first += (begin - what.offset[d]) * to.strides[d];
    }
    box from;
    tensor_view target;
    target.data = static_cast<std::byte*>(to.data) + first * size_of(to.type);
    target.type = to.type;
    for (std::size_t d = 0; d < p.from.dims(); ++d) {
      const std::size_t axis = p.axis[d];
      from.offset.push(p.from[d] + common.offset[axis] - p.at.offset[axis]);
      from.extent.push(common.extent[axis]);
      target.strides[d] = to.strides[axis];
    }
    target.shape = from.extent;
    source_.read(p.tensor, from, target);
  }

  Source source_;
  std::vector<detail::converted_tensor> tensors_;
  detail::name_index index_;
};

/// `source` under the model's names: what `rules` take is assembled, all else keeps its name. An lvalue is referred to
/// and must outlive the result; an rvalue moves into it. Names are checked at once, nothing is read. Throws
/// `checkpoint_error` for a tensor that is missing or unlike the others, by name, and `plan_error` for a rule that
/// makes no sense.
template <class Source>
requires tensor_source<std::remove_cvref_t<Source>> converted_source<Source> converted(
    Source&& source, std::span<const conversion> rules = default_conversions()) {
  return converted_source<Source>(std::forward<Source>(source), rules);
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
