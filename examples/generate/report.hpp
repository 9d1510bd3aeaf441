// SPDX-License-Identifier: Apache-2.0
// What `generate` prints.
#pragma once
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "plans.hpp"
#include "ranks.hpp"

namespace generate {

inline void print_coverage(const chosen_plan& plan, const sw::sharding& sharding) {
  std::size_t covered = 0, cut = 0, bytes = 0, whole_bytes = 0;
  for (std::size_t i = 0; i < sharding.size(); ++i) {
    covered += sharding[i].covered();
    cut += !sharding[i].how.whole();
    const std::size_t n = sharding[i].shape.elements() * sw::size_of(sharding[i].type);
    bytes += n;
    if (sharding[i].how.whole()) whole_bytes += n;
  }
  fmt::print("plan {}: {} of {} parameters covered, {} cut, {} whole on every rank ({:.1f} % of the bytes)\n",
             plan.name, covered, sharding.size(), cut, sharding.size() - cut,
             100 * static_cast<double>(whole_bytes) / static_cast<double>(std::max<std::size_t>(bytes, 1)));
}

/// Calls and bytes by operation, divided by `times`.
inline void print_collectives(std::string_view what, const sw::tally& t, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < sw::operation_count; ++i) {
    const auto op = static_cast<sw::operation>(i);
    const sw::tally::entry& entry = t[op];
    if (entry.calls == 0 || times == 0) continue;
    text += fmt::format("{}{} {} ({} bytes)", text.empty() ? "" : ", ", entry.calls / times, name_of(op),
                        entry.bytes / times);
  }
  fmt::print("{}: {}\n", what, text.empty() ? "no collectives" : text);
}

/// The head's part of them, where it is less than a gather of all logits.
inline void print_head(const rank_result& r, const sw::logits_policy& policy) {
  if (policy.kind == sw::logits_kind::gather) return;
  const std::string what(name_of(policy.kind));
  print_collectives(what + " of the prompt", r.head_prefill, 1);
  if (r.decoded != 0) print_collectives(what + " per token", r.head, r.decoded);
}

inline void print_stats(std::span<const rank_result> ranks) {
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    fmt::print("rank {}: weights {} bytes, cache {} bytes, state {} bytes\n", r, ranks[r].weight_bytes,
               ranks[r].cache_bytes, ranks[r].state_bytes);
  }
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    fmt::print("rank {}: activations of the prompt {} bytes at most, residual stream {} bytes\n", r,
               ranks[r].activation_bytes, ranks[r].residual_bytes);
  }
  print_collectives("prefill", ranks[0].prefill, 1);
  if (ranks[0].decoded != 0) print_collectives("per token", ranks[0].decode, ranks[0].decoded);
}

inline void print_tokens(const rank_result& r) {
  for (const auto& row : r.tokens) fmt::print("tokens: {}\n", fmt::join(row, ","));
}

/// Prints the largest difference; false where it is above the tolerance, or no number. Throws where the shapes differ.
inline bool print_difference(const tensor& logits, const prompt& p, const tensor& expected, double tolerance) {
  const sw::tensor_shape shape{p.batch, p.tokens, logits.columns()};
  if (!(expected.shape() == shape)) {
    throw sw::error("--expect has ", expected.rows(), " rows of ", expected.columns(), " logits, and the prompt gives ",
                    p.batch * p.tokens, " of ", logits.columns());
  }
  double largest = 0;
  for (std::size_t i = 0; i < logits.elements(); ++i) {
    const double d = std::abs(static_cast<double>(logits.data()[i]) - static_cast<double>(expected.data()[i]));
    largest = d > largest || std::isnan(d) ? d : largest;
    if (std::isnan(largest)) break;
  }
  const bool right = largest <= tolerance;
  fmt::print("max |logit - expected|: {:.2e} ({} {:g})\n", largest, right ? "within" : "ABOVE", tolerance);
  return right;
}

}  // namespace generate
