// SPDX-License-Identifier: Apache-2.0
// Whether the calls of all ranks are one collective.
#pragma once
#include <cstddef>
#include <optional>
#include <span>

#include "shardwise/comm/detail/collective_place.hpp"
#include "shardwise/comm/detail/in_process_call.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The sentence for the first two ranks that do not match, or nothing. `call_of(r)` is what rank r brought; `members`
/// are the ranks' names in the sentence.
template <class CallOf>
std::optional<comm_error> mismatch_of(int ranks, const CallOf& call_of, std::span<const int> members,
                                      const collective_place& place) {
  const auto member_of = [&](int r) { return members[static_cast<std::size_t>(r)]; };
  for (int r = 1; r < ranks; ++r) {
    if (same(call_of(0), call_of(r))) continue;
    comm_error text("rank ", member_of(0), " called ");
    words_of(text, call_of(0));
    text.append(", rank ");
    text.append(member_of(r));
    text.append(" called ");
    words_of(text, call_of(r));
    place.number_of(text);
    text.append(": every rank must call the same collectives in the same order");
    return text;
  }
  if (place.op != operation::all_to_all) return std::nullopt;
  for (int from = 0; from < ranks; ++from) {
    for (int to = 0; to < ranks; ++to) {
      const std::size_t sent = call_of(from).send_counts[static_cast<std::size_t>(to)];
      const std::size_t expected = call_of(to).recv_counts[static_cast<std::size_t>(from)];
      if (sent == expected) continue;
      comm_error text("rank ", member_of(from), " sends ", sent, " ");
      append_dtype(text, call_of(from).type);
      text.append(" to rank ");
      text.append(member_of(to));
      text.append(", which expects ");
      text.append(expected);
      text.append(", in ");
      place.words_of(text);
      text.append(": recv_counts[from] of a rank must be send_counts[to] of the other");
      return text;
    }
  }
  return std::nullopt;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
