// SPDX-License-Identifier: Apache-2.0
// Sequence parallelism: between the blocks each rank has some of the tokens, so that norms and residuals are computed
// and kept once. A reduce-scatter and an all-gather stand where one all-reduce was, and move as much.
#pragma once
#include <cstddef>
#include <string_view>
#include <utility>

#include "shardwise/run/run.hpp"

namespace shardwise {
inline namespace v0 {

/// The tokens of one pass over the ranks: rank r has rows [r n, (r + 1) n) of [tokens, features], n = ceil(tokens /
/// ranks). `sharded<0>` is said of a tensor [n, features]. Where the tokens do not divide, the rows after the last
/// token are padding: the collectives take equal counts from all ranks, one call each, and a rank's shapes are the
/// same as its neighbour's. A decoded token is a row of rank 0, and one row of padding on each other rank. What a
/// module makes of padding is dropped where tokens are gathered.
class token_shards {
 public:
  constexpr token_shards(std::size_t tokens, int ranks)
      : tokens_(tokens),
        each_(ranks < 1 ? tokens : (tokens + static_cast<std::size_t>(ranks) - 1) / static_cast<std::size_t>(ranks)),
        ranks_(ranks) {}

  constexpr std::size_t tokens() const { return tokens_; }
  constexpr int ranks() const { return ranks_; }
  /// Rows of a rank, padding included.
  constexpr std::size_t rows() const { return each_; }
  /// Rows of all ranks, padding included.
  constexpr std::size_t all_rows() const { return each_ * static_cast<std::size_t>(ranks_); }
  /// The tokens of `rank`: fewer than `rows()` where it has padding.
  constexpr interval of(int rank) const {
    const auto at = [&](std::size_t row) { return row < tokens_ ? row : tokens_; };
    const std::size_t first = each_ * static_cast<std::size_t>(rank);
    return {at(first), at(first + each_)};
  }

 private:
  std::size_t tokens_, each_;
  int ranks_;
};

namespace detail {

inline void check_token_rows(std::string_view module, const tensor_view& v, std::size_t rows, const token_shards& t,
                             int ranks) {
  if (t.ranks() != ranks) {
    raise(comm_error("'", module, "': the tokens are dealt to ", t.ranks(), " ranks, and the communicator has ", ranks,
                     ": give token_shards(tokens, comm.size())"));
  }
  if (v.shape.dims() == 2 && v.shape[0] == rows) return;
  raise(placement_error("'", module, "' was given ", v.shape.dims() == 0 ? std::size_t{0} : v.shape[0], " rows in ",
                        v.shape.dims(), " dims, and ", t.tokens(), " tokens over ", ranks, " ranks need ", rows,
                        " of [rows, features]: all dims but the last are one, the tokens"));
}

// [extent, features] of `x` from row `begin` on; rows after its last are zero.
template <class View, class Stream>
View rows_of(const View& x, std::size_t begin, std::size_t extent, Stream stream) {
  static_assert(
      requires { tensor_traits<View>::rows(x, begin, extent, stream); },
      "shardwise: token shards need tensor_traits<your tensor>::rows(x, begin, extent, stream)");
  return tensor_traits<View>::rows(x, begin, extent, stream);
}

template <class View>
View empty_rows(const View& x, std::size_t rows, std::size_t features) {
  static_assert(
      requires(tensor_shape shape) { tensor_traits<View>::empty_like(x, shape); },
      "shardwise: token shards need tensor_traits<your tensor>::empty_like(like, shape)");
  return tensor_traits<View>::empty_like(x, {rows, features});
}

template <class C, class View>
View scatter_tokens(std::string_view module, reduction op, C& comm, typename C::stream_type stream, View x,
                    const token_shards& tokens) {
  static_assert(can_reduce_scatter<C>, "shardwise: this communicator has no reduce_scatter, and token shards need one");
  check_token_rows(module, dense(x, module), tokens.tokens(), tokens, comm.size());
  if (tokens.all_rows() != tokens.tokens()) x = rows_of(x, 0, tokens.all_rows(), stream);
  const tensor_view from = dense(x, module);
  View out = empty_rows(x, tokens.rows(), from.shape.last());
  const tensor_view to = dense(out, module);
  comm.reduce_scatter(from.data, to.data, to.elements(), to.type, op, stream);
  return out;
}

template <class C, class View>
View own_tokens(std::string_view module, const C& comm, typename C::stream_type stream, const View& x,
                const token_shards& tokens) {
  check_token_rows(module, dense(x, module), tokens.tokens(), tokens, comm.size());
  return rows_of(x, tokens.rows() * static_cast<std::size_t>(comm.rank()), tokens.rows(), stream);
}

template <class C, class View>
View gather_tokens(std::string_view module, C& comm, typename C::stream_type stream, const View& x,
                   const token_shards& tokens) {
  static_assert(can_all_gather<C>, "shardwise: this communicator has no all_gather, and token shards need one");
  const tensor_view from = dense(x, module);
  check_token_rows(module, from, tokens.rows(), tokens, comm.size());
  View out = empty_rows(x, tokens.all_rows(), from.shape.last());
  const tensor_view to = dense(out, module);
  comm.all_gather(from.data, to.data, from.elements(), from.type, stream);
  return tokens.all_rows() == tokens.tokens() ? out : rows_of(out, 0, tokens.tokens(), stream);
}

}  // namespace detail

/// As `run`, and the output is on token shards, `sharded<0>`: where the step sums the ranks, by a reduce-scatter in
/// place of the all-reduce; where its output is whole otherwise, each rank keeps its own rows. What the step leaves cut
/// by features or as a partial sum stays as it is. `x` is [tokens, features]. Collective where the step is.
///
/// Needs `tensor_traits<View>::empty_like` and `rows(x, begin, extent, stream)`: [extent, features] from row `begin`
/// on, zero after the last row of `x`. Throws `placement_error` where `x` is not what the style takes it to be or has
/// other rows, and `comm_error` for tokens that are dealt to another number of ranks.
template <communicator C, class View>
placed<View> run_to_tokens(const step& s, C& comm, typename C::stream_type stream, placed<View> x,
                           const token_shards& tokens) {
  if (s.then() != collective::all_reduce) {
    placed<View> y = run(s, comm, stream, std::move(x));
    return y.where() == placement(replicated{}) ? own_tokens(s.module, comm, stream, y, tokens) : y;
  }
  detail::check_runs(s);
  detail::check_placement(s.module, s.how, s.local(), x.where(), true);
  detail::check_size(s, comm.size());
  const detail::module_at_work<C> here(comm, s);
  return assume_placed(sharded<0>{},
                       detail::scatter_tokens(s.module, s.local().op, comm, stream, std::move(x).local(), tokens));
}
/// The same with a bias [out], which is added once: to each rank's tokens after a reduce-scatter.
template <communicator C, class View>
placed<View> run_to_tokens(const step& s, C& comm, typename C::stream_type stream, placed<View> x,
                           const placed<View>& bias, const token_shards& tokens) {
  if (s.then() != collective::all_reduce) {
    placed<View> y = run(s, comm, stream, std::move(x), bias);
    return y.where() == placement(replicated{}) ? own_tokens(s.module, comm, stream, y, tokens) : y;
  }
  detail::check_bias(s, bias.where());
  placed<View> y = run_to_tokens(s, comm, stream, std::move(x), tokens);
  detail::add_bias(s, y.local(), bias.local(), stream);
  return y;
}
/// The same with the style known at compile time: `run_to_tokens<rowwise>` takes a partial sum, and nothing else.
template <auto Style, communicator C, class View, class P>
placed<View, sharded<0>> run_to_tokens(C& comm, typename C::stream_type stream, placed<View, P> x,
                                       const token_shards& tokens) {
  using traits = decltype(detail::traits_of(Style));
  static_assert(traits::facts.then == collective::all_reduce,
                "shardwise: this style sums nothing over the ranks: run it, and keep own_tokens of what is whole");
  (void)wrong_placement<typename traits::local, P>{};
  return assume_placed<sharded<0>>(detail::scatter_tokens(static_cast<style>(Style).name(), traits::facts.local.op,
                                                          comm, stream, std::move(x).local(), tokens));
}

/// A rank's own tokens of a tensor that is whole on each. Not a collective.
template <communicator C, class View>
placed<View> own_tokens(std::string_view module, const C& comm, typename C::stream_type stream, const placed<View>& x,
                        const token_shards& tokens) {
  detail::check_placement(module, style{}, replicated{}, x.where(), true);
  return assume_placed(sharded<0>{}, detail::own_tokens(module, comm, stream, x.local(), tokens));
}
template <communicator C, class View, class P>
placed<View, sharded<0>> own_tokens(std::string_view module, const C& comm, typename C::stream_type stream,
                                    const placed<View, P>& x, const token_shards& tokens) {
  (void)wrong_placement<replicated, P>{};
  return assume_placed<sharded<0>>(detail::own_tokens(module, comm, stream, x.local(), tokens));
}

/// All tokens on every rank, in order, without padding: what a block takes. `module` names it in errors, and to who
/// watches `comm`. Collective.
template <communicator C, class View>
placed<View> gather_tokens(std::string_view module, C& comm, typename C::stream_type stream, const placed<View>& x,
                           const token_shards& tokens) {
  if (x.where() != placement(sharded<0>{})) {
    detail::raise(placement_error("'", module, "' gathers tokens, and was given a tensor that is ", x.where().name(),
                                  ": run_to_tokens and own_tokens put it on token shards"));
  }
  const detail::module_at_work<C> here(comm, module);
  return assume_placed(replicated{}, detail::gather_tokens(module, comm, stream, x.local(), tokens));
}
template <communicator C, class View, class P>
placed<View, replicated> gather_tokens(std::string_view module, C& comm, typename C::stream_type stream,
                                       const placed<View, P>& x, const token_shards& tokens) {
  (void)wrong_placement<sharded<0>, P>{};
  const detail::module_at_work<C> here(comm, module);
  return assume_placed<replicated>(detail::gather_tokens(module, comm, stream, x.local(), tokens));
}

}  // namespace v0
}  // namespace shardwise
