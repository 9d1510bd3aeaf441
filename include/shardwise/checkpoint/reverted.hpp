// SPDX-License-Identifier: Apache-2.0
// The way back: the tensors of the checkpoint out of the model's parameters, to save them as they were found.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/detail/read_part.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// A source of the checkpoint's tensors; made by `reverted`. A read asks the model only for what the box touches.
template <class Model>
class reverted_source {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  template <class Source>
  reverted_source(Model&& model, const converted_source<Source>& like) : model_(std::forward<Model>(model)) {
    detail::name_index names;
    for (std::size_t i = 0; i < model_.size(); ++i) names.add(model_.info(i).name, i);
    const auto& file = like.source();
    std::vector<std::size_t> found(file.size(), 0);
    for (std::size_t t = 0; t < file.size(); ++t) {
      const tensor_info info = file.info(t);
      tensors_.push_back({std::string(info.name), info.type, info.shape, 0, {}, false, true});
    }
    for (std::size_t i = 0; i < like.size(); ++i) {
      const tensor_info info = like.info(i);
      const std::size_t at = names.find(info.name);
      if (at == detail::name_index::npos) {
        detail::raise(checkpoint_error("the model does not have ", detail::in_quotes(info.name),
                                       ", of which tensors of the checkpoint are made"));
      }
      const tensor_info own = model_.info(at);
      if (!(own.shape == info.shape)) {
        detail::raise(checkpoint_error(detail::in_quotes(info.name), " has the shape ", detail::shape_text(own.shape),
                                       " in the model, and ", detail::shape_text(info.shape),
                                       " as the checkpoint was read"));
      }
      if (!like.assembled(i))
        add(like.first_tensor(i), at, own.type, detail::assembly::whole(at, own.shape).parts[0], found);
      for (const part& p : like.parts(i)) add(p.tensor, at, own.type, back(p, at, tensors_[p.tensor].shape), found);
    }
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      if (found[t] == tensors_[t].shape.elements()) continue;
      detail::raise(checkpoint_error(detail::in_quotes(tensors_[t].name), " is not in the model as a whole: of its ",
                                     tensors_[t].shape.elements(), " elements the conversions took ", found[t]));
    }
    for (std::size_t t = 0; t < tensors_.size(); ++t) index_.add(tensors_[t].name, t);
  }

  std::size_t size() const { return tensors_.size(); }
  tensor_info info(std::size_t i) const { return {tensors_[i].name, tensors_[i].type, tensors_[i].shape}; }
  /// The index of a tensor; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// See `tensor_source`.
  void read(std::size_t i, const box& what, const tensor_view& to) const {
    const detail::converted_tensor& t = tensors_[i];
    detail::check_read(t.name, t.type, t.shape, what, to);
    for (const part& p : t.parts) detail::read_part(model_, p, what, to);
  }

 private:
  // The same elements, seen from the checkpoint's tensor. A dim of the parameter that is none of the tensor's stays at
  // one element.
  static part back(const part& p, std::size_t parameter, const tensor_shape& shape) {
    part b;
    b.tensor = parameter;
    for (std::size_t d = 0; d < max_dims; ++d) {
      b.step[d] = d < shape.dims() ? p.every[d] : 1;
      b.every[d] = d < p.at.offset.dims() ? p.step[d] : 1;
      b.axis[d] = part::no_axis;
    }
    b.from = p.at.offset;
    for (std::size_t d = 0; d < shape.dims(); ++d) {
      const bool seen = p.axis[d] != part::no_axis;
      b.at.offset.push(p.from[d]);
      b.at.extent.push(seen ? p.at.extent[p.axis[d]] : 1);
      if (seen) b.axis[p.axis[d]] = d;
    }
    return b;
  }

  void add(std::size_t t, std::size_t parameter, dtype type, const part& p, std::vector<std::size_t>& found) {
    detail::converted_tensor& tensor = tensors_[t];
    if (tensor.parts.empty()) tensor.type = type;
    if (tensor.type != type) {
      detail::raise(checkpoint_error(detail::in_quotes(tensor.name), " is made of ",
                                     detail::in_quotes(model_.info(parameter).name), " and others, which are ",
                                     name_of(type), " and ", name_of(tensor.type), " in the model"));
    }
    tensor.parts.push_back(p);
    found[t] += p.at.elements();
  }

  Model model_;
  std::vector<detail::converted_tensor> tensors_;
  detail::name_index index_;
};

/// The model's parameters (a source under the model's names: a trainer's tensors, say) as the tensors of the checkpoint
/// that `like` converted: its names and shapes, and the model's dtypes, box by box with no whole in between. An lvalue
/// `model` is referred to and must outlive the result; `like` may go. Throws `checkpoint_error` for a parameter that is
/// missing or has another shape, and for a tensor that the conversions did not take whole.
template <class Model, class Source>
requires tensor_source<std::remove_cvref_t<Model>> reverted_source<Model> reverted(
    Model&& model, const converted_source<Source>& like) {
  return reverted_source<Model>(std::forward<Model>(model), like);
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
