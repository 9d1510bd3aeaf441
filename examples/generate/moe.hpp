// SPDX-License-Identifier: Apache-2.0
// A mixture of experts, with one that is always asked or without.
#pragma once
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"
#include "linear.hpp"
#include "mlp.hpp"

namespace generate {

/// Which tokens an expert is asked for, and how much its answer counts.
struct routes {
  struct route {
    std::size_t token;
    float share;
  };
  std::vector<std::vector<route>> of;  ///< by expert
};

/// The experts' weights: gate_up_proj [experts, 2 * width, hidden], gate above up, and down_proj [experts, hidden,
/// width]. A rank has a part of every expert, or some experts whole.
class expert_weights {
 public:
  expert_weights(const context& c, const std::string& path, std::size_t hidden, const experts_config& e)
      : step_(c, path),
        held_(c.sharding, path),
        mine_(held_.of(c.comm.rank())),
        gate_up_(c.parameters.at(path + ".gate_up_proj", {e.count, 2 * e.width, hidden})),
        down_(c.parameters.at(path + ".down_proj", {e.count, hidden, e.width})) {}

  /// The experts' answers, weighed and added up. Where each expert is cut, a rank has a part of every answer; where it
  /// has some experts only, theirs.
  value operator()(const value& x, const routes& routes) const {
    const value in = step_.input(x);
    tensor y({in.local().rows(), down_.local.shape()[1]});
    for (std::size_t e = mine_.begin; e < mine_.end; ++e) {
      const auto& asked = routes.of[e];
      if (asked.empty()) continue;
      tensor mine({asked.size(), in.local().columns()});
      for (std::size_t i = 0; i < asked.size(); ++i) {
        map(mine).row(index_of(i)) = map(in.local()).row(index_of(asked[i].token));
      }
      const tensor answer = ask(e - mine_.begin, mine);
      for (std::size_t i = 0; i < asked.size(); ++i) {
        map(y).row(index_of(asked[i].token)) += asked[i].share * map(answer).row(index_of(i));
      }
    }
    return step_.output(sw::assume_placed(placed_as(in.where()), y));
  }
  std::string_view path() const { return step_.path(); }

 private:
  // Where the sum of the answers is.
  sw::placement placed_as(const sw::placement& in) const {
    if (held_.dealt()) return sw::answers(in, held_);
    const sw::placement inner = same_placement({{gate_up_.parameter->name, sw::product(in, *gate_up_.parameter)}});
    return sw::product(inner, *down_.parameter);
  }

  tensor ask(std::size_t expert, const tensor& x) const {
    const tensor both = times(x, matrix_of(gate_up_.local, expert));
    const std::size_t width = both.columns() / 2;
    tensor inner({both.rows(), width});
    for (std::size_t t = 0; t < inner.rows(); ++t) {
      for (std::size_t i = 0; i < width; ++i) inner.row(t)[i] = silu(both.row(t)[i]) * both.row(t)[width + i];
    }
    return times(inner, matrix_of(down_.local, expert));
  }
  static matrix_map matrix_of(const tensor& stacked, std::size_t i) {
    const std::size_t rows = stacked.shape()[1], columns = stacked.shape()[2];
    return map(stacked.data() + i * rows * columns, rows, columns, columns);
  }

  module_step step_;
  sw::experts_by_rank held_;
  sw::interval mine_;
  weight gate_up_, down_;
};

/// The expert that every token asks, and a gate that says how much its answer counts.
class shared_expert {
 public:
  shared_expert(const context& c, const std::string& path, std::size_t hidden, std::size_t width)
      : mlp_(c, path + ".shared_expert", hidden, width, false), gate_(c, path + ".shared_expert_gate", hidden, 1) {}

  /// `x` [tokens, hidden]. Collective. Each row is weighed by its gate, which is whole: a partial sum stays one.
  value operator()(const value& x) const {
    const tensor gate = sw::expect_replicated(gate_(x), gate_.path()).local();
    value y = mlp_(x);
    for (std::size_t t = 0; t < y.local().rows(); ++t) map(y.local()).row(index_of(t)) *= sigmoid(gate.row(t)[0]);
    return y;
  }
  std::string_view path() const { return mlp_.path(); }

 private:
  mlp mlp_;
  linear gate_;
};

class moe {
 public:
  moe(const context& c, const std::string& path, std::size_t hidden, const experts_config& e)
      : step_(c, path),
        per_token_(e.per_token),
        normed_(e.normed),
        router_(c, path + ".gate", hidden, e.count),
        experts_(c, path + ".experts", hidden, e) {
    if (e.shared_width != 0) shared_.emplace(c, path, hidden, e.shared_width);
  }

  /// `x` [tokens, hidden], normed. Collective.
  value operator()(const value& x) const {
    const value in = step_.input(x);
    const tensor scores = sw::expect_replicated(router_(in), router_.path()).local();
    const value routed = experts_(in, route(scores));
    if (!shared_) return step_.whole_output(routed);
    const value shared = (*shared_)(in);
    if (routed.where() != shared.where()) {
      // Two partial sums may be added and reduced together by a row for the whole block; one alone may not.
      sw::expect_replicated(routed, experts_.path());
      sw::expect_replicated(shared, shared_->path());
    }
    return step_.whole_output(sum(routed, shared));
  }

 private:
  // The best experts of each token by the softmax over all, and their shares as they are or normed to 1.
  routes route(const tensor& scores) const {
    routes r;
    r.of.resize(scores.columns());
    std::vector<std::size_t> order(scores.columns());
    for (std::size_t t = 0; t < scores.rows(); ++t) {
      float* p = scores.row(t);
      softmax(p, scores.columns());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(per_token_), order.end(),
                        [&](std::size_t a, std::size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
      float total = normed_ ? 0 : 1;
      for (std::size_t i = 0; normed_ && i < per_token_; ++i) total += p[order[i]];
      for (std::size_t i = 0; i < per_token_; ++i) r.of[order[i]].push_back({t, p[order[i]] / total});
    }
    return r;
  }

  module_step step_;
  std::size_t per_token_;
  bool normed_;
  linear router_;
  expert_weights experts_;
  std::optional<shared_expert> shared_;
};

}  // namespace generate
