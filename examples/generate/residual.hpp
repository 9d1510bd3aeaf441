// SPDX-License-Identifier: Apache-2.0
// Where the residual stream is: whole on every rank, or each rank has some of its tokens.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "shardwise/comm/any_communicator.hpp"
#include "shardwise/run.hpp"
#include "tensor.hpp"

namespace generate {

/// An activation [tokens, features], and where its elements are over the ranks.
using value = sw::placed<tensor>;

/// Of one rank. What a block adds to the stream comes in by `reduce` or `keep`, and a block takes it by `gather`.
class residual_stream {
 public:
  explicit residual_stream(bool on_token_shards) : cut_(on_token_shards) {}

  /// The rows of [batch * tokens, hidden] that this rank has.
  sw::interval rows(const sw::any_communicator& comm) const {
    return cut_ ? shards(comm).of(comm.rank()) : sw::interval{0, tokens_};
  }

  /// The next pass has so many tokens.
  void begin(std::size_t tokens) { tokens_ = tokens; }

  /// What the plan makes of a module's own result that goes into the stream. Collective where the step is.
  template <class... Bias>
  value reduce(const sw::step& step, sw::any_communicator& comm, value y, const Bias&... bias) const {
    if (!cut_) return sw::run(step, comm, {}, std::move(y), bias...);
    return sw::run_to_tokens(step, comm, {}, std::move(y), bias..., shards(comm));
  }
  /// What is whole on every rank, as the stream has it: each rank its own tokens.
  value keep(std::string_view module, const sw::any_communicator& comm, value y) {
    if (!cut_) {
      y = sw::expect_replicated(std::move(y), module);
    } else if (y.where() != on_tokens) {
      y = sw::own_tokens(module, comm, {}, y, shards(comm));
    }
    most_bytes_ = std::max(most_bytes_, y.local().bytes());
    return y;
  }
  /// All tokens, for the block `module`. Collective where the stream is cut.
  value gather(std::string_view module, sw::any_communicator& comm, const value& x) const {
    return x.where() == on_tokens ? sw::gather_tokens(module, comm, {}, x, shards(comm)) : x;
  }

  /// Bytes of it on this rank, at most until now.
  std::size_t most_bytes() const { return most_bytes_; }

 private:
  sw::token_shards shards(const sw::any_communicator& comm) const { return {tokens_, comm.size()}; }

  static constexpr sw::placement on_tokens = sw::sharded<0>{};
  bool cut_;
  std::size_t tokens_ = 0, most_bytes_ = 0;
};

}  // namespace generate
