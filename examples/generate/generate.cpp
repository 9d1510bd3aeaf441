// SPDX-License-Identifier: Apache-2.0
// generate: cut a checkpoint by a tensor-parallel plan, run it on N ranks, and show what comes out.
#include <fmt/core.h>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "inputs.hpp"
#include "options.hpp"
#include "plans.hpp"
#include "ranks.hpp"
#include "report.hpp"
#include "shardwise/checkpoint.hpp"

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

/// From a folder to logits. False if they are not those that were expected.
bool generate(const options& o) {
  const auto folder = sw::checkpoint::open(o.model);
  const auto source = sw::checkpoint::converted(folder);
  const sw::tree tree = sw::tree_of(source, folder.config());
  const model_config config = read_config(folder.config());
  const chosen_plan plan = choose_plan(o.plan, folder.config());
  const prompt p = read_prompt(o, config);
  const tensor expected = o.expected ? read_tensor(*o.expected) : tensor();

  bool right = true;
  for (int tp : o.tp) {
    const sw::sharding sharding = shard_for(plan, tree, config.type, tp);
    if (o.tp.size() > 1) fmt::print("tp {}\n", tp);
    if (o.stats) print_coverage(plan, sharding);
    const auto ranks = run_ranks(sharding, source, config, p, {o.new_tokens, !o.shards.empty()});
    if (o.stats) print_stats(ranks);
    if (o.new_tokens != 0) print_tokens(ranks[0]);
    if (o.expected) right &= print_difference(ranks[0].logits, p, expected, o.tolerance);
    if (!o.logits.empty()) write_logits(o, p, ranks[0].logits);
    if (!o.shards.empty()) write_shards(o, ranks);
  }
  return right;
}

}  // namespace
}  // namespace generate

int main(int argc, char** argv) {
  CLI::App app;
  try {
    const generate::options o = generate::parse_options(app, argc, argv);
    if (generate::generate(o)) return 0;
    std::cerr << "error: the logits are not those of --expect\n";
  } catch (const CLI::Success& e) {
    return app.exit(e);  // --help
  } catch (const CLI::ParseError& e) {
    std::cerr << "error: " << e.what() << "; see --help\n";
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
  }
  return 1;
}
