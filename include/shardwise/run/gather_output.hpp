// SPDX-License-Identifier: Apache-2.0
// Logits, [T, V/tp] on each rank, made [T, V] on all: in the buffer that the ranks' products were written to.
#pragma once
#include <algorithm>
#include <cstddef>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/run/gathered.hpp"
#include "shardwise/run/run.hpp"
#include "shardwise/shard/step.hpp"

namespace shardwise {
inline namespace v0 {

/// The same on all ranks.
struct gather_options {
  /// The most tokens that are gathered row by row, to [T, V]. Each row is a collective of its own, grouped or not, so
  /// that beyond some T it costs more than a consumer that takes the ranks' segments as they are. One token always is.
  std::size_t row_major_up_to = 64;
};

/// The gather of a module whose output features are cut, of `tokens` rows, without a second buffer and a second pass:
/// ```
/// const gather_output g(step, comm.rank(), tokens, dtype::f32);
/// // buffer: g.bytes() of the engine's memory
/// my_product(hidden, lm_head, g.local(buffer));  // on the stream: this rank's columns, at the strides of that view
/// const gathered logits = g.run(comm, stream, buffer);
/// ```
/// Up to `row_major_up_to` tokens the result is [T, V], above it in one segment for each rank: see `gathered`. A plain
/// value, made without allocation, good for any number of runs; immutable.
class gather_output {
 public:
  /// The step is a sharding's, of a module that gathers its output: colwise_gather_output, embedding_colwise. Throws
  /// `placement_error` for one that does not, and for a packed one, whose ranks' columns are not neighbours; throws
  /// `comm_error` for a rank that the sharding has not.
  constexpr gather_output(const step& s, int rank, std::size_t tokens, dtype type, const gather_options& options = {})
      : step_(s), rank_(rank), type_(type) {
    if (s.then() != collective::gather_last_dim || s.extent == 0) {
      detail::raise(placement_error("'", s.module, "' is ", s.how.name(), s.extent == 0 ? ", without a weight" : "",
                                    ", and gathers no output: take the step of a module that is colwise_gather_output "
                                    "from its sharding"));
    }
    if (s.features.groups != 1) {
      detail::raise(
          placement_error("'", s.module, "' is packed, ", s.features.groups,
                          " groups laid side by side: gather_output is for one; gather it by run(step, ...)"));
    }
    if (rank < 0 || rank >= s.tp) {
      detail::raise(comm_error("'", s.module, "' is cut over ", s.tp, " ranks, and has no rank ", rank));
    }
    shape_ = gathered_shape::of(s, tokens);
    shape_.row_major = tokens <= std::max<std::size_t>(options.row_major_up_to, 1) || shape_.segments() <= 1;
  }

  /// What the buffer holds: always T * V elements.
  constexpr std::size_t elements() const { return shape_.tokens * shape_.columns; }
  constexpr std::size_t bytes() const { return elements() * size_of(type_); }
  constexpr const gathered_shape& shape() const { return shape_; }

  /// Where this rank's product writes, [T, its columns]: with row stride V, or dense, a segment of its own. `buffer`
  /// may be null where T is 0.
  constexpr tensor_view local(void* buffer) const {
    const interval mine = detail::columns_of(step_, rank_);
    const std::size_t at = shape_.tokens == 0 ? 0 : shape_.row_major ? mine.begin : shape_.tokens * mine.begin;
    tensor_view v(static_cast<std::byte*>(buffer) + at * size_of(type_), type_, {shape_.tokens, mine.size()});
    if (shape_.row_major) v.strides[0] = shape_.columns;
    return v;
  }

  /// Makes the buffer whole by exactly one `comm.gather_last_dim`, in place: of T rows, or of one row where a token is
  /// all or the ranks' segments stay apart. Collective; every rank has the same T and options. The result is there when
  /// `stream` is. Throws `comm_error`.
  template <can_gather_last_dim C>
  gathered run(C& comm, typename C::stream_type stream, void* buffer) const {
    detail::check_size(step_, comm.size());
    if (comm.rank() != rank_) {
      detail::raise(comm_error("the gather of '", step_.module, "' was made for rank ", rank_, ", and rank ",
                               comm.rank(), " runs it"));
    }
    const tensor_view mine = local(buffer);
    const bool one_row = shape_.tokens == 1 || !shape_.row_major || step_.tp == 1;
    const detail::rank_columns columns(step_.features, shape_.columns, step_.tp, one_row ? shape_.tokens : 1);
    const detail::module_at_work here(comm, step_);
    if (one_row) {
      comm.gather_last_dim(mine.data, columns[rank_], buffer, elements(), 1, columns, type_, stream);
    } else {
      comm.gather_last_dim(mine.data, shape_.columns, buffer, shape_.columns, shape_.tokens, columns, type_, stream);
    }
    return {buffer, type_, shape_};
  }

 private:
  step step_;
  int rank_;
  dtype type_;
  gathered_shape shape_;
};

}  // namespace v0
}  // namespace shardwise
