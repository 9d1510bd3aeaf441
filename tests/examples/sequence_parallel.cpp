// SPDX-License-Identifier: Apache-2.0
// The residual stream on token shards: the same logits and tokens, and a reduce-scatter and an all-gather in place of
// each all-reduce.
#include <cstddef>
#include <string>

#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("with the residual stream on token shards logits and tokens are Hugging Face's", "[examples]") {
  for (const char* plan : {"hf", "auto", "by_head"}) {
    for (const golden_model& g : goldens()) {
      for (int tp : {1, 2, 3, 4}) {
        if (tp == 3 && std::string(plan) != "by_head") continue;  // uneven
        const std::string options = std::string(" --sequence-parallel --plan ") + plan + " --tp " + std::to_string(tp);
        INFO(g.folder << options);
        const logits_run r = run_prompt(g, options);
        INFO(r.done.err);
        CHECK(r.difference <= g.tolerance);
        if (tp == 1) continue;
        CHECK(run(g.at(g.greedy() + options + " --new-tokens 25")).out ==
              tokens_line(golden(g.files + "/greedy.json")));
      }
    }
  }
}

TEST_CASE("whole experts, and tokens that are sent to them, run on token shards too", "[examples]") {
  const golden_model& g = golden_of("qwen3_moe");
  for (const char* dispatch : {"masked", "all_to_all"}) {
    INFO(dispatch);
    CHECK(run_prompt(g, std::string("--sequence-parallel --ep 2 --ep-dispatch ") + dispatch).difference <= g.tolerance);
  }
}

// Of a llama, by hand: the embedding, and two blocks in each of L layers, sum T rows of H floats over the ranks; as
// many times all tokens are gathered, the last time for the head. A rank has n = ceil(T / ranks) rows. The longest
// stream is the prompt's.
TEST_CASE("the collectives and the bytes of the residual stream are what the shapes say", "[examples]") {
  const std::size_t layers = 3, hidden = 64, vocabulary = 512, batch = 2;
  const auto of = [](const char* what, std::size_t calls, std::size_t rows, std::size_t width) {
    return std::to_string(calls) + " " + what + " (" + std::to_string(calls * rows * width * sizeof(float)) + " bytes)";
  };
  for (const std::size_t tokens : {1u, 5u, 8u}) {
    std::string rows = "[";
    for (std::size_t b = 0; b < batch; ++b) {
      rows += b == 0 ? "[" : ", [";
      for (std::size_t t = 0; t < tokens; ++t) rows += (t == 0 ? "" : ", ") + std::to_string(7 * b + t);
      rows += "]";
    }
    const temporary_folder folder;
    const std::string inputs = folder.write("inputs.json", "{\"input_ids\": " + rows + "]}");
    for (const std::size_t tp : {2u, 4u}) {
      INFO(tokens << " tokens, tp " << tp);
      const std::size_t all = batch * tokens, sums = 1 + 2 * layers, each = (all + tp - 1) / tp;
      const std::string command = "'" + golden("llama") + "' --plan hf --stats --new-tokens 2 --tp " +
                                  std::to_string(tp) + " --inputs '" + inputs + "'";
      const std::string whole = run(command).out, cut = run(command + " --sequence-parallel").out;
      CHECK_THAT(whole, ContainsSubstring("prefill: " + of("all_reduce", sums, all, hidden) + ", " +
                                          of("gather_last_dim", 1, all, vocabulary) + "\n") &&
                            ContainsSubstring("residual stream " + std::to_string(all * hidden * 4) + " bytes"));
      CHECK_THAT(cut, ContainsSubstring("prefill: " + of("all_gather", sums, tp * each, hidden) + ", " +
                                        of("gather_last_dim", 1, all, vocabulary) + ", " +
                                        of("reduce_scatter", sums, each, hidden) + "\n") &&
                          ContainsSubstring("residual stream " + std::to_string(each * hidden * 4) + " bytes"));
      // A decoded token of each row of the batch.
      const std::size_t one = (batch + tp - 1) / tp;
      CHECK_THAT(cut, ContainsSubstring("per token: " + of("all_gather", sums, tp * one, hidden) + ", " +
                                        of("gather_last_dim", 1, batch, vocabulary) + ", " +
                                        of("reduce_scatter", sums, one, hidden) + "\n"));
      CHECK(whole.substr(whole.find("tokens:")) == cut.substr(cut.find("tokens:")));
    }
  }
}

}  // namespace
