// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/headers.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::checkpoint::read_headers;

namespace {

/// A JSON file of a model that is gone afterwards.
struct model_file {
  temporary_folder folder;
  std::filesystem::path path = folder / "model.json";
  explicit model_file(std::string_view text) { write_file(path, text); }
};

void refused(std::string_view text, const std::string& words) {
  INFO(text);
  const model_file file(text);
  CHECK_THROWS_MATCHES(read_headers(file.path), sw::checkpoint_error, says(words));
}
/// The same of one row of `parameters`.
void row_refused(const std::string& row, const std::string& words) {
  refused(R"({"config":{},"parameters":[{"name":"first","shape":[1]},)" + row + "]}", words);
}

/// `rows` of {"name", "shape"} under a config.
std::string tied_file(const std::string& config, const std::vector<std::string>& names) {
  std::string rows;
  for (const std::string& name : names) {
    rows += (rows.empty() ? R"({"name":")" : R"(,{"name":")") + name + R"(","shape":[64,8]})";
  }
  return R"({"config":)" + config + R"(,"parameters":[)" + rows + "]}";
}

}  // namespace

TEST_CASE("a JSON file of names, shapes and dtypes is a model, and what else it says is ignored") {
  const model_file file(R"({"merged_tp_plan":[["a","b"]],"parameters":[
    {"name":"model.embed_tokens.weight","shape":[512,64],"module_class":"Embedding","rest":{"a":[1]}},
    {"name":"model.layers.0.up_proj.weight","shape":[128,64],"dtype":"F8_E4M3","module_class":"Linear"},
    {"name":"model.layers.0.up_proj.bias","shape":[128],"dtype":"F32"},
    {"name":"scale","shape":[],"dtype":null,"module_class":null},{"name":"none","shape":[0,4]}],
    "config":{"architectures":["LlamaForCausalLM"],"model_type":"llama","time_max":{"__float__":"Infinity"},
              "text_config":{"num_attention_heads":8}}})");
  const auto headers = read_headers(file.path);
  CHECK(headers.config().model_type() == "llama");
  CHECK(headers.config().architectures() == std::vector<std::string_view>{"LlamaForCausalLM"});
  const sw::tree& t = headers.tree();
  REQUIRE(t.size() == 5);
  CHECK(t[0].name == "model.embed_tokens.weight");
  CHECK(t[0].type == dtype::bf16);  // what a file that says no dtype means
  CHECK(t[1].type == dtype::f8_e4m3);
  CHECK(t[1].shape == sw::tensor_shape{128, 64});
  CHECK(t[2].type == dtype::f32);
  CHECK(t[3].shape.dims() == 0);
  CHECK(t.bytes() == 2 * 512 * 64 + 128 * 64 + 4 * 128 + 2);
  CHECK(t.number("model.layers.0.q_proj.weight", "text_config.num_key_value_heads") == 8);
  CHECK(t.ties().empty());
  CHECK(headers.class_of("model.embed_tokens") == "Embedding");
  CHECK(headers.class_of("model.layers.0.up_proj") == "Linear");
  CHECK(headers.class_of("model.layers.0").empty());
  CHECK(headers.class_of("").empty());
}

TEST_CASE("a folder's headers give the tree that its tensors give, and no weight is read") {
  for (const std::string& name : golden_names) {
    INFO(name);
    const auto headers = read_headers(golden(name));
    shapes all;
    for (const sw::tree_entry& e : headers.tree()) {
      all[std::string(e.name)].assign(e.shape.begin(), e.shape.end());
      CHECK(e.type == dtype::f32);
    }
    CHECK(all == listed(name, "parameters"));
    REQUIRE(headers.tree().ties().size() == (name == "llama_tied" || name == "gemma3_text" ? 1 : 0));
    if (name == "llama_tied") CHECK(headers.tree().ties()[0].alias == "lm_head.weight");
  }
}

TEST_CASE("experts one by one are the model's stacked ones, in a JSON file as in a folder") {
  const std::vector<std::string> names = {"l.mlp.experts.0.gate_proj.weight", "l.mlp.experts.0.up_proj.weight",
                                          "l.mlp.experts.1.gate_proj.weight", "l.mlp.experts.1.up_proj.weight"};
  const model_file file(tied_file("{}", names));
  const auto stacked = read_headers(file.path);
  REQUIRE(stacked.tree().size() == 1);
  CHECK(stacked.tree()[0].name == "l.mlp.experts.gate_up_proj");
  CHECK(stacked.tree()[0].shape == sw::tensor_shape{2, 128, 8});
  CHECK(read_headers(file.path, {}).tree().size() == 4);
}

TEST_CASE("a list that has the model's names keeps them: Granite's experts are called as Mixtral's are in its files") {
  const model_file granite(
      tied_file("{}", {"l.block_sparse_moe.experts.down_proj", "l.block_sparse_moe.router.weight"}));
  const auto kept = read_headers(granite.path);
  CHECK(kept.tree().find("l.block_sparse_moe.experts.down_proj") != sw::tree::npos);
  const model_file mixtral(
      tied_file("{}", {"l.block_sparse_moe.gate.weight", "l.block_sparse_moe.experts.0.w2.weight"}));
  const auto renamed = read_headers(mixtral.path);
  CHECK(renamed.tree().find("l.mlp.experts.down_proj") != sw::tree::npos);
  CHECK(renamed.tree().find("l.mlp.gate.weight") != sw::tree::npos);
}

