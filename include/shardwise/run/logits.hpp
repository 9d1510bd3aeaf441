// SPDX-License-Identifier: Apache-2.0
// What is wanted of the logits, found by one exchange of few numbers instead of a gather of all.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/run/detail/logits_job.hpp"
#include "shardwise/run/detail/logits_message.hpp"
#include "shardwise/run/detail/rank_columns.hpp"
#include "shardwise/run/gathered.hpp"
#include "shardwise/run/logits_memory.hpp"
#include "shardwise/run/logits_policy.hpp"
#include "shardwise/run/placed.hpp"
#include "shardwise/run/run.hpp"
#include "shardwise/shard/step.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

// The columns of each rank are neighbours, in rank order.
inline void check_logits(const step& s) {
  if (s.extent == 0 || s.local() != placement(sharded<-1>{})) {
    raise(placement_error("'", s.module, "' is ", s.how.name(), s.extent == 0 ? ", without a weight" : "",
                          ", and its output features are not cut: run its step, and give the logits as replicated, or "
                          "take the step of a module that is colwise or colwise_gather_output from its sharding"));
  }
  std::size_t at = 0;
  for (int r = 0; r < s.tp; ++r) {
    const interval mine = columns_of(s, r);
    if (mine.begin != at || s.pieces(r).size() != mine.size()) {
      raise(placement_error("'", s.module,
                            "' is packed, and the columns of a rank are no neighbours: a policy is for "
                            "one vocabulary; gather it by run(step, ...)"));
    }
    at = mine.end;
  }
}
// The ids of each rank: its columns, but for those that pad.
inline void ids_of_ranks(const step& s, std::size_t vocabulary, std::vector<interval>& out) {
  out.clear();
  for (int r = 0; r < s.tp; ++r) {
    const interval i = columns_of(s, r);
    out.push_back({std::min(i.begin, vocabulary), std::min(i.end, vocabulary)});
  }
}
inline std::size_t vocabulary_of(const step& s, std::size_t columns, const logits_options& options) {
  if (options.vocabulary <= columns) return options.vocabulary == 0 ? columns : options.vocabulary;
  raise(logits_error("the logits of '", s.module, "' have ", columns, " columns, and are said to have a vocabulary of ",
                     options.vocabulary));
}
// Rows and columns of logits [..., columns]; rows may be apart where they are the only other dim.
struct logits_rows {
  std::size_t rows = 1, columns = 0, stride = 0;  // in elements
  logits_rows(const step& s, const tensor_view& v) {
    check_has_dims(s, v);
    const std::size_t last = v.shape.dims() - 1;
    for (std::size_t d = 0; d < last; ++d) rows *= v.shape[d];
    columns = v.shape[last];
    stride = last == 1 ? v.strides[0] : columns;
    if ((columns > 1 && v.strides[last] != 1) || (last > 1 && !v.contiguous())) {
      raise(placement_error("the logits of '", s.module,
                            "' are neither dense, nor rows of dense columns: copy the view"));
    }
    if (!can_be_logits(v.type)) {
      raise(placement_error("the logits of '", s.module, "' are ", name_of(v.type), ", and may be F32, F16 or BF16"));
    }
  }
};

template <class C, class Memory>
gathered gather_logits(const step& s, C& comm, typename C::stream_type stream, const tensor_view& v,
                       const logits_rows& shape, Memory& memory) {
  static_assert(can_gather_last_dim<C>, "shardwise: this communicator has no gather_last_dim, and gather needs one");
  const rank_columns columns(s.features, s.extent, s.tp);
  void* whole = memory.whole(shape.rows * s.extent * size_of(v.type));
  comm.gather_last_dim(v.data, shape.stride, whole, s.extent, shape.rows, columns, v.type, stream);
  gathered_shape lies = gathered_shape::of(s, shape.rows);
  lies.row_major = true;
  return {whole, v.type, lies};
}

}  // namespace detail

