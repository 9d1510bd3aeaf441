// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/tree_of.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/model/visit.hpp"  // the other tree_of
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_view;

namespace {

sw::checkpoint::config config_of(const std::string& json) { return sw::checkpoint::config::parse(json); }

/// Tensors of 700,000 elements (more than is compared at a time) in memory; equal, unless `differs`.
struct embeddings {
  std::vector<float> first = std::vector<float>(700'000, 1.0f), second = first;
  sw::memory_source source;
  embeddings(const std::string& a, const std::string& b, bool differs) {
    if (differs) second.back() = 2.0f;
    source.add(a, tensor_view(first.data(), dtype::f32, {7000, 100}));
    if (!b.empty()) source.add(b, tensor_view(second.data(), dtype::f32, {7000, 100}));
  }
};

}  // namespace

TEST_CASE("the tree of every golden has Hugging Face's parameters, dtypes, ties and numbers") {
  for (const std::string& name : golden_names) {
    INFO(name);
    const auto file = sw::checkpoint::open(golden(name));
    const auto model = sw::checkpoint::converted(file);
    const sw::tree t = sw::tree_of(model);
    CHECK(file.bytes_read() == 0);
    shapes all;
    for (const sw::tree_entry& e : t) {
      all[std::string(e.name)].assign(e.shape.begin(), e.shape.end());
      CHECK(e.type == dtype::f32);
    }
    CHECK(all == listed(name, "parameters"));  // a tied name is listed once, as the embedding
    CHECK(t.ties().size() == (name == "llama_tied" || name == "gemma3_text" ? 1 : 0));
  }
  auto tied_file = sw::checkpoint::open(golden("llama_tied"));  // const or not
  const sw::tree tied = sw::tree_of(tied_file);
  CHECK(tied.ties()[0].alias == "lm_head.weight");
  CHECK(tied[tied.ties()[0].kept].name == "model.embed_tokens.weight");
  const auto vl_file = sw::checkpoint::open(golden("qwen3_5_moe_vl"));
  const sw::tree vl = sw::tree_of(vl_file);
  CHECK(vl.number("model.language_model.layers.3.self_attn.k_proj.weight", "num_key_value_heads") == 4);
  CHECK(vl.number("model.visual.blocks.0.attn.qkv.weight", "num_heads") == 4);
}

TEST_CASE("the head is tied to the embedding under whichever prefix that is, if the config says so") {
  const embeddings e("model.language_model.embed_tokens.weight", "", false);
  const auto ties = [&](const std::string& json) { return sw::tree_of(e.source, config_of(json)).ties().size(); };
  CHECK(ties(R"({"tie_word_embeddings":true})") == 1);
  CHECK(ties(R"({"text_config":{"tie_word_embeddings":true}})") == 1);
  CHECK(ties(R"({"tie_word_embeddings":false,"text_config":{"tie_word_embeddings":true}})") == 0);
  CHECK(ties(R"({"tie_word_embeddings":null})") == 0);
  CHECK(ties("{}") == 0);
  // Of some types it is the rule.
  CHECK(ties(R"({"model_type":"gemma3_text","architectures":["Gemma3ForCausalLM"]})") == 1);
  CHECK(ties(R"({"model_type":"gemma3_text","architectures":["Gemma3ForCausalLM"],"tie_word_embeddings":false})") == 0);
  CHECK(ties(R"({"model_type":"llama","architectures":["LlamaForCausalLM"]})") == 0);
  const sw::tree t = sw::tree_of(e.source, config_of(R"({"tie_word_embeddings":true})"));
  CHECK(t.find("lm_head.weight") == t.find("model.language_model.embed_tokens.weight"));
}

TEST_CASE("copies of the embedding for other heads are not the embedding") {
  std::vector<float> v(4);
  const tensor_view view(v.data(), dtype::f32, {2, 2});
  sw::memory_source source;
  for (const char* name :
       {"mtp.embed_tokens.weight", "model.mtp.embed_tokens.weight", "model.layers.61.embed_tokens.weight",
        "model.not_embed_tokens.weight", "model.embed_tokens.weight", "layers.0.lm_head.weight"}) {
    source.add(name, view);
  }
  const auto tied = config_of(R"({"tie_word_embeddings":true})");
  const sw::tree t = sw::tree_of(source, tied);
  CHECK(t.size() == source.size());
  CHECK(t[t.ties()[0].kept].name == "model.embed_tokens.weight");

  source.add("other.embed_tokens.weight", view);
  CHECK_THROWS_MATCHES(sw::tree_of(source, tied), sw::checkpoint_error,
                       says("both 'model.embed_tokens.weight' and 'other.embed_tokens.weight' may be meant"));
  sw::memory_source none;
  CHECK_THROWS_MATCHES(
      sw::tree_of(none.add("a", view), tied), sw::checkpoint_error,
      says("says tie_word_embeddings (or its type does), and no tensor is called embed_tokens.weight"));
}

TEST_CASE("a head that is in the file too is tied where it is equal, and kept where it differs") {
  const auto tied = config_of(R"({"tie_word_embeddings":true})");
  const embeddings equal("model.embed_tokens.weight", "lm_head.weight", false);
  const sw::tree one = sw::tree_of(equal.source, tied);
  CHECK(one.size() == 1);
  CHECK(one.ties().size() == 1);
  CHECK(one.find("lm_head.weight") == 0);

  const embeddings differing("model.embed_tokens.weight", "lm_head.weight", true);
  const sw::tree two = sw::tree_of(differing.source, tied);
  CHECK(two.size() == 2);
  CHECK(two.ties().size() == 0);

  const sw::tree untied = sw::tree_of(equal.source, config_of("{}"));
  CHECK(untied.size() == 2);
}
