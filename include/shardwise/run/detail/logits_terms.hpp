// SPDX-License-Identifier: Apache-2.0
// What a call of a policy is about: what is wanted, of how many rows and ids, and how large the messages are.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "shardwise/error.hpp"
#include "shardwise/run/detail/logits_message.hpp"
#include "shardwise/run/logits_policy.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The same on every rank. Throws `logits_error` for what no row could answer.
struct logits_terms {
  std::string_view module;
  logits_policy wanted;
  std::size_t rows, vocabulary;
  std::span<const std::uint64_t> positions;
  std::size_t widest;  // ids of a rank, at most
  logits_message shape;
  std::size_t words;  // of a row
  double temperature;

  /// `columns` are the ids of each rank.
  logits_terms(std::string_view of_module, const logits_policy& policy, std::size_t row_count, std::size_t ids,
               const logits_options& options, std::span<const interval> columns)
      : module(of_module),
        wanted(policy),
        rows(row_count),
        vocabulary(ids),
        positions(options.positions),
        widest(widest_of(columns)),
        shape(policy, row_count, widest),
        words(shape.words(columns, ids)),
        temperature(policy.kind == logits_kind::sample ? policy.how.temperature : 1) {
    check();
  }

  static std::size_t widest_of(std::span<const interval> columns) {
    std::size_t n = 0;
    for (const interval& c : columns) n = std::max(n, c.size());
    return n;
  }

  /// No id: of a row without a NaN.
  static constexpr std::uint32_t none = 0xffffffffu;

 private:
  void check() const {
    const sampling& how = wanted.how;
    if (vocabulary == 0 || vocabulary >= none) refuse("a vocabulary of ", vocabulary, " ids, and takes 1 to 2^32 - 2");
    if (wanted.kind == logits_kind::top_k && wanted.k == 0) refuse("the best 0 ids, and takes 1 or more");
    if (wanted.kind == logits_kind::log_softmax) {
      if (rows == 0 ? !wanted.ids.empty() : wanted.ids.size() % rows != 0) {
        refuse(wanted.ids.size(), " ids for ", rows, " rows, and takes the same number for each row");
      }
      for (const std::int64_t id : wanted.ids) {
        if (id < 0 || static_cast<std::size_t>(id) >= vocabulary)
          refuse("the id ", id, ", which is not in the vocabulary of ", vocabulary);
      }
    }
    if (wanted.kind == logits_kind::sample) {
      if (!(how.temperature == 0 || (how.temperature >= 1e-6 && how.temperature <= std::numeric_limits<double>::max())))
        refuse("a temperature that is neither 0 nor from 1e-6 on");
      if (!(how.top_p > 0 && how.top_p <= 1)) refuse("a top_p that is not above 0, and up to 1");
      if (how.temperature != 0 && positions.size() != rows)
        refuse(positions.size(), " positions for ", rows, " rows, and takes one for each: logits_options::positions");
    }
  }
  template <class... Words>
  [[noreturn]] void refuse(const Words&... why) const {
    raise(logits_error("the logits of '", module, "': ", name_of(wanted.kind), " was given ", why...));
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