/// What `wanted` asks of the logits, on every rank the same, and the same for every number of ranks:
/// ```
/// logits_memory memory;  // once for each rank; cuda::logits_memory where logits are on a device
/// const auto& best = run(step, comm, stream, logits, logits::argmax, memory);
/// next = best.ids[0];
/// ```
/// `local` is what the module's own arithmetic yielded, [rows, its columns]: f32, f16 or bf16, sharded on its last dim,
/// of a step whose output features are cut (colwise, colwise_gather_output). Or it is whole, and replicated: then no
/// rank asks another.
///
/// Collective: one `all_gather`, and sometimes more for sample with top_p but without top_k; of gather one
/// `gather_last_dim`; none for 0 rows, of one rank, or of whole logits, but for gather. `wanted` and `options` are the
/// same on all ranks. When it returns the answer is on the host, but that of gather, which is there when `stream` is.
///
/// Throws `logits_error`, the same on every rank, for a row with a NaN, one that is all -inf, one with +inf where
/// exponentials are asked for, and a policy without an answer; the group is as good as before. `placement_error` for
/// logits that are not placed so, before any collective; `comm_error` where the collective fails.
template <communicator C, class View, class P, class Memory>
const logits_answer& run(const step& s, C& comm, typename C::stream_type stream, const placed<View, P>& local,
                         const logits_policy& wanted, Memory& memory, const logits_options& options = {}) {
  static_assert(can_all_gather<C>, "shardwise: this communicator has no all_gather, and a policy needs one");
  detail::check_size(s, comm.size());
  const bool whole = local.where() == placement(replicated{});
  if (!whole) {
    detail::check_logits(s);
    detail::check_placement(s.module, s.how, s.local(), local.where(), true);
  }
  const tensor_view v = tensor_traits<View>::view(const_cast<View&>(local.local()));
  const detail::logits_rows shape(s, v);
  const interval mine = whole ? interval{0, shape.columns} : detail::columns_of(s, comm.rank());
  if (mine.size() != shape.columns) {
    detail::raise(placement_error("'", s.module, "' yields ", shape.columns, " columns on rank ", comm.rank(),
                                  ", and the plan gives it ", mine.size(), " of ", s.extent));
  }
  detail::logits_scratch& w = memory.scratch();
  const std::size_t vocabulary = detail::vocabulary_of(s, whole ? shape.columns : s.extent, options);
  const detail::module_at_work here(comm, s);
  if (wanted.kind == logits_kind::gather) {
    w.answer = {};
    w.answer.rows = shape.rows;
    if (whole) (void)detail::dense(local.local(), s.module);
    w.answer.whole = whole ? gathered(v.data, v.type, {shape.rows, shape.columns, shape.columns, 1, 0, true})
                           : detail::gather_logits(s, comm, stream, v, shape, memory);
    return w.answer;
  }

  if (whole) {
    w.columns.assign(1, {0, vocabulary});
  } else {
    detail::ids_of_ranks(s, vocabulary, w.columns);
  }
  const int rank = whole ? 0 : comm.rank();
  const bool alone = w.columns.size() == 1;
  detail::logits_job job(s.module, wanted, shape.rows, vocabulary, options, w);
  if (shape.rows == 0) return job.answer();
  const std::size_t bytes = size_of(v.type);
  const detail::host_logits logits = memory.on_host(
      comm, stream, v.data, shape.rows, w.columns[static_cast<std::size_t>(rank)].size() * bytes, shape.stride * bytes);
  std::span<std::uint32_t> message = memory.message(job.words());
  job.write(rank, logits, v.type, message);
  job.read_all(alone ? message : memory.exchange(comm, stream, message.size()));
  while (!job.decided()) {
    message = memory.message(job.words_of_round());
    job.write_round(rank, logits, v.type, message);
    job.read_round(alone ? message : memory.exchange(comm, stream, message.size()));
  }
  return job.answer();
}

/// What a call of `run` adds to a `tally` on each rank, for logits of `rows` rows that are cut over the step's ranks:
/// - gather: rows * columns * bytes of an element;
/// - else, of more than one rank, ranks * rows * 4 * words, where a rank's words of a row are 1, which says if it has a
///   NaN, and: 2 for argmax; 2 min(k, n) for top_k, where n is the largest number of ids of a rank; the number of ids,
///   and the sum's words, for log_softmax; for sample 2 at temperature 0, else 2 min(top_k, n) with top_k, else
///   2 min(64, n) and the sum's words with top_p, else 4. The sum's words are 3 for each block of 128 ids of which a
///   rank has all, and 1 for each id of any other; of the rank that has most.
/// - `rounds`, `logits_answer::rounds` of the call: round i = 1, 2, ... of a row adds ranks * 8 * (256, 1024, ...)
/// bytes,
///   or what is left of n.
/// Of a device the same crosses to and from the host, and the rank's logits to it.
inline std::size_t logits_bytes(const step& s, const logits_policy& wanted, std::size_t rows, dtype type,
                                const logits_options& options = {}, std::span<const std::uint32_t> rounds = {}) {
  detail::check_logits(s);
  if (wanted.kind == logits_kind::gather) return rows * s.extent * size_of(type);
  if (s.tp == 1) return 0;
  const std::size_t vocabulary = detail::vocabulary_of(s, s.extent, options);
  std::vector<interval> columns;
  detail::ids_of_ranks(s, vocabulary, columns);
  const std::size_t widest = detail::logits_terms::widest_of(columns);
  const detail::logits_message shape(wanted, rows, widest);
  std::size_t words = rows * shape.words(columns, vocabulary);
  for (const std::uint32_t of_row : rounds) {
    for (std::size_t i = 1; i <= of_row; ++i)
      words += detail::logits_message::words_of_key * detail::nucleus_round(i, widest).size();
  }
  return static_cast<std::size_t>(s.tp) * words * 4;
}

}  // namespace v0
}  // namespace shardwise
