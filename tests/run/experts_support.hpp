// SPDX-License-Identifier: Apache-2.0
// A mixture of experts of whole numbers, which f32 holds exactly, and what it answers without ranks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shardwise/run/dispatch.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

namespace experts_test {

namespace sw = shardwise;
using support::tensor;

/// Of a module "moe.experts", whose only parameter is "up" [experts, 4, 4].
inline sw::sharding sharding_of(std::size_t experts, int ranks, const sw::style& of_parameter = sw::grouped_gemm,
                                const sw::style& of_module = sw::ep_dispatch_experts) {
  sw::tree t;
  t.add("moe.experts.up", sw::dtype::f32, {experts, 4, 4});
  const sw::rule rules[] = {{"moe.experts.up", of_parameter}, {"moe.experts", of_module}};
  return sw::shard({rules, 2}, t, {.tp = ranks});
}

/// Some tokens [tokens, 4], and experts that are matrices [4, 4]; each token asks `per_token` different ones.
struct mixture {
  std::size_t experts, per_token;
  tensor x, up;
  std::vector<std::int64_t> ids;
  std::vector<float> shares;

  /// `asked`: so many of the first experts are asked; 0 are all.
  mixture(std::size_t experts_, std::size_t tokens, std::size_t per_token_, unsigned seed, std::size_t asked = 0)
      : experts(experts_),
        per_token(per_token_),
        x(support::numbers({tokens, 4}, seed)),
        up(support::numbers({experts_, 4, 4}, 99)) {
    unsigned state = seed;
    for (std::size_t t = 0; t < tokens; ++t) {
      state = state * 1664525u + 1013904223u;
      for (std::size_t k = 0; k < per_token; ++k) {  // neighbours: different ones
        ids.push_back(static_cast<std::int64_t>(((state >> 16) + k) % (asked == 0 ? experts : asked)));
        shares.push_back(static_cast<float>(k + 1) / 4);
      }
    }
  }

  /// What the experts of `held` answer to `tokens`, weighed and added up; `asked` are their numbers among those, and
  /// any other number is nobody's.
  tensor ask(const sw::interval& held, const tensor& tokens, std::span<const std::int64_t> asked,
             std::span<const float> weights) const {
    tensor y(tokens.shape);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto e = static_cast<std::size_t>(asked[i]);
      if (e >= held.size()) continue;
      for (std::size_t out = 0; out < 4; ++out) {
        for (std::size_t in = 0; in < 4; ++in) {
          y.at(i / per_token, out) +=
              weights[i] * tokens.at(i / per_token, in) * up.data[((held.begin + e) * 4 + out) * 4 + in];
        }
      }
    }
    return y;
  }
  tensor ask(const sw::interval& held, const tensor& rows, std::span<const sw::expert_route> routes) const {
    std::vector<std::int64_t> numbers;
    std::vector<float> weights;
    for (const sw::expert_route& r : routes) {
      numbers.push_back(r.expert);
      weights.push_back(r.share);
    }
    return ask(held, rows, numbers, weights);
  }
  /// Without ranks.
  tensor answer() const { return ask({0, experts}, x, ids, shares); }
};

}  // namespace experts_test
