// SPDX-License-Identifier: Apache-2.0
// What is wanted of the logits, as a value. Most that is asked of a vocabulary is known from few numbers of each rank.
//
// The plan says where logits are: cut by columns (`colwise`, `colwise_gather_output`), or whole. It does not say what
// is wanted of them: a plan is one for all requests, and temperature, top_p and seed are each request's own. So the
// policy is an argument of the call, `run(step, comm, stream, logits, policy, memory)`, and takes the place of the
// gather.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace shardwise {
inline namespace v0 {

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // g++ 12 takes a scoped enumerator to shadow the policy of that name
#endif
enum class logits_kind : std::uint8_t { gather, argmax, top_k, log_softmax, sample };
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/// How a token is drawn. The defaults draw from the model's own distribution.
struct sampling {
  double temperature = 1;  ///< logits are divided by it; 0 is argmax, and else at least 1e-6
  std::size_t top_k = 0;   ///< only the k best may be drawn; 0: all
  double top_p = 1;  ///< of those, only the fewest best whose probabilities sum up to it, and at least one; (0, 1]
  std::uint64_t seed = 0;
};

/// A plain value; made by the names in `logits`. The same on all ranks.
struct logits_policy {
  logits_kind kind = logits_kind::gather;
  std::size_t k = 0;                  ///< of top_k
  std::span<const std::int64_t> ids;  ///< of log_softmax
  sampling how;                       ///< of sample
};

/// The policies. What each means is defined on one row l of the whole logits, whatever the number of ranks: `l[v]` for
/// each id v below the vocabulary's size, as a double. The better of two ids has the larger logit, or is the lower one
/// where they are equal. -inf is a logit like another, but a row of nothing else is an error, and so is a NaN.
namespace logits {

/// All logits, on every rank; no error of theirs.
inline constexpr logits_policy gather{};

/// The best id, and its logit.
inline constexpr logits_policy argmax{logits_kind::argmax, 0, {}, {}};

/// The k best ids and their logits, best first; all of a vocabulary that has fewer. k is 1 or more.
constexpr logits_policy top_k(std::size_t k) { return {logits_kind::top_k, k, {}, {}}; }

/// log(softmax(l)) at `ids`, [rows, n]: the same number n for each row, one row after the other. They live until the
/// call returns.
///
/// It is (l[v] - m) - log(S), where m is the row's largest logit and S = sum over b of s_b * exp(m_b - m): block b is
/// ids [128 b, 128 b + 128), m_b its largest logit and s_b = sum over v of exp(l[v] - m_b). Both sums are in double, in
/// ascending order; a block that is -inf throughout adds nothing. +inf is an error.
constexpr logits_policy log_softmax(std::span<const std::int64_t> ids) {
  return {logits_kind::log_softmax, 0, ids, {}};
}

/// One id drawn at random, and its logit.
///
/// The k best ids are kept (all, where top_k is 0), then the fewest best of those for which
/// sum of exp((l[v] - m) / T) >= top_p * S, summed best first; S is that of log_softmax over what was kept before, with
/// each difference of logits divided by the temperature T. Where top_p is 1 all are kept. Of them the id with the
/// largest l[v] / T + g(v) is the answer, the lowest where several have it.
///
/// g(v) = -log(-log(u)) is Gumbel's distribution (so that this is a draw from the softmax), u = (n + 1/2) / 2^52 where
/// n is the upper 52 bits of x0 * 2^32 + x1, and x are the words that Philox4x32-10 (Salmon et al., "Parallel random
/// numbers: as easy as 1, 2, 3") makes of the key (seed's lower and upper half) and the counter (v, position's lower
/// and upper half, 0). Rows of one position are given the same numbers: give each its own, see `logits_options`. +inf
/// is an error. exp and log are the C++ library's: the same token for all numbers of ranks, not on all machines.
constexpr logits_policy sample(const sampling& how) { return {logits_kind::sample, 0, {}, how}; }

}  // namespace logits

/// As the factory is called: "top_k".
constexpr std::string_view name_of(logits_kind kind) {
  constexpr std::string_view names[] = {"gather", "argmax", "top_k", "log_softmax", "sample"};
  return names[static_cast<std::size_t>(kind)];
}

/// Of a call; the same on all ranks.
struct logits_options {
  /// How many of the columns are ids; the others, at the end, only pad them, and are never looked at. 0: all are.
  std::size_t vocabulary = 0;
  /// Of sample: for each row a number that no other draw with this seed has, such as sequence * 2^32 + position. They
  /// live until the call returns.
  std::span<const std::uint64_t> positions;
};

}  // namespace v0
}  // namespace shardwise
