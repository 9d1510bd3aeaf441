// SPDX-License-Identifier: Apache-2.0
// Every golden, under both plans and at every size: Hugging Face's logits, tokens and local tensors.
#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;

constexpr const char* plans[] = {"hf", "auto"};
std::string options(const char* plan, int tp) { return std::string(" --plan ") + plan + " --tp " + std::to_string(tp); }

TEST_CASE("the logits of every golden are Hugging Face's, under both plans and at every size", "[examples]") {
  for (const golden_model& g : goldens()) {
    for (const char* plan : plans) {
      for (int tp : {1, 2, 4}) {
        INFO(g.folder << options(plan, tp));
        const logits_run r = run_prompt(g, options(plan, tp));
        INFO(r.done.err);
        CHECK(r.difference <= g.tolerance);
      }
    }
  }
}

TEST_CASE("25 greedy tokens with caches are Hugging Face's", "[examples]") {
  for (const golden_model& g : goldens()) {
    const std::string expected = tokens_line(golden(g.files + "/greedy.json"));
    for (const char* plan : plans) {
      for (int tp : {1, 2, 4}) {
        INFO(g.folder << options(plan, tp));
        const outcome r = run(g.at(g.greedy() + options(plan, tp) + " --new-tokens 25"));
        CHECK(r.exit == 0);
        CHECK(r.out == expected);
      }
    }
  }
}

TEST_CASE("windows, experts in some layers, clamps, caps and stretched ropes are Hugging Face's too", "[examples]") {
  for (const golden_model& g : windows()) {
    const std::string expected = tokens_line(golden(g.files + "/greedy.json"));
    for (const char* plan : plans) {
      for (int tp : {1, 2}) {
        INFO(g.folder << options(plan, tp));
        CHECK(run_prompt(g, options(plan, tp)).difference <= g.tolerance);
        CHECK(run(g.at(g.greedy() + options(plan, tp) + " --new-tokens 25")).out == expected);
      }
    }
  }
}

TEST_CASE("each rank holds what Hugging Face's ranks hold, byte for byte", "[examples]") {
  const temporary_folder folder;
  for (const golden_model& g : goldens()) {
    for (int tp : {2, 4}) {
      INFO(g.folder << " tp " << tp);
      const std::string file = folder / "shards.json";
      REQUIRE(run(g.at(g.prompt() + options("hf", tp) + " --shards '" + file + "'")).exit == 0);
      const auto ours = ranks_of(file), theirs = ranks_of(golden(g.files + "/tp" + std::to_string(tp) + ".json"));
      REQUIRE(ours.size() == static_cast<std::size_t>(tp));
      CHECK(ours == theirs);
    }
  }
}

TEST_CASE("a checkpoint over several files is the same model", "[examples]") {
  const golden_model sharded{"llama/sharded", "llama"};
  const temporary_folder folder;
  for (int tp : {1, 2, 4}) {
    INFO("tp " << tp);
    CHECK(run_prompt(sharded, options("hf", tp)).difference <= sharded.tolerance);
    if (tp == 1) continue;
    const std::string file = folder / "shards.json";
    REQUIRE(run(sharded.at(sharded.prompt() + options("hf", tp) + " --shards '" + file + "'")).exit == 0);
    CHECK(ranks_of(file) == ranks_of(golden("llama/tp" + std::to_string(tp) + ".json")));
  }
}

TEST_CASE("a head is not cut in two, and the refusal says which sizes are legal", "[examples]") {
  const golden_model kv2{"llama_kv2", "llama_kv2"};
  const outcome whole = run(kv2.at(kv2.prompt() + options("hf", 4)));
  CHECK(whole.refused());
  CHECK_THAT(whole.err, Catch::Matchers::ContainsSubstring("2 key/value heads over 4 ranks") &&
                            Catch::Matchers::ContainsSubstring("legal sizes: 1, 2\n"));
  CHECK(run_prompt(kv2, options("hf", 2)).difference <= kv2.tolerance);
  const outcome copied = run(kv2.at(kv2.prompt() + options("by_head", 3)));
  CHECK(copied.refused());
  CHECK_THAT(copied.err,
             Catch::Matchers::ContainsSubstring("8 heads with 2 key/value heads over 3 ranks (rank 1 would read one of "
                                                "these 1 times and another 2)") &&
                 Catch::Matchers::ContainsSubstring("legal sizes: 1, 2, 4, 5, 6, 7, 8\n"));
}

TEST_CASE("the prompt's tokens can be given by hand, and new ones be fed back", "[examples]") {
  const std::string llama = "'" + golden("llama") + "' --tp 2 ";
  const outcome r = run(llama + "--tokens 17,185,333,34,250,61,108,388,8,247 --new-tokens 3");
  CHECK(r.out == "tokens: 340,396,469\n");
  CHECK(run(llama + "--tokens 17,185,333,34,250,61,108,388,8,247,340,396,469 --new-tokens 2").out ==
        "tokens: 318,186\n");
  // Options may stand before the folder.
  CHECK(run("--new-tokens 2 --tokens 17,185,333,34,250,61,108,388,8,247 --tp 1,2 '" + golden("llama") + "'").out ==
        "tp 1\ntokens: 340,396\ntp 2\ntokens: 340,396\n");
}

TEST_CASE("a vision-language model reads text without images", "[examples]") {
  const std::string model = "'" + golden("qwen3_5_moe_vl") + "' --tokens 422,443,74,5 --new-tokens 5 --tp ";
  const outcome one = run(model + "1"), two = run(model + "2");
  CHECK(one.exit == 0);
  CHECK(one.out == two.out);
}

}  // namespace
