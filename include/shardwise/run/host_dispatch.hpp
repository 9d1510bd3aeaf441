// SPDX-License-Identifier: Apache-2.0
// Experts on other ranks, asked by an engine that computes on the host: what dispatch.hpp leaves to the engine is done.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "shardwise/comm/detail/reduce.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/run/detail/rank_columns.hpp"
#include "shardwise/run/dispatch.hpp"
#include "shardwise/run/run.hpp"

namespace shardwise {
inline namespace v0 {

/// Row i of `to` becomes row `which[i]` of `from`. Both are dense rows of the same type and length, in host memory.
inline void copy_rows(std::span<const std::uint32_t> which, const tensor_view& from, const tensor_view& to) {
  const std::size_t bytes = from.shape.last() * size_of(from.type);
  for (std::size_t i = 0; i < which.size() && bytes != 0; ++i) {
    std::memcpy(static_cast<std::byte*>(to.data) + i * bytes,
                static_cast<const std::byte*>(from.data) + which[i] * bytes, bytes);
  }
}

/// Each of the rank's own tokens becomes the sum of its rows of `returned`, in the order of the ranks, at row `token`
/// of `to`. Dense rows of the same type and length, in host memory; 16-bit floats are added in float and rounded once.
/// Throws `placement_error` for a type that is not reduced.
inline void sum_rows(const token_dispatch& d, const tensor_view& returned, const tensor_view& to) {
  if (!detail::can_reduce(to.type)) {
    detail::raise(placement_error("the answers of '", d.experts().module(), "' are ", name_of(to.type),
                                  ", which is not added up: let the experts answer in f32, bf16 or f16"));
  }
  const std::size_t columns = to.shape.last(), bytes = columns * size_of(to.type);
  for (std::size_t t = 0; t < d.tokens() && bytes != 0; ++t) {
    const std::span<const std::uint32_t> rows = d.rows_of(t);
    const auto source = [&](int i) {
      return static_cast<const std::byte*>(returned.data) + rows[static_cast<std::size_t>(i)] * bytes;
    };
    detail::reduce(static_cast<int>(rows.size()), source, columns, to.type, reduction::sum,
                   static_cast<std::byte*>(to.data) + t * bytes);
  }
}

/// The module of experts as a whole, by sending tokens: in place of the engine's product and `run(step, ...)`. `step`
/// is of a module that is `ep_dispatch_experts`, `d` of the same module.
///
/// `x` [tokens, hidden] is whole on every rank, as are the router's `ids` and `shares` [tokens, per_token]: each rank
/// sends its part of the tokens (as torch.chunk cuts), and the sums are gathered, so that the output is whole. Or `x`
/// is sharded on its tokens, dim 0: then the lists are of the rank's own tokens, of any number, and so is the output.
/// `ask(rows, routes)` is the engine's own experts: from `View` [n, hidden] and `std::span<const expert_route>` [n,
/// per_token] to the weighed sum of the answers, `View` [n, hidden] of the same type. It is called once, with n = 0
/// too.
///
/// Collective: four all_to_all, and a gather where the output is whole. Throws as `token_dispatch` does, on every rank,
/// and `placement_error` for an x of another placement or shape. Needs `tensor_traits<View>::empty_like`.
template <can_all_to_all C, class View, std::integral Id, std::floating_point Share, class Ask>
placed<View> run_dispatched(const step& s, token_dispatch& d, C& comm, typename C::stream_type stream,
                            const placed<View>& x, std::span<const Id> ids, std::span<const Share> shares, Ask&& ask) {
  static_assert(can_gather_last_dim<C>, "shardwise: this communicator has no gather_last_dim, which makes x whole");
  detail::check_size(s, comm.size());
  if (s.how.kind != style_kind::ep_dispatch_experts || d.experts().module() != s.module) {
    detail::raise(placement_error("'", s.module, "' is ", s.how.name(), ", and tokens are sent to the experts of '",
                                  d.experts().module(), "': take the step of the module that is ep_dispatch_experts"));
  }
  const bool own_tokens = x.where() == placement(sharded<0>{});
  if (!own_tokens) detail::check_placement(s.module, s.how, replicated{}, x.where(), false);
  const tensor_view all = detail::dense(x.local(), s.module);
  if (all.shape.dims() != 2) {
    detail::raise(placement_error("'", s.module, "' sends rows, and was given a tensor of ", all.shape.dims(),
                                  " dims: give it [tokens, hidden]"));
  }
  const std::size_t tokens = all.shape[0], hidden = all.shape[1], row_bytes = hidden * size_of(all.type);
  const interval mine = own_tokens ? interval{0, tokens} : chunk(tokens, comm.size(), comm.rank());
  const auto rows_of = [&](const tensor_view& of, std::size_t begin, std::size_t n) {
    return tensor_view(static_cast<std::byte*>(of.data) + begin * row_bytes, of.type, {n, hidden});
  };
  const auto make = [&](std::size_t n) { return tensor_traits<View>::empty_like(x.local(), {n, hidden}); };

  if (ids.size() == tokens * d.per_token() && shares.size() == ids.size()) {
    ids = ids.subspan(mine.begin * d.per_token(), mine.size() * d.per_token());
    shares = shares.subspan(mine.begin * d.per_token(), mine.size() * d.per_token());
    d.route(mine.size(), ids, shares, row_bytes, mine.begin);
  } else {
    d.route(tokens, ids, shares, row_bytes);  // which refuses them, on every rank
  }
  const detail::module_at_work here(comm, s);
  d.exchange_counts(comm, stream);

  View sent = make(d.sent_tokens().size()), received = make(d.received_rows());
  detail::list<expert_route> routes;
  routes.resize(d.received_rows() * d.per_token());
  const tensor_view out = detail::dense(sent, s.module), in = detail::dense(received, s.module);
  copy_rows(d.sent_tokens(), rows_of(all, mine.begin, mine.size()), out);
  d.send_rows(comm, stream, out.data, in.data);
  d.send_routes(comm, stream, d.sent_routes().data(), routes.data());

  const View answers = ask(std::as_const(received), std::span<const expert_route>(routes.data(), routes.size()));
  const tensor_view answered = detail::dense(answers, s.module);
  if (!(answered.shape == in.shape) || answered.type != in.type) {
    detail::raise(placement_error("the experts of '", s.module, "' were asked ", in.shape[0], " rows of ", hidden, " ",
                                  name_of(in.type), ", and must answer as many"));
  }
  d.return_rows(comm, stream, answered.data, out.data);

  View y = make(tokens);
  const tensor_view whole = detail::dense(y, s.module);
  sum_rows(d, out, rows_of(whole, mine.begin, mine.size()));
  if (!own_tokens) {
    cut by_tokens;
    by_tokens.dim = 0;
    by_tokens.divided = division::chunk;
    const detail::rank_columns parts(by_tokens, tokens, comm.size(), hidden);
    comm.gather_last_dim(rows_of(whole, mine.begin, 0).data, parts[comm.rank()], whole.data, tokens * hidden, 1, parts,
                         all.type, stream);
  }
  return assume_placed(x.where(), std::move(y));
}

}  // namespace v0
}  // namespace shardwise
