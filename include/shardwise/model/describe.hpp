// SPDX-License-Identifier: Apache-2.0
// How a C++ type says which parameters and modules it is made of.
#pragma once
#include <string_view>
#include <type_traits>

#include "shardwise/detail/fixed_string.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
template <auto Pointer>
consteval const char* signature() {
  return __PRETTY_FUNCTION__;
}
// The compiler's spelling ends in `&type::member]`. A trailing underscore is the engine's habit, not the parameter's
// name.
template <auto Pointer>
consteval std::string_view member_name() {
  std::string_view s = signature<Pointer>();
  s.remove_suffix(1);
  s = s.substr(s.rfind("::") + 2);
  if (s.ends_with('_')) s.remove_suffix(1);
  return s;
}
struct name_probe {
  int known;
};
static_assert(
    member_name<&name_probe::known>() == "known",
    "shardwise: member names cannot be read on this compiler; name each field: field<&type::member, \"name\">");

template <auto Pointer>
inline constexpr auto name_of_member = fixed_string<member_name<Pointer>().size()>(member_name<Pointer>());
template <class T>
struct member_traits;
template <class Class, class T>
struct member_traits<T Class::*> {
  using owner = Class;
  using type = T;
};
}  // namespace detail

/// One member of a described type: `field<&linear::weight_>` is called "weight"; `field<&linear::w, "weight">` as said.
template <auto Pointer, fixed_string Name = detail::name_of_member<Pointer>>
struct field {
  static constexpr auto text = Name;
  static constexpr std::string_view name = text.view();
  static constexpr auto pointer = Pointer;
  using owner = typename detail::member_traits<std::remove_const_t<decltype(Pointer)>>::owner;
  using type = typename detail::member_traits<std::remove_const_t<decltype(Pointer)>>::type;
};

/// The members of a described type, in order.
template <class... Fields>
struct members {};

namespace detail {
// A class that has grown beyond the base whose description it inherits has members that nobody described.
template <class T, class... Field>
constexpr bool describes_all_of(members<Field...>) {
  return sizeof...(Field) == 0 || (std::is_same_v<typename Field::owner, T> || ...) ||
         ((sizeof(T) == sizeof(typename Field::owner)) || ...);
}
}  // namespace detail

/// The refusal of a class that has only the description of its base, and more members than that.
template <class T>
struct the_description_is_inherited_and_misses_members {
  static_assert(detail::describes_all_of<T>(decltype(T::shardwise_members()){}),
                "shardwise: the_description_is_inherited_and_misses_members<type>: describe the type itself "
                "(SHARDWISE_MEMBERS with its own and its base's members), or specialise shardwise::describe<type>");
};

/// The description of `T`: specialise it for a type that is not yours, `using type = members<field<&T::a>, ...>;`.
/// A type of one's own says it inside, where private members can be named:
/// `static consteval auto shardwise_members() { return members<field<&T::a_>, ...>{}; }`.
template <class T>
struct describe;
template <class T>
requires requires { T::shardwise_members(); }
struct describe<T> : the_description_is_inherited_and_misses_members<T> {
  using type = decltype(T::shardwise_members());
};
template <class T>
concept described = requires {
  typename describe<T>::type;
};

/// An engine says it once of its tensor type: `template <> inline constexpr bool shardwise::is_parameter<tensor> =
/// true;`.
template <class T>
inline constexpr bool is_parameter = false;

/// A member that may be one of several kinds, such as a layer that is attention or a linear recurrence.
template <class... T>
struct one_of {};

/// What a member holds. Containers, optionals, pointers and variants are recognised by their shape, so that none of
/// their headers is needed here; specialise it for a holder of one's own: `type` is what it holds (or a `one_of`), and
/// `repeats` says whether it holds any number of them, each a `*` in the path.
template <class T>
struct holder;

namespace detail {
template <class T>
concept sequence = requires(T& t) {
  typename T::value_type;
  t.begin();
  t.size();
};
template <class T>
concept optional_like = requires(T& t) {
  typename T::value_type;
  t.has_value();
};
template <class T>
concept pointer_like = requires(T& t) {
  typename T::element_type;
  t.get();
};
template <class T>
concept variant_like = requires(T& t) {
  t.valueless_by_exception();
};
}  // namespace detail

template <detail::sequence T>
struct holder<T> {
  using type = typename T::value_type;
  static constexpr bool repeats = true;
};
template <class T, std::size_t N>
struct holder<T[N]> {
  using type = T;
  static constexpr bool repeats = true;
};
template <detail::optional_like T>
struct holder<T> {
  using type = typename T::value_type;
  static constexpr bool repeats = false;
};
template <detail::pointer_like T>
struct holder<T> {
  using type = typename T::element_type;
  static constexpr bool repeats = false;
};
template <class T>
struct holder<T*> {
  using type = T;
  static constexpr bool repeats = false;
};
template <template <class...> class Variant, class... T>
requires detail::variant_like<Variant<T...>>
struct holder<Variant<T...>> {
  using type = one_of<T...>;
  static constexpr bool repeats = false;
};
template <class T>
concept holds = requires {
  typename holder<T>::type;
};

}  // namespace v0
}  // namespace shardwise
