// SPDX-License-Identifier: Apache-2.0
// Variables of the environment, read strictly.
#pragma once
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "shardwise/comm/detail/rendezvous_words.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// All of `text` is a decimal number; else false.
inline bool read_number(std::string_view text, std::int64_t& x) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), x);
  return failed == std::errc() && end == text.data() + text.size();
}

/// Refers to `lookup`, which is called as std::getenv is. An empty variable counts as one that is not set.
class environment_reader {
 public:
  template <class Lookup>
  explicit environment_reader(const Lookup& lookup)
      : lookup_(&lookup),
        call_([](const void* l, const char* name) -> const char* { return (*static_cast<const Lookup*>(l))(name); }) {}

  bool has(const char* name) const { return name != nullptr && !text(name).empty(); }
  std::string text(const char* name) const {
    const char* value = call_(lookup_, name);
    return value == nullptr ? "" : value;
  }
  /// In [least, most], else an error that names the variable; `bound_by` names the one that `most` comes from.
  int number(const char* name, int least, int most, const char* bound_by = nullptr) const {
    return static_cast<int>(wide_number(name, least, most, bound_by));
  }
  std::int64_t wide_number(const char* name, std::int64_t least, std::int64_t most,
                           const char* bound_by = nullptr) const {
    const std::string value = text(name);
    std::int64_t x = 0;
    if (!read_number(value, x)) {
      raise(comm_error("environment: ", name, " is '", printable(value), "', which is no number"));
    }
    if (x >= least && x <= most) return x;
    comm_error e("environment: ", name, " is ", x, ", and must be from ", least, " to ", most);
    if (bound_by != nullptr) {
      e.append(", as ");
      e.append(bound_by);
      e.append(" is ");
      e.append(printable(text(bound_by)));
    }
    raise(e);
  }
  /// The first that is set, or null.
  const char* first_of(std::span<const char* const> names) const {
    for (const char* name : names) {
      if (has(name)) return name;
    }
    return nullptr;
  }
  const char* first_of(std::initializer_list<const char*> names) const {
    return first_of(std::span(names.begin(), names.size()));
  }

 private:
  const void* lookup_;
  const char* (*call_)(const void*, const char*);
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
