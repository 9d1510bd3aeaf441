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
    for (const std::string options : {" --plan hf", " --plan auto", " --plan hf --ep-dispatch all_to_all"}) {
      for (int ep : {1, 2, 4}) {
        INFO(g.folder << options << " --ep " << ep);
        const std::string shards = folder / "shards.json";
        const logits_run r = run_prompt(g, options + " --ep " + std::to_string(ep) + " --shards '" + shards + "'");
        INFO(r.done.err);
        CHECK(r.difference <= g.tolerance);
        if (ep == 2) CHECK(ranks_of(shards) == ranks_of(golden(g.files + "/ep2.json")));
      }
      INFO(g.folder << options);
      CHECK(run(g.at(g.greedy() + options + " --ep 2 --new-tokens 25")).out ==
            tokens_line(golden(g.files + "/greedy.json")));
    }
  }
}

TEST_CASE("experts that do not divide are dealt unevenly by a plan of ours, and refused by Hugging Face's",
          "[examples]") {
  const golden_model& g = golden_of("gpt_oss");  // its attention is whole, so that any number of ranks may share it
  for (const std::string how : {"masked", "all_to_all"}) {
    for (const char* ep : {"3", "5"}) {
      INFO(how << " over " << ep);
      const std::string options = std::string(" --ep ") + ep + " --ep-dispatch " + how;
      CHECK(run_prompt(g, options).difference <= g.tolerance);
      const outcome r = run(g.at(g.prompt() + options + " --plan hf"));
      CHECK(r.refused());
      CHECK_THAT(r.err, ContainsSubstring("legal sizes: 1, 2, 4, 8"));
    }
  }
}

TEST_CASE("tokens are sent in four exchanges and a gather for each layer, in place of its sum", "[examples]") {
  // Ten tokens of 64 floats and four layers with experts, then three of one token.
  const auto stats = [](const std::string& how) {
    const golden_model& g = golden_of("qwen3_5_moe");
    return run(g.at("--tokens 1,2,3,4,5,6,7,8,9,10 --new-tokens 3 --plan hf --ep 2 --stats --ep-dispatch " + how)).out;
  };
  const std::string masked = stats("masked"), sent = stats("all_to_all");
  for (const char* phase : {"prefill: ", "per token: "}) {
    const std::size_t tokens = phase[1] == 'r' ? 10 : 1;
    const auto calls = [&](std::size_t reduces, std::size_t gathers) {
      const std::size_t row = 64 * 4;
      return phase + std::to_string(reduces) + " all_reduce (" + std::to_string(reduces * tokens * row) + " bytes), " +
             std::to_string(gathers) + " gather_last_dim (";
    };
    CHECK_THAT(masked, ContainsSubstring(calls(10, 16)));
    CHECK_THAT(sent, ContainsSubstring(calls(6, 20)) && ContainsSubstring(", 16 all_to_all ("));
  }
  CHECK_THAT(masked, !ContainsSubstring("all_to_all"));
}

TEST_CASE("what cannot share its experts is refused", "[examples]") {
  const auto refusal = [](const std::string& arguments) {
    const outcome r = run(golden_of("qwen3_moe").at("--tokens 1,2 " + arguments));
    CHECK(r.refused());
    return r.err;
  };
  CHECK_THAT(refusal("--ep 2 --tp 4"), ContainsSubstring("give one number to both"));
  CHECK_THAT(refusal("--tp 2 --ep-dispatch masked"), ContainsSubstring("--ep-dispatch requires --ep"));
  CHECK_THAT(refusal("--ep 0"), ContainsSubstring("0 is not a number of ranks"));
  CHECK_THAT(refusal("--plan hf --ep 3"), ContainsSubstring("legal sizes: 1, 2, 4"));
  const outcome dense = run(golden_of("llama").at("--tokens 1,2 --ep 2"));
  CHECK(dense.refused());
  CHECK_THAT(dense.err, ContainsSubstring("there is no expert-parallel plan for a llama"));
}

}  // namespace
