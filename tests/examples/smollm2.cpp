// SPDX-License-Identifier: Apache-2.0
// Real weights, where they are: SHARDWISE_SMOLLM2 names a folder with SmolLM2-135M-Instruct in bfloat16.
#include <cstdlib>
#include <iostream>

#include "program.hpp"

namespace {
using namespace program;

std::vector<std::int64_t> integers(const std::string& name) {
  const auto file =
      shardwise::checkpoint::safetensors_file::open(std::string(SHARDWISE_TEST_DATA) + "/smollm2_expected.safetensors");
  const std::size_t i = file.find(name);
  REQUIRE(i != file.npos);
  REQUIRE(file.info(i).type == shardwise::dtype::i64);
  const auto shape = file.info(i).shape;
  std::vector<std::int64_t> values(shape.elements());
  file.read(i, shardwise::box::whole(shape), {values.data(), shardwise::dtype::i64, shape});
  return values;
}
std::string joined(const std::vector<std::int64_t>& values) {
  std::string text;
  for (std::int64_t v : values) text += (text.empty() ? "" : ",") + std::to_string(v);
  return text;
}

TEST_CASE("SmolLM2 gives Hugging Face's tokens on 1 to 9 ranks, and is refused on 10", "[smollm2]") {
  const char* folder = std::getenv("SHARDWISE_SMOLLM2");
  if (folder == nullptr) {
    std::cout << "SKIP: SHARDWISE_SMOLLM2 is not set\n";
    return;
  }
  const std::string prompt = std::string("'") + folder + "' --tokens " + joined(integers("prompt_ids")) + " --plan ";
  const std::string expected = "tokens: " + joined(integers("greedy_tokens")) + "\n";
  for (int tp = 1; tp <= 9; ++tp) {
    INFO("tp " << tp);
    CHECK(run(prompt + "by_head --new-tokens 25 --tp " + std::to_string(tp)).out == expected);
  }

  const temporary_folder out;
  REQUIRE(run(prompt + "by_head --tp 3 --logits '" + (out / "logits.safetensors") + "'").exit == 0);
  shardwise::tensor_shape all, last;
  const auto ours = floats(out / "logits.safetensors", "logits", all);
  const auto theirs = floats(std::string(SHARDWISE_TEST_DATA) + "/smollm2_expected.safetensors", "logits_last", last);
  REQUIRE(all.last() == last.last());
  float largest = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    largest = std::max(largest, std::abs(ours[ours.size() - theirs.size() + i] - theirs[i]));
  }
  CHECK(largest < 1e-3f);

  const auto refused = [&](const char* arguments, std::initializer_list<const char*> parts) {
    const outcome r = run(prompt + arguments);
    CHECK(r.refused());
    for (const char* part : parts) CHECK_THAT(r.err, Catch::Matchers::ContainsSubstring(part));
  };
  refused("by_head --tp 10", {"9 heads over 10 ranks", "legal sizes: 1, 2, 3, 4, 5, 6, 7, 8, 9\n"});
  refused("hf --tp 2", {"9 heads over 2 ranks", "3 key/value heads over 2 ranks", "legal sizes: 1, 3\n"});
}

}  // namespace
