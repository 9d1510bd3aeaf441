// SPDX-License-Identifier: Apache-2.0
// The operations of a communicator, by name: for errors and for statistics.
#pragma once
#include <cstddef>
#include <string_view>

namespace shardwise {
inline namespace v0 {

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // g++ 12 takes a scoped enumerator to shadow the style of that name
#endif
/// What a communicator can be asked for.
enum class operation : unsigned char {
  barrier,
  all_reduce,
  all_gather,
  gather_last_dim,
  reduce_scatter,
  broadcast,
  all_to_all,
  split
};
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

inline constexpr std::size_t operation_count = 8;

/// The name of the member function: "all_reduce".
constexpr std::string_view name_of(operation op) {
  constexpr std::string_view names[operation_count] = {"barrier",        "all_reduce", "all_gather", "gather_last_dim",
                                                       "reduce_scatter", "broadcast",  "all_to_all", "split"};
  return names[static_cast<std::size_t>(op)];
}

}  // namespace v0
}  // namespace shardwise
