// SPDX-License-Identifier: Apache-2.0
// One run of a model on N ranks, each with its own part of the weights: threads of this process, or processes.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model.hpp"
#include "policy.hpp"
#include "shards.hpp"
#include "shardwise/comm/any_communicator.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/observer.hpp"
#include "shardwise/comm/same_schedule.hpp"
#include "shardwise/comm/tally.hpp"
#include "trace.hpp"

namespace generate {

/// What came out of one rank.
struct rank_result {
  tensor logits;                                  ///< of the prompt [batch, tokens, vocabulary]; of rank 0 only
  std::vector<std::vector<std::int64_t>> tokens;  ///< the new ones, by row of the batch
  std::size_t weight_bytes = 0, cache_bytes = 0, state_bytes = 0;
  std::size_t residual_bytes = 0, activation_bytes = 0;  ///< of the prompt, at most: the residual stream; all tensors
  sw::tally prefill, decode;                             ///< collectives of the prompt; of all decoded tokens
  sw::tally head_prefill, head;  ///< of those, the head's: for the logits, or for what is wanted of them
  std::string said;              ///< lines about the prompt's logits, of some policies
  std::size_t decoded = 0;       ///< decode steps
  std::vector<shard_sum> sums;   ///< if asked for
  std::string trace;             ///< lines of a trace file, if asked for
};

struct run_options {
  std::size_t new_tokens = 0;
  bool sums = false, trace = false;
  sw::logits_policy policy = sw::logits::gather;
  bool sequence_parallel = false;  ///< the residual stream is on token shards
  bool sends_tokens = false;       ///< to the ranks that have their experts
};

/// What is watched on a rank: collectives are counted, and written down with their times if asked for.
struct rank_watch {
  sw::tally counts, head;
  std::optional<trace> times;

  void begin(const sw::collective_event& e) {
    if (times) times->begin(e);
  }
  void end(const sw::collective_event& e) {
    counts.end(e);
    if (e.module == "lm_head") head.end(e);
    if (times) times->end(e);
  }
  void in_phase(std::string_view name) {
    counts.reset();
    head.reset();
    if (times) times->in_phase(name);
  }
};

/// Ranks that were given different plans, or models, do not start: each throws the same `comm_error`.
template <sw::full_communicator C>
void require_same_schedule(C& ranks, const sw::sharding& sharding) {
  const sw::schedule steps = sw::schedule_of(sharding, sw::dtype::f32);  // what the engine computes in
  sw::communicator_rendezvous meeting(ranks);
  sw::require_same_schedule(meeting, sw::manifest(sharding, steps));
}

/// Runs on each rank. `source` holds the weights under the model's names.
template <sw::full_communicator C, class Source>
rank_result run_rank(C& ranks, const sw::sharding& sharding, const Source& source, const model_config& config,
                     const prompt& p, const run_options& options) {
  require_same_schedule(ranks, sharding);
  rank_watch watch;
  if (options.trace) watch.times.emplace();
  sw::observed watched(ranks, watch);
  sw::any_communicator comm(watched);
  weights parameters(sharding, comm.rank());
  residual_stream residual(options.sequence_parallel);
  const model m({sharding, comm, parameters, options.sends_tokens, &residual}, config);
  m.rehearse();
  comm.barrier({});  // no rank reads a weight before all ranks have taken the plan
  parameters.load(source);

  rank_result r;
  memory past;
  past.batch = p.batch;
  past.capacity = p.tokens + options.new_tokens;
  watch.in_phase("prefill");
  decider decide(options.policy, m);
  tensor_meter& meter = tensor_meter::of_thread();
  const std::ptrdiff_t before = meter.start();
  std::vector<std::int64_t> next = decide.after_prompt(m.read(p, past), p);
  r.residual_bytes = residual.most_bytes();
  // Caches and states are made while the prompt is read, and stay.
  r.activation_bytes = static_cast<std::size_t>(meter.most - before) - past.cache_bytes() - past.state_bytes();
  r.prefill = watch.counts;
  r.head_prefill = watch.head;

  watch.in_phase("decode");
  r.tokens.resize(p.batch);
  for (std::size_t i = 0; i < options.new_tokens; ++i) {
    for (std::size_t b = 0; b < p.batch; ++b) r.tokens[b].push_back(next[b]);
    if (i + 1 == options.new_tokens) break;
    const value one = m.read(next, p, past);
    next = decide.after_token(one, past.length);
    ++r.decoded;
  }
  r.decode = watch.counts;
  r.head = watch.head;
  if (watch.times) r.trace = watch.times->lines();

  r.weight_bytes = parameters.bytes();
  r.cache_bytes = past.cache_bytes();
  r.state_bytes = past.state_bytes();
  if (options.sums) r.sums = sums_of(sharding, parameters);
  r.said = decide.said();
  if (comm.rank() == 0) r.logits = decide.logits();
  return r;
}

/// How long a rank waits for the others: they may have more to load, or to compute.
inline constexpr std::chrono::milliseconds rank_deadline = std::chrono::minutes(10);

/// Ranks as threads.
class threads {
 public:
  /// Is this the process that prints?
  bool first() const { return true; }

  /// The numbers of ranks that are asked for, or one.
  std::vector<int> sizes(const std::vector<int>& asked) const { return asked.empty() ? std::vector<int>{1} : asked; }

  /// What came out, by rank.
  template <class Source>
  std::vector<rank_result> run(const sw::sharding& sharding, const Source& source, const model_config& config,
                               const prompt& p, const run_options& options) {
    return sw::in_process(
        sharding.tp(),
        [&](sw::in_process_communicator& ranks) { return run_rank(ranks, sharding, source, config, p, options); },
        {.deadline = rank_deadline});
  }

  /// What `f()` returns in the process that prints.
  template <class F>
  bool first_decides(F f) const {
    return f();
  }
};

}  // namespace generate
