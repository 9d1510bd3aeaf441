// SPDX-License-Identifier: Apache-2.0
// Tokens to the ranks that hold their experts, and the answers back: for tokens of which each rank has its own.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/run/experts.hpp"

namespace shardwise {
inline namespace v0 {

/// One expert that a token asks, as it is sent: in 8 bytes.
struct expert_route {
  std::int32_t expert = -1;  ///< its number in the tensors of the rank that is asked; -1: none
  float share = 0;           ///< how much its answer counts
  friend constexpr bool operator==(const expert_route&, const expert_route&) = default;
};

/// The exchange of one module of experts on one rank. A token is sent once to each rank that holds some of its experts,
/// with its routes there; that rank answers with the weighed sum over them, one row for each that came, and the rows of
/// a token are added up in the order of the ranks: the sum does not depend on which rank is faster.
///
/// In the order in which they are called, by every rank, also by one that has no token, or gets none:
/// ```
/// token_dispatch d(experts, comm.rank(), per_token);
/// d.route(tokens, ids, shares, row_bytes);      // not a collective
/// d.exchange_counts(comm, stream);              // tells the ranks how much comes
/// d.send_rows(comm, stream, rows, received);    // rows of sent_tokens()
/// d.send_routes(comm, stream, d.sent_routes().data(), routes);
/// // the engine's experts: answers [received_rows()], of rows and routes
/// d.return_rows(comm, stream, answers, returned);
/// // each token is the sum of its rows of `returned`: rows_of(token)
/// ```
/// The lists of the routes are the host's; buffers are where the communicator works. An engine whose communicator works
/// on a device copies what it sends there first, and in place of `exchange_counts` it sends `count_words()` words of
/// i64 to each rank with an all_to_all, from `counts_to_send()`, and calls `receive_counts` with what came.
///
/// Allocates where there are more tokens than ever before. For one thread; `experts` outlives it.
class token_dispatch {
 public:
  /// Throws `comm_error` for a rank that the experts' sharding has not, and `placement_error` for experts of which
  /// every rank has all, or for tokens that ask none.
  token_dispatch(const experts_by_rank& experts, int rank, std::size_t per_token)
      : experts_(&experts), rank_(rank), per_token_(per_token) {
    if (rank < 0 || rank >= experts.ranks()) {
      detail::raise(comm_error("the experts of '", experts.module(), "' are dealt to ", experts.ranks(),
                               " ranks, and there is no rank ", rank));
    }
    if (!experts.dealt() || per_token == 0) {
      detail::raise(placement_error("no token of '", experts.module(), "' is sent: ",
                                    per_token == 0 ? "it asks no expert" : "every rank has all experts"));
    }
    for (list_of_counts* l : {&sent_, &received_, &marks_}) l->resize(ranks());
    words_.resize(ranks() * words);
  }

  /// The router's choice for this rank's own tokens: ids and shares [tokens, per_token], of rows of `row_bytes`. Says
  /// what is sent where. Not a collective. Lists of other lengths, and an id that is no expert, are remembered, and
  /// refused on all ranks where the counts are exchanged, so that none waits for another. `first`: what the error calls
  /// the first of the tokens.
  template <std::integral Id, std::floating_point Share>
  void route(std::size_t tokens, std::span<const Id> ids, std::span<const Share> shares, std::size_t row_bytes,
             std::size_t first = 0) {
    row_bytes_ = row_bytes;
    tokens_ = tokens;
    ids_ = ids.size();
    shares_ = shares.size();
    fault_ = ids.size() != tokens * per_token_ || shares.size() != ids.size() ? fault::lengths : fault::none;
    for (std::size_t i = 0; i < ids.size() && fault_ == fault::none; ++i) {
      if (detail::is_expert(*experts_, ids[i])) continue;
      fault_ = fault::expert;
      bad_token_ = first + i / per_token_;
      bad_id_ = static_cast<long long>(ids[i]);
    }
    if (fault_ == fault::none) {
      count_rows(ids);
      place_rows(ids, shares);
    }
    write_counts();
  }

  /// Words of i64 that a rank sends to each other.
  static constexpr std::size_t count_words() { return words; }
  std::span<const std::int64_t> counts_to_send() const { return {words_.data(), words_.size()}; }
  /// What came: `count_words()` words from each rank. Throws `placement_error` where this rank's own routes are
  /// refused, and `comm_error` where another rank's are, or where it sends other rows. Every rank throws.
  void receive_counts(std::span<const std::int64_t> from) {
    if (fault_ == fault::lengths) detail::refuse_routes(*experts_, ids_, shares_, tokens_, per_token_);
    if (fault_ == fault::expert) detail::refuse_expert(*experts_, bad_token_, bad_id_);
    for (std::size_t r = 0; r < ranks(); ++r) check(r, from.data() + r * words);
    received_rows_ = 0;
    for (std::size_t r = 0; r < ranks(); ++r) {
      received_[r] = static_cast<std::size_t>(from[r * words]);
      received_rows_ += received_[r];
    }
  }
  /// Both, for ranks that compute on the host. Collective.
  template <can_all_to_all C>
  void exchange_counts(C& comm, typename C::stream_type stream) {
    came_.resize(words_.size());
    in_.resize(ranks());
    for (std::size_t& n : in_) n = words;
    comm.all_to_all(words_.data(), counts(in_), came_.data(), counts(in_), dtype::i64, stream);
    receive_counts({came_.data(), came_.size()});
  }

  /// The token of each row that is sent: by rank, and for one rank in the order of the tokens.
  std::span<const std::uint32_t> sent_tokens() const { return {row_tokens_.data(), row_tokens_.size()}; }
  /// [rows that are sent, per_token]: a token's routes at the rank that it is sent to, then routes to nobody.
  std::span<const expert_route> sent_routes() const { return {routes_.data(), routes_.size()}; }
  /// The rows of one of this rank's tokens among those that are sent, and that come back: in the order of the ranks.
  std::span<const std::uint32_t> rows_of(std::size_t token) const {
    return {token_rows_.data() + first_row_[token], first_row_[token + 1] - first_row_[token]};
  }
  const experts_by_rank& experts() const { return *experts_; }
  std::size_t tokens() const { return tokens_; }
  std::size_t per_token() const { return per_token_; }
  std::size_t received_rows() const { return received_rows_; }

  /// Rows of `row_bytes` each, [rows that are sent] to [received_rows()]: those of a lower rank come first.
  template <can_all_to_all C>
  void send_rows(C& comm, typename C::stream_type stream, const void* rows, void* received) {
    exchange(comm, stream, sent_, rows, received_, received, row_bytes_);
  }
  /// The routes of those rows, [rows, per_token].
  template <can_all_to_all C>
  void send_routes(C& comm, typename C::stream_type stream, const void* routes, void* received) {
    exchange(comm, stream, sent_, routes, received_, received, per_token_ * sizeof(expert_route));
  }
  /// The answers to what came, [received_rows()], to where the questions came from, [rows that were sent].
  template <can_all_to_all C>
  void return_rows(C& comm, typename C::stream_type stream, const void* answers, void* returned) {
    exchange(comm, stream, received_, answers, sent_, returned, row_bytes_);
  }

  /// Bytes that the four all_to_all leave on this rank, as a `tally` counts them: the counts, 8 * count_words() from
  /// each rank; a row and its routes of each that came; and a row of each that was sent.
  std::size_t result_bytes() const {
    return 8 * words * ranks() + received_rows_ * (row_bytes_ + per_token_ * sizeof(expert_route)) +
           row_tokens_.size() * row_bytes_;
  }
  /// Bytes that this rank sends to others: what a link sees, without what it sends to itself. Where every rank has all
  /// tokens, an all-reduce of `tokens` rows in a ring sends 2 (ranks - 1) / ranks * tokens * row_bytes.
  std::size_t sent_bytes() const {
    const auto mine = static_cast<std::size_t>(rank_);
    return 8 * words * (ranks() - 1) +
           (row_tokens_.size() - sent_[mine]) * (row_bytes_ + per_token_ * sizeof(expert_route)) +
           (received_rows_ - received_[mine]) * row_bytes_;
  }

 private:
  using list_of_counts = detail::list<std::size_t>;
  enum class fault : std::uint8_t { none, lengths, expert };
  // To each rank: rows (-1: refused), experts of a token, bytes of a row, experts in all.
  static constexpr std::size_t words = 4;

  std::size_t ranks() const { return static_cast<std::size_t>(experts_->ranks()); }
  static std::span<const std::size_t> counts(const list_of_counts& l) { return {l.data(), l.size()}; }

  // f(rank, slot, first): each slot of a token, and whether it is the first one at its rank. `marks_` holds, by rank,
  // the last token that was seen there, counted from 1.
  template <class Id, class F>
  void for_slots(std::span<const Id> ids, F f) {
    for (std::size_t& m : marks_) m = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto r = static_cast<std::size_t>(experts_->holder(static_cast<std::size_t>(ids[i])));
      const std::size_t token = i / per_token_;
      const bool first = marks_[r] != token + 1;
      marks_[r] = token + 1;
      f(r, i, first);
    }
  }

  template <class Id>
  void count_rows(std::span<const Id> ids) {
    for (std::size_t& n : sent_) n = 0;
    first_row_.resize(tokens_ + 1);
    for (std::size_t& n : first_row_) n = 0;
    for_slots(ids, [&](std::size_t r, std::size_t i, bool first) {
      sent_[r] += first ? 1 : 0;
      first_row_[i / per_token_ + 1] += first ? 1 : 0;
    });
    for (std::size_t t = 0; t < tokens_; ++t) first_row_[t + 1] += first_row_[t];
  }

  template <class Id, class Share>
  void place_rows(std::span<const Id> ids, std::span<const Share> shares) {
    const std::size_t rows = first_row_[tokens_];
    if (rows > ~std::uint32_t{}) detail::raise(comm_error("more than 2^32 - 1 rows would be sent at once: ", rows));
    row_tokens_.resize(rows);
    token_rows_.resize(rows);
    routes_.resize(rows * per_token_);
    for (expert_route& r : routes_) r = {};
    next_.resize(ranks());
    last_.resize(ranks());
    std::size_t before = 0;
    for (std::size_t r = 0; r < ranks(); ++r) {
      next_[r] = before;
      before += sent_[r];
    }
    std::size_t placed = 0;  // in token_rows_
    for_slots(ids, [&](std::size_t r, std::size_t i, bool first) {
      const std::size_t token = i / per_token_;
      if (first) {
        const std::size_t row = next_[r]++;
        last_[r] = row * per_token_;
        row_tokens_[row] = static_cast<std::uint32_t>(token);
        // A later rank has later rows: sorted by row, a token's rows are in the order of the ranks.
        std::size_t at = placed++;
        for (; at > first_row_[token] && token_rows_[at - 1] > row; --at) token_rows_[at] = token_rows_[at - 1];
        token_rows_[at] = static_cast<std::uint32_t>(row);
      }
      const auto local = static_cast<std::size_t>(ids[i]) - experts_->of(static_cast<int>(r)).begin;
      routes_[last_[r]++] = {static_cast<std::int32_t>(local), static_cast<float>(shares[i])};
    });
  }

  void write_counts() {
    for (std::size_t r = 0; r < ranks(); ++r) {
      std::int64_t* to = words_.data() + r * words;
      to[0] = fault_ == fault::none ? static_cast<std::int64_t>(sent_[r]) : -1;
      to[1] = static_cast<std::int64_t>(per_token_);
      to[2] = static_cast<std::int64_t>(row_bytes_);
      to[3] = static_cast<std::int64_t>(experts_->experts());
    }
  }
  void check(std::size_t rank, const std::int64_t* from) const {
    const std::int64_t* mine = words_.data();
    if (from[0] < 0) {
      detail::raise(comm_error("the router of '", experts_->module(), "' on rank ", rank,
                               " gives what is no choice of experts: see the error of that rank"));
    }
    if (from[1] == mine[1] && from[2] == mine[2] && from[3] == mine[3]) return;
    detail::raise(comm_error("'", experts_->module(), "': rank ", rank, " sends rows of ", from[2], " bytes that ask ",
                             from[1], " of ", from[3], " experts, and rank ", rank_, " rows of ", mine[2],
                             " bytes that ask ", mine[1], " of ", mine[3]));
  }

  template <class C>
  void exchange(C& comm, typename C::stream_type stream, const list_of_counts& rows_out, const void* from,
                const list_of_counts& rows_in, void* to, std::size_t bytes) {
    out_.resize(ranks());
    in_.resize(ranks());
    for (std::size_t r = 0; r < ranks(); ++r) {
      out_[r] = rows_out[r] * bytes;
      in_[r] = rows_in[r] * bytes;
    }
    comm.all_to_all(from, counts(out_), to, counts(in_), dtype::u8, stream);
  }

  const experts_by_rank* experts_;
  int rank_;
  std::size_t per_token_, row_bytes_ = 0, tokens_ = 0, received_rows_ = 0;
  list_of_counts sent_, received_;  // rows, by rank
  list_of_counts marks_, next_, last_, out_, in_;
  list_of_counts first_row_;  // by token, in token_rows_; and their number
  detail::list<std::uint32_t> row_tokens_, token_rows_;
  detail::list<expert_route> routes_;
  detail::list<std::int64_t> words_, came_;
  fault fault_ = fault::none;
  std::size_t ids_ = 0, shares_ = 0, bad_token_ = 0;
  long long bad_id_ = 0;
};

}  // namespace v0
}  // namespace shardwise
