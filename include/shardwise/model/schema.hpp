// SPDX-License-Identifier: Apache-2.0
// The parameter paths of a described model, known at compile time. A container of layers is one `*`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shardwise/model/describe.hpp"
#include "shardwise/plan/path.hpp"

namespace shardwise {
inline namespace v0 {

/// The refusal of a member whose type says neither what it is made of nor that it is a parameter.
template <class Type, class Field>
struct this_member_is_neither_described_nor_a_parameter {
  static_assert(
      described<Type>,
      "shardwise: this_member_is_neither_described_nor_a_parameter<type, field<&owner::member>>: describe the type "
      "(SHARDWISE_MEMBERS), or say template <> inline constexpr bool shardwise::is_parameter<type> = true");
};

namespace detail {
inline constexpr std::uint16_t no_parent = 0xffff;

struct node {
  segment name;
  std::uint16_t parent = no_parent;
  bool shared = false;  // a module that several kinds have
};
inline constexpr segment each{"*", 1};
template <class Field>
inline constexpr segment segment_of{Field::name.data(), Field::name.size()};
struct the_model_itself {};

template <class Sink>
struct walker {
  Sink& sink;

  template <class Field, class T>
  constexpr void visit(std::uint16_t parent, const segment& name) {
    if constexpr (is_parameter<std::remove_const_t<T>>) {
      sink.parameter(parent, name);
    } else if constexpr (described<T>) {
      fields(typename describe<T>::type{}, sink.module(parent, name));
    } else if constexpr (holds<T>) {
      if constexpr (holder<T>::repeats) {
        held<Field>(static_cast<typename holder<T>::type*>(nullptr), sink.module(parent, name), each);
      } else {
        held<Field>(static_cast<typename holder<T>::type*>(nullptr), parent, name);
      }
    } else {
      (void)this_member_is_neither_described_nor_a_parameter<T, Field>{};
    }
  }
  template <class Field, class... T>
  constexpr void held(one_of<T...>*, std::uint16_t parent, const segment& name) {
    (visit<Field, T>(parent, name), ...);
  }
  template <class Field, class T>
  constexpr void held(T*, std::uint16_t parent, const segment& name) {
    visit<Field, T>(parent, name);
  }
  template <class... Field>
  constexpr void fields(members<Field...>, [[maybe_unused]] std::uint16_t parent) {
    (visit<Field, typename Field::type>(parent, segment_of<Field>), ...);
  }
};

struct counter {
  std::size_t parameters = 0, modules = 0;
  constexpr void parameter(std::uint16_t, const segment&) { ++parameters; }
  constexpr std::uint16_t module(std::uint16_t, const segment&) { return static_cast<std::uint16_t>(modules++); }
};
template <class Model>
consteval counter count_members() {
  counter c;
  walker<counter>{c}.template visit<the_model_itself, Model>(no_parent, segment{});
  return c;
}
}  // namespace detail

/// A tree of names: a parameter or a module is a name under its parent, and module 0 is the model. What several kinds
/// of a layer share is there once. `P` and `Q` are upper bounds.
template <std::size_t P, std::size_t Q>
struct schema_of {
  detail::node parameters[P + 1]{};
  detail::node modules[Q + 1]{};
  std::size_t parameter_count = 0, module_count = 0;

  constexpr void parameter(std::uint16_t parent, const detail::segment& name) {
    if (parent != detail::no_parent && modules[parent].shared) {
      for (std::size_t i = 0; i < parameter_count; ++i) {
        if (parameters[i].parent == parent && detail::same(parameters[i].name, name)) return;
      }
    }
    parameters[parameter_count++] = {name, parent};
  }
  constexpr std::uint16_t module(std::uint16_t parent, const detail::segment& name) {
    if (parent != detail::no_parent) {
      for (std::size_t i = parent + std::size_t{1}; i < module_count; ++i) {
        if (modules[i].parent != parent || !detail::same(modules[i].name, name)) continue;
        modules[i].shared = true;
        return static_cast<std::uint16_t>(i);
      }
    }
    modules[module_count] = {name, parent};
    return static_cast<std::uint16_t>(module_count++);
  }

  constexpr detail::segments parameter_path(std::size_t i) const { return path_of(parameters[i]); }
  constexpr detail::segments module_path(std::size_t i) const { return path_of(modules[i]); }
  /// Parameters first, then modules.
  constexpr detail::segments path(std::size_t i) const {
    return i < parameter_count ? parameter_path(i) : module_path(i - parameter_count);
  }

 private:
  constexpr detail::segments path_of(const detail::node& n) const {
    detail::segments s;
    append(n, s);
    return s;
  }
  constexpr void append(const detail::node& n, detail::segments& out) const {
    if (n.parent == detail::no_parent) return;
    append(modules[n.parent], out);
    out.push(n.name, n.name.view());
  }
};

namespace detail {
template <class Model>
consteval auto make_schema() {
  constexpr counter n = count_members<Model>();
  schema_of<n.parameters, n.modules> s;
  walker<decltype(s)>{s}.template visit<the_model_itself, Model>(no_parent, segment{});
  return s;
}
}  // namespace detail

/// The schema of a described model: `schema<llama>.parameter_count`.
template <class Model>
inline constexpr auto schema = detail::make_schema<Model>();

}  // namespace v0
}  // namespace shardwise
