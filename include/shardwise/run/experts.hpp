// SPDX-License-Identifier: Apache-2.0
// Which experts each rank holds, and what a router's choice is on one of them.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/error.hpp"
#include "shardwise/placement.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {

/// The experts of one module over the ranks: dealt, so that each rank has some of them whole (`grouped_gemm`), or all
/// on every rank, cut or not. An expert's id is what the router gives it; in a rank's own tensors expert e is at
/// `e - of(rank).begin`. Made once for a module; immutable, and lives as long as the sharding.
class experts_by_rank {
 public:
  /// `module`: the path of the module that owns the experts' parameters, [experts, ...] each. Throws `plan_error` for a
  /// module that the model does not have, and `placement_error` for one that owns no such parameters, whose parameters
  /// are not all dealt alike, or which adds up the ranks (`ep_dispatch_experts`) though each has all experts.
  experts_by_rank(const sharding& s, std::string_view module) {
    const step at = s.step(module);
    module_ = at.module;
    ranks_ = s.tp();
    const sharded_parameter* first = nullptr;
    for (const sharded_parameter& p : s) {
      if (!owns(p.name) || p.shape.dims() == 0) continue;
      if (first == nullptr) first = &p;
      const bool alike = is_dealt(s, p) == is_dealt(s, *first) && (!is_dealt(s, p) || p.how.deals_like(first->how));
      if (!alike || p.shape[0] != first->shape[0]) {
        detail::raise(placement_error("'", first->name, "' has ", first->shape[0], " experts", words_of(s, *first),
                                      ", and '", p.name, "' has ", p.shape[0], words_of(s, p),
                                      ": give all parameters of '", module_, "' one style"));
      }
    }
    if (first == nullptr) {
      detail::raise(placement_error("'", module_, "' owns no parameters, and was taken for a module of experts"));
    }
    experts_ = first->shape[0];
    if (is_dealt(s, *first)) {
      interval held;
      for (int r = 0; r < ranks_; ++r) {
        const intervals i = pieces_of(first->how, experts_, ranks_, r);  // whole experts, neighbours: one or none
        held = i.count == 0 ? interval{held.end, held.end} : i.at[0];
        held_.push(held);
      }
    } else if (ranks_ > 1 && at.how.kind == style_kind::ep_dispatch_experts) {
      detail::raise(placement_error("'", module_, "' is ep_dispatch_experts, and each of ", ranks_,
                                    " ranks has all its experts, so that every answer would be added up ", ranks_,
                                    " times: its parameters are grouped_gemm"));
    }
  }

  std::string_view module() const { return module_; }
  std::size_t experts() const { return experts_; }
  int ranks() const { return ranks_; }
  /// Does a rank have some of the experts only? Then the sum of its experts' answers is a partial sum.
  bool dealt() const { return !held_.empty(); }
  /// The experts of which `rank` has something: its own, or all where none are dealt. May be empty.
  interval of(int rank) const { return dealt() ? held_[static_cast<std::size_t>(rank)] : interval{0, experts_}; }
  /// The rank that holds an expert. Of experts that are dealt.
  int holder(std::size_t expert) const {
    int first = 0;
    for (int n = ranks_; n > 1;) {  // the first rank that ends beyond it is one of n from `first`
      const int half = n / 2;
      if (held_[static_cast<std::size_t>(first + half - 1)].end <= expert) {
        first += half;
        n -= half;
      } else {
        n = half;
      }
    }
    return first;
  }

 private:
  bool owns(std::string_view name) const {
    if (module_.empty()) return name.find('.') == std::string_view::npos;
    return name.size() > module_.size() + 1 && name.starts_with(module_) && name[module_.size()] == '.' &&
           name.find('.', module_.size() + 1) == std::string_view::npos;
  }
  static bool is_dealt(const sharding& s, const sharded_parameter& p) {
    return p.covered() && s.rules()[p.rule].how.kind == style_kind::grouped_gemm;
  }
  static std::string_view words_of(const sharding& s, const sharded_parameter& p) {
    return is_dealt(s, p) ? " that are dealt" : " that are not dealt";
  }

  std::string_view module_;
  std::size_t experts_ = 0;
  int ranks_ = 1;
  detail::list<interval> held_;  // by rank; empty where none are dealt
};

/// The placement of the sum of a rank's own experts' answers to `x`, which is whole: a partial sum.
/// Throws `placement_error` for an x that is not whole.
inline placement answers(placement x, const experts_by_rank& experts) {
  if (x.kind == placement::replicated) return experts.dealt() ? placement(partial<>{}) : x;
  detail::raise(placement_error("the experts of '", experts.module(), "' are whole, and their input is ", x.name(),
                                ": no row of the plan makes it whole before"));
}

namespace detail {

[[noreturn]] inline void refuse_expert(const experts_by_rank& experts, std::size_t token, long long id) {
  raise(placement_error("the router of '", experts.module(), "' sends token ", token, " to expert ", id, "; there are ",
                        experts.experts(), ", numbered from 0"));
}
[[noreturn]] inline void refuse_routes(const experts_by_rank& experts, std::size_t ids, std::size_t shares,
                                       std::size_t tokens, std::size_t per_token) {
  raise(placement_error("the router of '", experts.module(), "' gives ", ids, " expert ids and ", shares, " shares; ",
                        tokens, " tokens of ", per_token, " experts each have ", tokens * per_token));
}
template <std::integral Id>
constexpr bool is_expert(const experts_by_rank& experts, Id id) {
  return id >= 0 && static_cast<unsigned long long>(id) < experts.experts();
}

}  // namespace detail

/// A router's choice as one rank's experts see it, where every rank has the whole batch: an expert of its own becomes
/// its number in the rank's tensors, and one of another rank becomes `of(rank).size()`, one beyond the last, with share
/// 0. Kernels skip that number. The sum over the rank's experts is then a partial sum, which the module's step
/// (`run`) reduces. As Hugging Face does it (`AllReduceEP`).
///
/// `ids` and `shares` are [tokens, per_token], in memory of the host, and are changed in place. Not a collective.
/// Throws `placement_error` for lists of different lengths and for an id that is no expert, before anything is changed.
template <std::integral Id, std::floating_point Share>
void keep_own_experts(const experts_by_rank& experts, int rank, std::size_t per_token, std::span<Id> ids,
                      std::span<Share> shares) {
  if (per_token == 0 || ids.size() % per_token != 0 || ids.size() != shares.size()) {
    detail::refuse_routes(experts, ids.size(), shares.size(), per_token == 0 ? 0 : ids.size() / per_token, per_token);
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!detail::is_expert(experts, ids[i])) {
      detail::refuse_expert(experts, i / per_token, static_cast<long long>(ids[i]));
    }
  }
  const interval mine = experts.of(rank);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto e = static_cast<std::size_t>(ids[i]);
    const bool own = e >= mine.begin && e < mine.end;
    ids[i] = static_cast<Id>(own ? e - mine.begin : mine.size());
    if (!own) shares[i] = 0;
  }
}

}  // namespace v0
}  // namespace shardwise
