// SPDX-License-Identifier: Apache-2.0
// From the ranks of a job to the groups that one rank works in: data, pipeline, tensor and expert parallel.
#pragma once
#include <string_view>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {

/// How many ranks each kind of group has. dp * pp * tp are all ranks; ep, the ranks over which experts are dealt,
/// divides dp * tp, as these groups are made of ranks of the same pipeline stage.
struct group_sizes {
  int dp = 1, pp = 1, tp = 1, ep = 1;
  friend constexpr bool operator==(const group_sizes&, const group_sizes&) = default;
};

/// A rank's number in each of its groups.
struct group_ranks {
  int dp = 0, pp = 0, tp = 0, ep = 0;
  friend constexpr bool operator==(const group_ranks&, const group_ranks&) = default;
};

/// Where rank `rank` of the world stands: rank = (dp * PP + pp) * TP + tp, so that the ranks of a tensor parallel group
/// are neighbours, as torchrun numbers the GPUs of a node. Expert parallel groups are blocks of EP ranks among the
/// dp * TP + tp of one pipeline stage. This is vLLM's order.
constexpr group_ranks ranks_in_groups(const group_sizes& n, int rank) {
  const int tp = rank % n.tp, pp = rank / n.tp % n.pp, dp = rank / n.tp / n.pp;
  return {dp, pp, tp, (dp * n.tp + tp) % n.ep};
}

/// What `groups` makes: one communicator of each kind, and this rank's number in each (`dp.rank()` is `at.dp`).
template <communicator C>
struct rank_groups {
  C dp;  ///< the ranks that hold the same weights
  C pp;  ///< the stages of one model, in the order of its layers
  C tp;  ///< the ranks over which `shard` cuts: {.tp = tp.size()}
  C ep;
  group_ranks at;
};

namespace detail {

inline void append_divisors(comm_error& e, long long n) {
  std::string_view between = "";
  for (long long d = 1; d <= n; ++d) {
    if (n % d != 0) continue;
    e.append(between);
    e.append(d);
    between = ", ";
  }
}

inline void check_group_sizes(const group_sizes& n, int ranks) {
  struct named_size {
    std::string_view name;
    int size;
  };
  const named_size sizes[] = {{"dp", n.dp}, {"pp", n.pp}, {"tp", n.tp}};
  for (const named_size& s : sizes) {
    if (s.size >= 1 && s.size <= ranks) continue;
    comm_error e(s.name, " is ", s.size, " over ", ranks, ranks == 1 ? " rank" : " ranks", "; legal sizes: ");
    append_divisors(e, ranks);
    raise(e);
  }
  const auto times = [](int a, int b) { return static_cast<long long>(a) * b; };
  if (n.pp > ranks / n.dp || times(n.dp, n.pp) * n.tp != ranks) {
    comm_error e("dp ", n.dp, " x pp ", n.pp, " x tp ", n.tp, " is not the number of ranks, ", ranks, ": ");
    // Where one size alone is wrong, say which it should be.
    const long long others[] = {times(n.pp, n.tp), times(n.dp, n.tp), times(n.dp, n.pp)};
    bool any = false;
    for (int i = 0; i < 3; ++i) {
      if (others[i] > ranks || ranks % others[i] != 0) continue;
      e.append(std::string_view(any ? ", or " : "legal with the others: "));
      e.append(sizes[i].name);
      e.append(std::string_view(" "));
      e.append(ranks / others[i]);
      any = true;
    }
    if (!any) {
      e.append(std::string_view("each must be one of "));
      append_divisors(e, ranks);
      e.append(std::string_view(", and their product all ranks"));
    }
    raise(e);
  }
  // Last, as what is legal here follows from the others.
  if (n.ep < 1 || times(n.dp, n.tp) % n.ep != 0) {
    comm_error e("ep ", n.ep, " does not divide dp ", n.dp, " x tp ", n.tp,
                 ", the ranks of a pipeline stage; legal sizes: ");
    append_divisors(e, times(n.dp, n.tp));
    raise(e);
  }
}

}  // namespace detail

/// The communicators of this rank of `world`, which has dp * pp * tp ranks. Collective: every rank of `world` calls it,
/// with the same sizes. Throws `comm_error`, with the sizes that are legal, before anything is split.
template <can_split C>
auto groups(C& world, const group_sizes& n) -> rank_groups<decltype(world.split(0, 0))> {
  detail::check_group_sizes(n, world.size());
  const group_ranks at = ranks_in_groups(n, world.rank());
  const int in_stage = at.dp * n.tp + at.tp, blocks = n.dp * n.tp / n.ep;
  // A color for each combination of the other numbers; in braces from left to right, so alike on all ranks.
  return {world.split(at.pp * n.tp + at.tp, at.dp), world.split(at.dp * n.tp + at.tp, at.pp),
          world.split(at.dp * n.pp + at.pp, at.tp), world.split(at.pp * blocks + in_stage / n.ep, at.ep), at};
}

}  // namespace v0
}  // namespace shardwise
