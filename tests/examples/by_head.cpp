// SPDX-License-Identifier: Apache-2.0
// Plans by head: Hugging Face's logits at every size that is legal, and no more collectives and memory than there must
// be.
#include <sstream>

#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

std::string by_head(int tp) { return " --plan by_head --tp " + std::to_string(tp); }

void check_all_sizes(const golden_model& g, const std::vector<int>& legal, const std::string& refusal) {
  const std::string expected = tokens_line(golden(g.files + "/greedy.json"));
  for (int tp = 1; tp <= 8; ++tp) {
    INFO(g.folder << by_head(tp));
    const logits_run r = run_prompt(g, by_head(tp));
    INFO(r.done.err);
    if (std::find(legal.begin(), legal.end(), tp) == legal.end()) {
      CHECK(r.done.refused());
      CHECK_THAT(r.done.err, ContainsSubstring(refusal));
      continue;
    }
    CHECK(r.difference <= g.tolerance);
    if (tp % 3 == 2) CHECK(run(g.at(g.greedy() + by_head(tp) + " --new-tokens 25")).out == expected);  // 2, 5, 8
  }
}

TEST_CASE("by head every golden gives Hugging Face's logits and tokens at every size that is legal", "[examples]") {
  for (const golden_model& g : goldens()) check_all_sizes(g, {1, 2, 3, 4, 5, 6, 7, 8}, "");
  for (const golden_model& g : windows()) check_all_sizes(g, {1, 2, 3, 4}, "4 heads over ");
  check_all_sizes({"llama_kv2"}, {1, 2, 4, 5, 6, 7, 8}, "2 key/value heads over 3 ranks");
}

/// A line of `--stats`.
std::string line_of(const std::string& text, const std::string& begin) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(begin, 0) == 0) return line;
  }
  return "";
}

TEST_CASE("by head a layer reduces twice and gathers nothing, and a rank remembers its own heads", "[examples]") {
  // 4 layers, 64 features, a vocabulary of 512: one sum for the embedding, two for each layer, and the logits.
  const std::string per_token = "per token: 9 all_reduce (" + std::to_string(9 * 64 * 4) +
                                " bytes), 1 gather_last_dim (" + std::to_string(512 * 4) + " bytes)";
  for (const char* folder : {"qwen3_5_moe", "qwen3_5_moe_vl"}) {
    for (int tp : {1, 2, 3, 4, 8}) {
      INFO(folder << by_head(tp));
      const std::string out = run(golden_of(folder).at("--tokens 1,2,3 --new-tokens 3 --stats" + by_head(tp))).out;
      CHECK(line_of(out, "per token") == per_token);
      // 3 layers of a recurrence: 8 value heads of 12 read 4 key heads of 16, and 3 inputs are remembered.
      for (int r = 0; r < tp; ++r) {
        const int key_heads = tp == 8 ? 1 : 4 / tp + (r < 4 % tp ? 1 : 0);
        const int value_heads = tp == 8 ? 1 : 2 * key_heads;
        const int state = 3 * 4 * (value_heads * 16 * 12 + 3 * (2 * key_heads * 16 + value_heads * 12));
        CHECK_THAT(line_of(out, "rank " + std::to_string(r)),
                   Catch::Matchers::EndsWith("state " + std::to_string(state) + " bytes"));
      }
    }
  }
}

}  // namespace
