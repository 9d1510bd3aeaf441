// SPDX-License-Identifier: Apache-2.0
// A mixture of experts, with one that is always asked or without.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"
#include "linear.hpp"
#include "mlp.hpp"

namespace generate {

/// Which experts each token asks, and how much their answers count: [tokens, per_token].
struct routes {
  std::vector<std::int64_t> experts;
  std::vector<float> shares;
};

/// The experts' weights: gate_up_proj [experts, 2 * width, hidden], gate above up, and down_proj [experts, hidden,
/// width]; those of gpt-oss (`experts_config::own`) are [experts, hidden, 2 * width] and [experts, width, hidden]. A
/// rank has a part of every expert, or some experts whole.
class expert_weights {
 public:
  expert_weights(const context& c, const std::string& path, std::size_t hidden, const experts_config& e)
      : step_(c, path, c.residual),
        held_(c.sharding, path),
        rank_(c.comm.rank()),
        per_token_(e.per_token),
        sends_tokens_(c.sends_tokens && held_.dealt()),
        own_(e.own),
        stored_(own_ ? sw::weight_axes::in_out : sw::weight_axes::out_in),
        gate_up_(c.parameters.at(path + ".gate_up_proj", shape_of(e.count, 2 * e.width, hidden))),
        down_(c.parameters.at(path + ".down_proj", shape_of(e.count, hidden, e.width))) {
    const std::size_t axis = own_ ? 2 : 1;
    if (gate_up_.local.shape()[axis] != 2 * down_.local.shape()[3 - axis]) {
      throw sw::placement_error("'", gate_up_.parameter->name, "' and '", down_.parameter->name, "' are cut so that a ",
                                "rank has ", gate_up_.local.shape()[axis], " gates and ups, and ",
                                down_.local.shape()[3 - axis], " features of the other: cut both at the same features");
    }
    if (!own_) return;
    gate_up_bias_ = c.parameters.at(path + ".gate_up_proj_bias", {e.count, 2 * e.width});
    down_bias_ = c.parameters.at(path + ".down_proj_bias", {e.count, hidden});
    bias_columns_ = c.parameters.last_of(*down_bias_);
  }

  /// The experts' answers, weighed and added up. Where each expert is cut, a rank has a part of every answer; where it
  /// has some experts only, theirs.
  value operator()(const value& x, routes routes) const {
    if (sends_tokens_) {
      sw::token_dispatch tokens(held_, rank_, per_token_);
      return step_.send_tokens(
          tokens, x, routes.experts, routes.shares,
          [&](const tensor& rows, std::span<const sw::expert_route> asked) { return answers(rows, asked); });
    }
    const value in = step_.input(x);
    const sw::placement where = placed_as(in.where());
    std::optional<tensor> last;
    if (down_bias_ && !held_.dealt()) last = biases(routes, in.local().rows());
    sw::keep_own_experts(held_, rank_, per_token_, std::span(routes.experts), std::span(routes.shares));
    std::vector<sw::expert_route> own(routes.experts.size());
    for (std::size_t i = 0; i < own.size(); ++i) {
      own[i] = {static_cast<std::int32_t>(routes.experts[i]), routes.shares[i]};
    }
    tensor y = answers(in.local(), own);
    if (last && adds_in_parts(where)) {
      map(y).middleCols(index_of(bias_columns_.begin), index_of(last->columns())) += map(*last);
      last.reset();
    }
    const value out = step_.output(sw::assume_placed(where, std::move(y)));
    if (!last) return out;
    const value whole = sw::assume_placed(sw::placement(sw::replicated{}), *std::move(last));
    return sum(out, out.where() == sw::placement(sw::sharded<0>{}) ? step_.kept(whole) : whole);
  }
  /// What is whole of their output, as the residual stream has it.
  value kept(value y) const { return step_.kept(std::move(y)); }
  std::string_view path() const { return step_.path(); }

 private:
  sw::tensor_shape shape_of(std::size_t experts, std::size_t out, std::size_t in) const {
    if (stored_ == sw::weight_axes::in_out) return {experts, in, out};
    return {experts, out, in};
  }
  // Where the sum of the answers is.
  sw::placement placed_as(const sw::placement& in) const {
    if (held_.dealt()) return sw::answers(in, held_);
    const output_of made{gate_up_.parameter->name, sw::product(in, *gate_up_.parameter, stored_)};
    const output_of biased =
        gate_up_bias_ ? output_of{gate_up_bias_->parameter->name, gate_up_bias_->parameter->where()} : made;
    return sw::product(same_placement({made, biased}), *down_.parameter, stored_);
  }

  // Where no rank has experts of its own, the last biases are added once: to the whole sum, or by each rank to its
  // partial sum, in the columns that it has of them.
  bool adds_in_parts(const sw::placement& sum_is) const {
    const sw::sharded_parameter& bias = *down_bias_->parameter;
    if (bias.how.whole()) return false;
    if (bias.where() != sw::placement(sw::sharded<-1>{}) || sum_is != sw::placement(sw::partial<>{})) {
      throw sw::placement_error("'", bias.name, "' is ", bias.where().name(), ", and the sum that it is added to is ",
                                sum_is.name(), ": cut it on its last dim beside experts that are cut, or replicate it");
    }
    return true;
  }
  tensor biases(const routes& routes, std::size_t tokens) const {
    tensor y({tokens, down_bias_->local.columns()});
    for (std::size_t i = 0; i < routes.experts.size(); ++i) {
      map(y).row(index_of(i / per_token_)) += routes.shares[i] * map(down_bias_->local).row(routes.experts[i]);
    }
    return y;
  }

