// SPDX-License-Identifier: Apache-2.0
// Whole experts on each rank, and the rest cut by the tensor-parallel plan, as Hugging Face has it on one group.
#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

constexpr const char* with_experts[] = {"qwen3_moe", "mixtral", "gpt_oss", "qwen3_5_moe", "qwen3_5_moe_vl"};

TEST_CASE("with whole experts on each rank logits, tokens and local tensors are Hugging Face's", "[examples]") {
  const temporary_folder folder;
  for (const std::string name : with_experts) {
    const golden_model& g = golden_of(name);
    for (const std::string plan : {"hf", "auto"}) {
      for (int ep : {1, 2, 4}) {
        const std::string options = " --plan " + plan + " --ep " + std::to_string(ep);
        INFO(g.folder << options);
        const std::string shards = folder / "shards.json";
        const logits_run r = run_prompt(g, options + " --shards '" + shards + "'");
        INFO(r.done.err);
        CHECK(r.difference <= g.tolerance);
        if (plan == "hf" && ep == 2) CHECK(ranks_of(shards) == ranks_of(golden(g.files + "/ep2.json")));
      }
    }
    INFO(g.folder);
    CHECK(run(g.at(g.greedy() + " --plan hf --ep 2 --new-tokens 25")).out ==
          tokens_line(golden(g.files + "/greedy.json")));
  }
}

TEST_CASE("what cannot share its experts is refused", "[examples]") {
  const auto refusal = [](const std::string& arguments) {
    const outcome r = run(golden_of("qwen3_moe").at("--tokens 1,2 " + arguments));
    CHECK(r.refused());
    return r.err;
  };
  CHECK_THAT(refusal("--ep 2 --tp 4"), ContainsSubstring("give one number to both"));
  CHECK_THAT(refusal("--ep 0"), ContainsSubstring("0 is not a number of ranks"));
  CHECK_THAT(refusal("--ep 3"), ContainsSubstring("legal sizes: 1, 2, 4"));
  const outcome dense = run(golden_of("llama").at("--tokens 1,2 --ep 2"));
  CHECK(dense.refused());
  CHECK_THAT(dense.err, ContainsSubstring("there is no expert-parallel plan for a llama"));
}

}  // namespace
