// SPDX-License-Identifier: Apache-2.0
// The parameters of a described model object: its members, by the names that its schema gives them.
#pragma once
#include <cstddef>
#include <string_view>
#include <type_traits>

#include "shardwise/model/describe.hpp"
#include "shardwise/model/schema.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/model/tree.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
/// The dotted path of where a walk stands.
class path_text {
 public:
  std::string_view view() const { return {text_, size_}; }
  std::size_t size() const { return size_; }
  void cut_back_to(std::size_t size) { size_ = size; }
  void push(std::string_view segment) {
    if (size_ + segment.size() + 1 > sizeof text_) {
      raise(plan_error("the path of a parameter below '", view(), "' is longer than ", sizeof text_, " bytes"));
    }
    if (size_ != 0) text_[size_++] = '.';
    __builtin_memcpy(text_ + size_, segment.data(), segment.size());
    size_ += segment.size();
  }
  void push(std::size_t number) {
    const error digits(number);
    push(digits.text());
  }

 private:
  char text_[1024];
  std::size_t size_ = 0;
};

template <class F>
struct object_walker {
  F& f;
  path_text path{};

  template <class T>
  void visit_object(T& object) {
    using type = std::remove_const_t<T>;
    if constexpr (is_parameter<type>) {
      f(path.view(), object);
    } else if constexpr (described<type>) {
      members_of(object, typename describe<type>::type{});
    } else if constexpr (std::is_array_v<type> || sequence<type>) {
      std::size_t i = 0;
      for (auto& element : object) {
        const std::size_t here = path.size();
        path.push(i++);
        visit_object(element);
        path.cut_back_to(here);
      }
    } else if constexpr (variant_like<type>) {
      visit([&](auto& kind) { visit_object(kind); }, object);  // the variant's own, found by its argument
    } else if constexpr (holds<type>) {
      if (object) visit_object(*object);  // an optional or a pointer; an empty one has no parameters
    } else {
      (void)this_member_is_neither_described_nor_a_parameter<type, the_model_itself>{};
    }
  }
  template <class T, class... Field>
  void members_of(T& object, members<Field...>) {
    (member(object.*Field::pointer, Field::name), ...);
  }
  template <class T>
  void member(T& object, std::string_view name) {
    const std::size_t here = path.size();
    path.push(name);
    visit_object(object);
    path.cut_back_to(here);
  }
};
}  // namespace detail

/// Calls `f(std::string_view name, Tensor& parameter)` for every parameter of a described model, in the order of its
/// description. The names are those of its schema, with numbers in place of the stars; valid during the call.
template <class Model, class F>
void visit_parameters(Model& model, F&& f) {
  detail::object_walker<std::remove_reference_t<F>>{f}.visit_object(model);
}

/// The tree of a described model whose parameters have their whole shapes. Needs `tensor_traits` of its tensors.
template <described Model>
tree tree_of(Model& model) {
  tree t;
  visit_parameters(model, [&]<class Tensor>(std::string_view name, Tensor& parameter) {
    const tensor_view v = tensor_traits<std::remove_const_t<Tensor>>::view(parameter);
    t.add(name, v.type, v.shape);
  });
  return t;
}

}  // namespace v0
}  // namespace shardwise
