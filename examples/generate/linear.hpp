// SPDX-License-Identifier: Apache-2.0
// Where the engine meets shardwise: every module takes its step from the sharding, and runs it here. Nothing else in
// the engine knows of ranks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "faults.hpp"
#include "residual.hpp"
#include "shardwise/comm/any_communicator.hpp"
#include "shardwise/run.hpp"
#include "tensor.hpp"
#include "weights.hpp"

namespace generate {

/// What the modules of one rank share.
struct context {
  const sw::sharding& sharding;
  sw::any_communicator& comm;
  weights& parameters;
  /// Tokens are sent to the ranks that have their experts; else every rank has all tokens, and asks its own experts.
  bool sends_tokens = false;
  /// Where the residual stream is, if not whole on every rank. It outlives the model.
  residual_stream* residual = nullptr;
};

/// The step of one module: what the plan makes of its input and of its output.
class module_step {
 public:
  /// `residual`: that of the context, if the module is a block, or its output is a block's.
  module_step(const context& c, std::string_view path, residual_stream* residual = nullptr)
      : step_(c.sharding.step(path)), comm_(c.comm, step_), acts_(step_.how.has_module_half()), residual_(residual) {}

  std::string_view path() const { return step_.module; }

  /// What the module's own arithmetic takes of `x`. A module without a rule takes it as it comes.
  value input(const value& x) const { return acts_ ? sw::input(step_, comm_.get(), x) : x; }
  /// The same of a block, which takes all tokens of the residual stream.
  value block_input(const value& x) const { return input(residual_ ? residual_->gather(path(), comm_.get(), x) : x); }

  /// What the plan makes of the module's own result. Without a rule it stays as it is, and whoever takes it next looks
  /// at its placement.
  value output(value y) const {
    if (acts_ && residual_) return residual_->reduce(step_, comm_.get(), std::move(y));
    return acts_ ? sw::run(step_, comm_.get(), {}, std::move(y)) : y;
  }
  value output(value y, const value& bias) const {
    if (acts_ && residual_) return residual_->reduce(step_, comm_.get(), std::move(y), bias);
    if (acts_) return sw::run(step_, comm_.get(), {}, std::move(y), bias);
    return sw::elementwise(
        [](tensor sum, const tensor& b) {
          sw::tensor_traits<tensor>::add_to_rows(sum, b, sw::host_stream{});
          return sum;
        },
        y, bias);
  }
  /// From the input of a module whose experts are dealt to the output that the plan makes of it, by sending tokens.
  template <class Ask>
  value send_tokens(sw::token_dispatch& tokens, const value& x, std::span<const std::int64_t> experts,
                    std::span<const float> shares, const Ask& ask) const {
    return sw::run_dispatched(step_, tokens, comm_.get(), {}, x, experts, shares, ask);
  }
  /// The same for a module whose output must be whole on every rank, the logits, or as the residual stream is.
  value whole_output(value y) const { return kept(output(std::move(y))); }
  /// Of what is whole, as much as the residual stream has of it.
  value kept(value y) const {
    return residual_ ? residual_->keep(path(), comm_.get(), std::move(y)) : sw::expect_replicated(std::move(y), path());
  }

  /// A result that is logits, as far as a policy needs it: its columns as they are, or what the plan makes whole.
  value columns(value y) const { return y.where() == sw::placement(sw::sharded<-1>{}) ? y : output(std::move(y)); }
  /// What is wanted of such a result.
  const sw::logits_answer& answer(const value& y, const sw::logits_policy& wanted, sw::logits_memory& room,
                                  const sw::logits_options& options) const {
    return sw::run(step_, comm_.get(), {}, y, wanted, room, options);
  }

 private:
  sw::step step_;
  step_communicator comm_;
  bool acts_;
  residual_stream* residual_;
};

/// One of several modules whose outputs are combined, and where its output is.
struct output_of {
  std::string_view path;
  sw::placement where;
};
/// Where they are, all in the same way: whole, or cut on the same ranks. Throws `placement_error`, which names them.
inline sw::placement same_placement(std::initializer_list<output_of> outputs) {
  const output_of& first = *outputs.begin();
  for (const output_of& o : outputs) {
    if (o.where != first.where) {
      throw sw::placement_error("'", first.path, "' yields a tensor that is ", first.where.name(), ", and '", o.path,
                                "' one that is ", o.where.name(), ": give both the same style");
    }
    if (o.where.kind == sw::placement::partial) {
      throw sw::placement_error("'", o.path, "' yields ", o.where.name(), ", and no row of the plan reduces it before ",
                                "it is used: give it colwise");
    }
  }
  return first.where;
}

/// A matrix product [out, in], with a bias or without.
class linear {
 public:
  /// `residual`: see module_step.
  linear(const context& c, const std::string& path, std::size_t in, std::size_t out, bool bias = false,
         residual_stream* residual = nullptr)
      : step_(c, path, residual), weight_(c.parameters.at(path + ".weight", {out, in})) {
    if (bias) bias_ = c.parameters.at(path + ".bias", {out});
  }

  value operator()(const value& x) const {
    if (!bias_) return step_.output(product(x));
    return step_.output(product(x), sw::assume_placed(bias_->parameter->where(), bias_->local));
  }
  /// Of a head, without a bias: see module_step.
  value columns(const value& x) const { return step_.columns(product(x)); }
  const sw::logits_answer& answer(const value& y, const sw::logits_policy& wanted, sw::logits_memory& room,
                                  const sw::logits_options& options) const {
    return step_.answer(y, wanted, room, options);
  }
  std::string_view path() const { return step_.path(); }
  const sw::sharded_parameter& matrix() const { return *weight_.parameter; }

 private:
  value product(const value& x) const {
    const value in = step_.input(x);
    return sw::assume_placed(sw::product(in.where(), *weight_.parameter), times(in.local(), map(weight_.local)));
  }

  module_step step_;
  weight weight_;
  std::optional<weight> bias_;
};

/// Rows of a table [vocabulary, hidden].
class embedding {
 public:
  embedding(const context& c, const std::string& path, std::size_t vocabulary, std::size_t hidden)
      : step_(c, path, c.residual),
        table_(c.parameters.at(path + ".weight", {vocabulary, hidden})),
        rows_(c.parameters.rows_of(table_)),
        vocabulary_(vocabulary) {}

  value operator()(std::span<const std::int64_t> ids) const {
    tensor table = table_.local, out({ids.size(), table.columns()});
    sw::masked_lookup(ids, rows_, vocabulary_, sw::tensor_traits<tensor>::view(table),
                      sw::tensor_traits<tensor>::view(out));
    return step_.whole_output(sw::assume_placed(sw::lookup(*table_.parameter), std::move(out)));
  }

 private:
  module_step step_;
  weight table_;
  sw::interval rows_;
  std::size_t vocabulary_;
};

}  // namespace generate
