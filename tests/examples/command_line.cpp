// SPDX-License-Identifier: Apache-2.0
// What `generate` prints, and how it refuses.
#include <regex>

#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

/// The number after `before` in the first line that has it.
std::size_t number_after(const std::string& text, const std::string& before) {
  const std::size_t at = text.find(before);
  if (at == std::string::npos) return 0;
  return std::stoul(text.substr(at + before.size()));
}

TEST_CASE("--stats prints the bytes of each rank's shards, and of its caches", "[examples]") {
  const golden_model& g = golden_of("llama");
  std::size_t whole_cache = 0;
  for (int tp : {1, 2, 4}) {
    INFO("tp " << tp);
    const outcome r = run(g.at(g.prompt() + " --plan hf --stats --new-tokens 2 --tp " + std::to_string(tp)));
    REQUIRE(r.exit == 0);
    const std::size_t cache = number_after(r.out, ", cache ");
    if (tp == 1) {
      // 3 layers, keys and values, 2 rows of 16 + 2 tokens, 4 heads of 8 floats
      CHECK(cache == 3 * 2 * 2 * 18 * 4 * 8 * 4);
      whole_cache = cache;
      continue;
    }
    CHECK(cache * static_cast<std::size_t>(tp) == whole_cache);
    const auto ranks = ranks_of(golden("llama/tp" + std::to_string(tp) + ".json"));
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      std::size_t bytes = 0;
      for (const auto& [name, tensor] : ranks[rank]) {
        std::size_t n = 4;
        for (std::int64_t extent : tensor.first) n *= static_cast<std::size_t>(extent);
        bytes += n;
      }
      CHECK(number_after(r.out, "rank " + std::to_string(rank) + ": weights ") == bytes);
    }
  }
}

TEST_CASE("--stats prints the collectives of the prompt and of each token", "[examples]") {
  const golden_model& g = golden_of("llama");
  const outcome r = run(g.at(g.greedy() + " --stats --new-tokens 4 --tp 2"));
  // One for the embedding, two for each of three layers; the logits are gathered. 10 tokens of 64, then one.
  CHECK_THAT(r.out, ContainsSubstring("prefill: 7 all_reduce (17920 bytes), 1 gather_last_dim (20480 bytes)\n"));
  CHECK_THAT(r.out, ContainsSubstring("per token: 7 all_reduce (1792 bytes), 1 gather_last_dim (2048 bytes)\n"));
  CHECK_THAT(r.out, ContainsSubstring("plan auto: 30 of 30 parameters covered"));
  CHECK_THAT(run(g.at(g.greedy() + " --stats --plan hf")).out, ContainsSubstring("plan hf: 23 of 30 parameters"));
  const golden_model& moe = golden_of("qwen3_5_moe");
  CHECK(number_after(run(moe.at(moe.greedy() + " --stats --tp 2")).out, ", state ") > 0);
}

TEST_CASE("--expect fails where the logits are not those, and --tp takes several sizes", "[examples]") {
  const golden_model& g = golden_of("llama");
  const std::string expect = " --expect '" + golden("llama/expected.safetensors") + "'";
  const outcome right = run(g.at(g.prompt() + expect + " --tp 1,2,4 --tolerance 2e-5"));
  CHECK(right.exit == 0);
  for (const char* tp : {"tp 1\n", "tp 2\n", "tp 4\n"}) CHECK_THAT(right.out, ContainsSubstring(tp));
  const outcome wrong = run(g.at(g.prompt() + expect + " --tolerance 1e-9"));
  CHECK(wrong.exit == 1);
  CHECK_THAT(wrong.err, ContainsSubstring("not those of --expect"));
  const outcome other = run(g.at(g.greedy() + expect));
  CHECK(other.exit == 1);
  CHECK_THAT(other.err, ContainsSubstring("--expect has 32 rows"));
}

TEST_CASE("every refusal is one sentence on stderr and exit code 1", "[examples]") {
  const std::string llama = "'" + golden("llama") + "' ", vl = "'" + golden("qwen3_5_moe_vl") + "' ";
  const golden_model& g = golden_of("qwen3_5_moe_vl");
  const std::string pixels = " --pixel-values '" + golden("qwen3_5_moe_vl/expected.safetensors");
  const std::string inputs = " --inputs '" + golden("qwen3_5_moe_vl/inputs.json") + "'";
  const temporary_folder folder;
  int number = 0;
  const auto json = [&](const std::string& text) {
    return " --inputs '" + folder.write("in" + std::to_string(++number) + ".json", text) + "'";
  };
  const std::pair<std::string, std::string> refusals[] = {
      {"", "MODEL_DIR"},
      {"nowhere --tokens 1", "nowhere/config.json"},
      {llama, "the prompt is empty"},
      {llama + "--tokens 1,x", "--tokens"},
      {llama + "--tokens 1,512", "token id 512 at position 1"},
      {llama + "--tokens -1", "token id -1"},
      {llama + "--tokens 1 --tp 0", "--tp"},
      {llama + "--tokens 1 --tp 1,2 --logits x", "one size at a time"},
      {llama + "--tokens 1 --tp 8 --plan hf", "legal sizes: 1, 2, 4"},
      {llama + "--tokens 1 --plan nowhere.json", "nowhere.json"},
      {llama + "--inputs nowhere.json", "nowhere.json"},
      {llama + json("{"), "in1.json"},
      {llama + json("{}"), "'input_ids'"},
      {llama + json(R"({"input_ids": [1, 2]})"), "2 lists deep"},
      {llama + json(R"({"input_ids": [[1, 2], [3]]})"), "equally long"},
      {llama + json(R"({"input_ids": [[1.5]]})"), "no whole number"},
      {llama + inputs, "no vision tower"},
      {vl + "--tokens 508", "image token"},
      {vl + "--tokens 509", "video token"},
      {vl + inputs, "--pixel-values"},
      {vl + inputs + pixels + ":nothing'", "no tensor 'nothing'"},
      {vl + inputs + pixels + ":greedy.pixel_values'", "40 patches of 96"},
      {vl + json(R"({"input_ids": [[508, 508, 508]], "image_grid_thw": [[1, 4, 4]]})") + pixels +
           ":greedy.pixel_values'",
       "needs 4 image tokens in a row"},
      {vl + json(R"({"input_ids": [[508, 508, 508, 508]], "image_grid_thw": [[1, 4, 4]],
                     "position_ids": [[[0, 0, 0, 0]], [[0, 0, 1, 1]], [[0, 1, 0, 2]]]})") +
           pixels + ":greedy.pixel_values'",
       "position 2 for token 3 of row 0 on axis 2, and by its images it is 1"},
      {vl + json(R"({"input_ids": [[1]], "image_grid_thw": [[1, 4, 4]]})") + pixels + ":greedy.pixel_values'",
       "1 images are given"},
  };
  for (const auto& [arguments, says] : refusals) {
    INFO(arguments);
    const outcome r = run(arguments);
    INFO(r.err);
    CHECK(r.refused());
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK_THAT(r.err, ContainsSubstring(says));
  }
  CHECK(run(g.at(g.prompt())).exit == 0);
}

TEST_CASE("--help teaches the options", "[examples]") {
  const outcome r = run("--help");
  CHECK(r.exit == 0);
  for (const char* option : {"MODEL_DIR", "--tp", "--inputs", "--tokens", "--pixel-values", "--new-tokens", "--plan",
                             "--logits", "--shards", "--expect", "--stats", "replicate("}) {
    CHECK_THAT(r.out, ContainsSubstring(option));
  }
}

}  // namespace
