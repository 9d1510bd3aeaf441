// SPDX-License-Identifier: Apache-2.0
// --logits-policy: the same tokens as by a gather, for fewer bytes, and the same at every size.
#include <algorithm>
#include <sstream>

#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("argmax gives Hugging Face's 25 tokens without a gather", "[examples]") {
  for (const char* folder : {"llama_tied", "mixtral", "qwen3_5_moe_vl"}) {
    const golden_model& g = golden_of(folder);
    for (const char* tp : {"1", "2", "4"}) {
      INFO(folder << " tp " << tp);
      const outcome r = run(g.at(g.greedy() + " --new-tokens 25 --logits-policy argmax --tp " + tp));
      CHECK(r.exit == 0);
      CHECK(r.out == tokens_line(golden(g.files + "/greedy.json")));
    }
  }
}

TEST_CASE("what is sampled is the same at every size, and another seed's is not", "[examples]") {
  // Two rows of one prompt, which draw numbers of their own.
  const temporary_folder folder;
  const std::string twice = folder.write("twice.json", R"({"input_ids": [[17, 185, 333], [17, 185, 333]]})");
  const auto tokens = [&](const std::string& how) {
    const outcome r = run("'" + golden("llama") + "' --inputs '" + twice + "' --new-tokens 9 --tp 1,2,4 " +
                          "--logits-policy sample:" + how);
    REQUIRE(r.exit == 0);
    const std::size_t one = r.out.find("tp 2\n"), two = r.out.find("tp 4\n");
    const std::string first = r.out.substr(5, one - 5);
    CHECK(r.out.substr(one + 5, two - one - 5) == first);
    CHECK(r.out.substr(two + 5) == first);
    CHECK(first.substr(0, first.size() / 2) != first.substr(first.size() / 2));
    return first;
  };
  CHECK(tokens("temperature=0.8,top_p=0.9,seed=1") != tokens("temperature=0.8,top_p=0.9,seed=2"));
  CHECK(tokens("seed=3") != tokens("top_k=5,seed=3"));
}

TEST_CASE("log_softmax says how likely the prompt was, and top_k what comes next", "[examples]") {
  const golden_model& g = golden_of("llama");
  shardwise::tensor_shape shape;
  const std::vector<float> logits = floats(golden("llama/expected.safetensors"), "logits", shape);
  const std::vector<std::int64_t> ids = ids_of(golden("llama/inputs.json"));
  const std::size_t batch = shape[0], tokens = shape[1], vocabulary = shape[2];
  REQUIRE(ids.size() == batch * tokens);
  const outcome scored = run(g.at(g.prompt() + " --tp 4 --logits-policy log_softmax")),
                best = run(g.at(g.prompt() + " --tp 2 --logits-policy top_k:2"));
  std::istringstream scores(scored.out), ranked(best.out);
  std::string word;
  for (std::size_t b = 0; b < batch; ++b) {
    scores >> word;
    CHECK(word == "log_softmax:");
    for (std::size_t t = 0; t + 1 < tokens; ++t) {
      const float* const row = logits.data() + (b * tokens + t) * vocabulary;
      double sum = 0, said = 0;
      for (std::size_t v = 0; v < vocabulary; ++v) sum += std::exp(static_cast<double>(row[v]));
      scores >> said;
      scores.get();
      CHECK(std::abs(said - (static_cast<double>(row[ids[b * tokens + t + 1]]) - std::log(sum))) < 5e-5);
    }
    std::getline(scores, word);
    const float* const last = logits.data() + ((b + 1) * tokens - 1) * vocabulary;
    std::vector<std::ptrdiff_t> order(vocabulary);
    for (std::size_t v = 0; v < vocabulary; ++v) order[v] = static_cast<std::ptrdiff_t>(v);
    std::sort(order.begin(), order.end(), [&](std::ptrdiff_t x, std::ptrdiff_t y) { return last[x] > last[y]; });
    std::getline(ranked, word);
    CHECK_THAT(word, ContainsSubstring("top_k: " + std::to_string(order[0]) + " (") &&
                         ContainsSubstring("), " + std::to_string(order[1]) + " ("));
  }
}

TEST_CASE("--stats prints what a policy moves, and what is no policy is refused", "[examples]") {
  const golden_model& g = golden_of("llama");
  const std::string two = g.greedy() + " --tp 2 --new-tokens 3 --logits-policy ";
  // Per rank a word that says there is no NaN, and for each id two. A gather moves 512 logits.
  const outcome r = run(g.at(two + "argmax --stats"));
  CHECK_THAT(r.out, ContainsSubstring("per token: 7 all_reduce (1792 bytes), 1 all_gather (24 bytes)\n"));
  CHECK_THAT(r.out, ContainsSubstring("argmax per token: 1 all_gather (24 bytes)\n"));
  CHECK_THAT(run(g.at(two + "sample:top_k=20 --stats")).out,
             ContainsSubstring("sample per token: 1 all_gather (328 bytes)\n"));
  for (const auto& [text, why] : {std::pair{"best", "and not 'best'"},
                                  {"top_k:x", "'x' is no number for top_k"},
                                  {"top_k:0", "the best 0 ids"},
                                  {"sample:heat=1", "and no 'heat'"},
                                  {"sample:top_p=", "'' is no number for top_p"},
                                  {"sample:top_p=2", "a top_p that is not above 0, and up to 1"},
                                  {"argmax --logits x", "all logits are there with gather alone"}}) {
    INFO(text);
    const outcome refused = run(g.at(two + text));
    CHECK(refused.refused());
    CHECK_THAT(refused.err, ContainsSubstring(why));
  }
}

}  // namespace