TEST_CASE("the head is tied where the config says so, whichever way the model calls the two") {
  struct row {
    std::string config;
    std::vector<std::string> names;
    std::string kept;  // "" where nothing is tied
    std::vector<std::string> aliases;
  };
  const std::string yes = R"({"tie_word_embeddings":true,"architectures":["XForCausalLM"]})";
  const std::vector<row> rows = {
      {yes, {"model.embed_tokens.weight", "lm_head.weight"}, "model.embed_tokens.weight", {"lm_head.weight"}},
      {yes, {"model.embed_tokens.weight"}, "model.embed_tokens.weight", {"lm_head.weight"}},
      {R"({"tie_word_embeddings":true,"text_config":{"tie_word_embeddings":false}})",
       {"model.language_model.embed_tokens.weight", "lm_head.weight"},
       "model.language_model.embed_tokens.weight",
       {"lm_head.weight"}},
      {R"({"text_config":{"tie_word_embeddings":true}})",
       {"embed_tokens.weight", "lm_head.weight"},
       "embed_tokens.weight",
       {"lm_head.weight"}},
      // florence2, and t5gemma
      {yes,
       {"m.shared.weight", "m.encoder.embed_tokens.weight", "m.decoder.embed_tokens.weight", "lm_head.weight"},
       "m.shared.weight",
       {"m.encoder.embed_tokens.weight", "m.decoder.embed_tokens.weight", "lm_head.weight"}},
      {yes,
       {"m.encoder.embed_tokens.weight", "m.decoder.embed_tokens.weight", "lm_head.out_proj.weight"},
       "m.decoder.embed_tokens.weight",
       {"lm_head.out_proj.weight"}},
      // neomme: no head to tie
      {R"({"tie_word_embeddings":true,"architectures":["NeoMMEModel"]})", {"embed_tokens.weight"}, "", {}},
      {R"({"tie_word_embeddings":false})", {"embed_tokens.weight", "lm_head.weight"}, "", {}},
      {R"({"tie_word_embeddings":null})", {"embed_tokens.weight", "lm_head.weight"}, "", {}},
      // a head of the prediction of further tokens, and a layer's, are others
      {yes,
       {"embed_tokens.weight", "mtp.embed_tokens.weight", "model.layers.3.embed_tokens.weight", "lm_head.weight"},
       "embed_tokens.weight",
       {"lm_head.weight"}},
      {yes, {"a.embed_tokens.weight", "b.embed_tokens.weight", "lm_head.weight"}, "", {}},
  };
  for (const row& r : rows) {
    INFO(r.config << " " << r.names.back());
    const model_file file(tied_file(r.config, r.names));
    const auto headers = read_headers(file.path);
    const sw::tree& t = headers.tree();
    REQUIRE(t.ties().size() == r.aliases.size());
    for (std::size_t i = 0; i < r.aliases.size(); ++i) {
      CHECK(t.ties()[i].alias == r.aliases[i]);
      CHECK(t[t.ties()[i].kept].name == r.kept);
    }
    for (const std::string& name : r.names) CHECK(t.find(name) != sw::tree::npos);
  }
}

TEST_CASE("a JSON file that is no model is refused with the place in it") {
  CHECK_THROWS_MATCHES(read_headers("/no/such/model"), sw::checkpoint_error,
                       says("/no/such/model cannot be opened: No such file or directory"));
  refused("", "model.json is not valid JSON: it is empty");
  refused("{", "model.json is not valid JSON");
  refused("[]", "model.json has no object 'config': a model is a folder with config.json");
  refused(R"({"parameters":[]})", "has no object 'config'");
  refused(R"({"config":[],"parameters":[]})", "has no object 'config'");
  refused(R"({"config":{}})", "model.json has no list 'parameters'");
  refused(R"({"config":{},"parameters":{}})", "model.json has no list 'parameters'");
  refused(R"({"config":{"a":1,"a":2},"parameters":[]})", "has the key 'a' twice");
  refused(R"({"config":{"tie_word_embeddings":"yes"},"parameters":[]})",
          "model.json: config: 'tie_word_embeddings' is not true or false");
  row_refused("7", "model.json: parameter 1 is no JSON object");
  row_refused("{}", "model.json: parameter 1 has no text 'name'");
  row_refused(R"({"name":""})", "parameter 1 has no text 'name'");
  row_refused(R"({"name":"x"})", "the parameter 'x' has no list 'shape'");
  row_refused(R"({"name":"x","shape":[-1]})", "'x' has a 'shape' that is not of whole numbers from 0 on");
  row_refused(R"({"name":"x","shape":[1.5]})", "'x' has a 'shape' that is not of whole numbers");
  row_refused(R"({"name":"x","shape":[1,1,1,1,1,1,1,1,1]})", "'x' has a 'shape' of more than 8 dims");
  row_refused(R"({"name":"x","shape":[4294967296,4294967296]})", "'x' has a 'shape' with too many elements");
  row_refused(R"({"name":"x","shape":[0,4294967296,4294967296]})", "'x' has a 'shape' with too many elements");
  row_refused(R"({"name":"x","shape":[4611686018427387903]})", "'x' has a 'shape' with too many elements");
  row_refused(R"({"name":"x","shape":[1],"dtype":"F4"})", "'x' has the 'dtype' 'F4', which is none that shardwise");
  row_refused(R"({"name":"x","shape":[1],"dtype":4})", "'x' has a 'dtype' that is no text");
  row_refused(R"({"name":"x","shape":[1],"module_class":4})", "'x' has a 'module_class' that is no text");
  row_refused(R"({"name":"first","shape":[1]})", "the parameter 'first' is listed twice");
}