  // What this rank's experts answer to the rows `x`, weighed and added up. `asked` [rows, per_token] has their numbers
  // here; any other is nobody's.
  tensor answers(const tensor& x, std::span<const sw::expert_route> asked) const {
    tensor y(x.shape());
    const std::size_t count = held_.of(rank_).size();
    std::vector<std::vector<std::size_t>> slots(count);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto e = static_cast<std::size_t>(asked[i].expert);
      if (asked[i].expert >= 0 && e < count) slots[e].push_back(i);
    }
    for (std::size_t e = 0; e < count; ++e) {
      if (slots[e].empty()) continue;
      tensor rows({slots[e].size(), x.columns()});
      for (std::size_t k = 0; k < slots[e].size(); ++k) {
        map(rows).row(index_of(k)) = map(x).row(index_of(slots[e][k] / per_token_));
      }
      const tensor answer = ask(e, rows);
      for (std::size_t k = 0; k < slots[e].size(); ++k) {
        map(y).row(index_of(slots[e][k] / per_token_)) += asked[slots[e][k]].share * map(answer).row(index_of(k));
      }
    }
    return y;
  }

  tensor ask(std::size_t expert, const tensor& x) const {
    const tensor both = product(x, gate_up_.local, expert);
    const std::size_t width = both.columns() / 2;
    tensor inner({both.rows(), width});
    for (std::size_t t = 0; t < inner.rows(); ++t) {
      for (std::size_t i = 0; i < width; ++i) {
        inner.row(t)[i] = own_ ? clamped(both.row(t) + 2 * i, gate_up_bias_->local.row(expert) + 2 * i)
                               : silu(both.row(t)[i]) * both.row(t)[width + i];
      }
    }
    tensor answer = product(inner, down_.local, expert);
    if (down_bias_ && held_.dealt()) map(answer).rowwise() += map(down_bias_->local).row(index_of(expert));
    return answer;
  }
  // Of a gate and the up beside it.
  float clamped(const float* sums, const float* biases) const {
    const float gate = std::min(sums[0] + biases[0], own_->limit);
    const float up = std::clamp(sums[1] + biases[1], -own_->limit, own_->limit);
    return (up + 1) * gate * sigmoid(own_->alpha * gate);
  }
  tensor product(const tensor& x, const tensor& stacked, std::size_t i) const {
    const std::size_t rows = stacked.shape()[1], columns = stacked.shape()[2];
    const matrix_map one = map(stacked.data() + i * rows * columns, rows, columns, columns);
    return own_ ? times_stored_by_input(x, one) : times(x, one);
  }

  module_step step_;
  sw::experts_by_rank held_;
  int rank_;
  std::size_t per_token_;
  bool sends_tokens_;
  std::optional<experts_config::clamped> own_;
  sw::weight_axes stored_;
  weight gate_up_, down_;
  std::optional<weight> gate_up_bias_, down_bias_;
  sw::interval bias_columns_;
};

/// The expert that every token asks, and a gate that says how much its answer counts.
class shared_expert {
 public:
  shared_expert(const context& c, const std::string& path, std::size_t hidden, std::size_t width)
      : mlp_(c, path + ".shared_expert", {hidden, width}), gate_(c, path + ".shared_expert_gate", hidden, 1) {}

  /// `x` [tokens, hidden]. Collective. Each row is weighed by its gate, which is whole: a partial sum stays one.
  value operator()(const value& x) const {
    const value whole = sw::expect_replicated(gate_(x), gate_.path());
    value y = mlp_(x);
    const tensor gate = y.where() == sw::placement(sw::sharded<0>{}) ? mlp_.kept(whole).local() : whole.local();
    for (std::size_t t = 0; t < y.local().rows(); ++t) map(y.local()).row(index_of(t)) *= sigmoid(gate.row(t)[0]);
    return y;
  }
  /// What is whole of its output, as the residual stream has it.
  value kept(value y) const { return mlp_.kept(std::move(y)); }
  std::string_view path() const { return mlp_.path(); }

 private:
  mlp mlp_;
  linear gate_;
};

class moe {
 public:
  moe(const context& c, const std::string& path, std::size_t hidden, const experts_config& e)
      : step_(c, path, c.residual),
        per_token_(e.per_token),
        normed_(e.normed),
        router_(c, path + (e.own ? ".router" : ".gate"), hidden, e.count, e.own.has_value()),
        experts_(c, path + ".experts", hidden, e) {
    if (e.shared_width != 0) shared_.emplace(c, path, hidden, e.shared_width);
  }

  /// `x` [tokens, hidden], normed. Collective.
  value operator()(const value& x) const {
    const value in = step_.block_input(x);
    const tensor scores = sw::expect_replicated(router_(in), router_.path()).local();
    const value routed = experts_(in, route(scores));
    if (!shared_) return step_.whole_output(routed);
    const value shared = (*shared_)(in);
    if (routed.where() != shared.where()) {
      // Two partial sums may be added and reduced together by a row for the whole block; one alone may not.
      const value a = experts_.kept(routed), b = shared_->kept(shared);
      return step_.whole_output(sum(a, b));
    }
    return step_.whole_output(sum(routed, shared));
  }

 private:
  // The best experts of each token by the softmax over all, and their shares as they are or normed to 1.
  routes route(const tensor& scores) const {
    routes r;
    std::vector<std::size_t> order(scores.columns());
    for (std::size_t t = 0; t < scores.rows(); ++t) {
      float* p = scores.row(t);
      softmax(p, scores.columns());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(per_token_), order.end(),
                        [&](std::size_t a, std::size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
      float total = normed_ ? 0 : 1;
      for (std::size_t i = 0; normed_ && i < per_token_; ++i) total += p[order[i]];
      for (std::size_t i = 0; i < per_token_; ++i) {
        r.experts.push_back(static_cast<std::int64_t>(order[i]));
        r.shares.push_back(p[order[i]] / total);
      }
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
