// SPDX-License-Identifier: Apache-2.0
// generate: cut a checkpoint by a tensor-parallel plan, run it on N ranks, and show what comes out.
#include <fmt/core.h>

#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "inputs.hpp"
#include "options.hpp"
#include "plans.hpp"
#include "processes.hpp"
#include "ranks.hpp"
#include "report.hpp"
#include "shardwise/checkpoint.hpp"
#include "whole_file.hpp"

namespace generate {
namespace {

void write_logits(const options& o, const prompt& p, tensor logits) {
  const sw::tensor_shape shape{p.batch, p.tokens, logits.columns()};
  const sw::checkpoint::named_tensor out{"logits", {logits.data(), sw::dtype::f32, shape}};
  sw::checkpoint::write_safetensors(o.logits, {&out, 1});
}

void write_shards(const options& o, const std::vector<rank_result>& ranks) {
  std::vector<std::vector<shard_sum>> sums;
  for (const rank_result& r : ranks) sums.push_back(r.sums);
  write_sums(o.shards, sums);
}

void write_trace(whole_file& file, const std::vector<rank_result>& ranks) {
  std::vector<std::string> lines;
  for (const rank_result& r : ranks) lines.push_back(r.trace);
  file.write(trace_file(lines));
}

/// From a folder to logits. False if they are not those that were expected.
template <class Ranks>
bool generate(const options& o, Ranks& ranks) {
  const auto folder = sw::checkpoint::open(o.model);
  const auto source = sw::checkpoint::converted(folder);
  const sw::tree tree = sw::tree_of(source, folder.config());
  const model_config config = read_config(folder.config());
  const chosen_plan plan = choose_plan(o.plan, folder.config(), o.expert_parallel);
  if (ranks.first()) warn_of_renamed_styles(plan);
  const prompt p = read_prompt(o, config);
  const sw::logits_policy policy = parse_policy(o.policy);
  const tensor expected = o.expected ? read_tensor(*o.expected) : tensor();

  std::optional<whole_file> trace;
  ranks.first_decides([&] {
    if (!o.trace.empty()) trace.emplace(o.trace);
    return true;
  });
  bool right = true;
  for (int tp : ranks.sizes(o.tp)) {
    const sw::sharding sharding = shard_for(plan, tree, config.type, tp);
    if (ranks.first() && o.tp.size() > 1) fmt::print("tp {}\n", tp);
    if (ranks.first() && o.stats) print_coverage(plan, sharding);
    const auto results = ranks.run(sharding, source, config, p,
                                   {o.new_tokens, !o.shards.empty(), !o.trace.empty(), policy, o.sequence_parallel,
                                    o.ep_dispatch == "all_to_all"});
    right &= ranks.first_decides([&] {
      if (o.stats) print_stats(results);
      if (o.stats) print_head(results[0], policy);
      fmt::print("{}", results[0].said);
      if (o.new_tokens != 0) print_tokens(results[0]);
      const bool near = !o.expected || print_difference(results[0].logits, p, expected, o.tolerance);
      if (!o.logits.empty()) write_logits(o, p, results[0].logits);
      if (!o.shards.empty()) write_shards(o, results);
      if (trace) write_trace(*trace, results);
      return near;
    });
  }
  return right;
}

/// The exit code of the program, and why it is not 0.
struct verdict {
  int exit = 0;
  std::string why;
};

template <class Ranks>
verdict run(int argc, char** argv, Ranks& ranks) {
  CLI::App app;
  try {
    const options o = parse_options(app, argc, argv);
    if (generate(o, ranks)) return {};
    return {1, "the logits are not those of --expect"};
  } catch (const CLI::Success& e) {
    if (ranks.first()) app.exit(e);  // --help
    return {};
  } catch (const CLI::ParseError& e) {
    return {1, std::string(e.what()) + "; see --help"};
  } catch (const std::exception& e) {
    return {1, e.what()};
  }
}

int say(const verdict& v) {
  if (v.exit != 0) std::cerr << "error: " << v.why << '\n';
  return v.exit;
}

}  // namespace
}  // namespace generate

int main(int argc, char** argv) {
  using namespace generate;
  if (!asks_for_mpi(argc, argv)) {
    threads ranks;
    return say(run(argc, argv, ranks));
  }
#ifdef GENERATE_MPI
  processes ranks;
  const verdict v = run(argc, argv, ranks);
  if (v.exit != 0) ranks.fail_together(v.why);
  return v.exit;
#else
  return say({1,
              "--comm mpi needs MPI, which was not there when this was built: apt-get install libopenmpi-dev "
              "openmpi-bin, and build again"});
#endif
}
