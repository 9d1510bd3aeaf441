// SPDX-License-Identifier: Apache-2.0
// The rules of every model type against Hugging Face's (data/conversions, made by reduce.py there).
#include "shardwise/checkpoint/conversions_for.hpp"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_view;
using sw::checkpoint::conversion;
using sw::checkpoint::conversions_for;
using sw::checkpoint::conversions_of;
namespace convert = sw::checkpoint::convert;
namespace conversions = sw::checkpoint::conversions;

namespace {

/// The operations of a rule in Hugging Face's words.
std::string operations(const conversion& c) {
  using enum conversion::verb_t;
  const std::string dim = "(" + std::to_string(c.dim) + ")";
  switch (c.verb) {
    case stack:
      if (c.to.count > 1) return "ErnieFuseAndSplitTextVisionExperts";
      return c.from.count > 1 ? "MergeModulelist Concatenate" + dim : "MergeModulelist";
    case concat: return "Concatenate" + dim;
    case split:
      if (c.shares.count != 0) return "Split" + dim;
      if (c.to.count == 1) return "PermuteForRope";
      return "Chunk" + dim + (c.halved != 0 ? " PermuteForRope" : "");
    case transpose: return "Transpose(" + std::to_string(c.dim) + ", " + std::to_string(c.dim_two) + ")";
    case deinterleave: return "Interleave" + dim + (c.to.count > 1 ? " Chunk" + dim : "");
    default: return "";
  }
}

simdjson::dom::element data(simdjson::dom::parser& parser, const char* name) {
  return parser.load(std::string(SHARDWISE_TEST_DATA) + "/conversions/" + name);
}

std::string name_after(std::span<const conversion> rules, std::string_view name, std::string* ops = nullptr) {
  const conversion* made_by = nullptr;
  std::string after = sw::detail::converter::name_after(rules, name, &made_by);
  if (ops != nullptr) *ops = made_by == nullptr ? "" : operations(*made_by);
  return after;
}

}  // namespace

TEST_CASE("the rules of every model type and class make of every name what Hugging Face's make of it") {
  simdjson::dom::parser parser;
  std::size_t keys = 0, names = 0;
  std::set<std::string, std::less<>> known;
  for (const simdjson::dom::element list : simdjson::dom::array(data(parser, "conversions.json"))) {
    std::span<const conversion> rules;
    for (const simdjson::dom::element k : simdjson::dom::array(list["keys"])) {
      const std::string_view key(k);
      INFO(key);
      const std::span<const conversion> own =
          key == "legacy" ? std::span<const conversion>(conversions::legacy) : conversions_of(key);
      REQUIRE_FALSE(own.empty());
      if (!rules.empty()) CHECK(own.data() == rules.data());  // many share a list
      rules = own;
      known.emplace(key);
      ++keys;
    }
    for (const simdjson::dom::element row : simdjson::dom::array(list["names"])) {
      const std::string_view from(row.at(0)), to(row.at(1));
      std::string_view expected;
      if (row.at(2).get(expected) != simdjson::SUCCESS) expected = "";
      INFO(std::string_view(list["keys"].at(0)) << ": " << from);
      std::string ops;
      CHECK(name_after(rules, from, &ops) == to);
      CHECK(ops == expected);
      ++names;
    }
  }
  CHECK(keys == 251);
  CHECK(names == 1848);
}

TEST_CASE("every checkpoint name that Hugging Face lists for a model class becomes the name that it lists") {
  simdjson::dom::parser parser;
  std::size_t classes = 0, names = 0;
  for (const simdjson::dom::element table : simdjson::dom::array(data(parser, "renamed.json"))) {
    const auto config = sw::checkpoint::config::parse(simdjson::minify(table["config"]));
    const std::vector<conversion> rules = conversions_for(config);
    for (const simdjson::dom::element row : simdjson::dom::array(table["renamed"])) {
      INFO(config.architectures().at(0) << ": " << std::string_view(row.at(0)));
      CHECK(name_after(rules, std::string_view(row.at(0))) == std::string_view(row.at(1)));
      ++names;
    }
    ++classes;
  }
  CHECK(classes == 83);
  CHECK(names == 2021);
}

TEST_CASE("a config that says no model, or one without rules, gets the default ones; a submodel's stay under it") {
  const auto rules_of = [](const char* json) { return conversions_for(sw::checkpoint::config::parse(json)); };
  const auto legacy = conversions::legacy.size();
  CHECK(rules_of("{}").size() == sw::checkpoint::default_conversions().size() + legacy);
  CHECK(rules_of(R"({"model_type":"llama","architectures":["LlamaForCausalLM"]})").size() ==
        sw::checkpoint::default_conversions().size() + legacy);
  CHECK(rules_of(R"({"model_type":"qwen3_moe","architectures":["Qwen3MoeForCausalLM"]})").size() ==
        conversions::experts.size() + legacy);
  CHECK(rules_of(R"({"model_type":"qwen3_moe"})").size() == conversions::experts.size() + legacy);
  CHECK(conversions_of("qwen3").empty());  // part of a key is none
  CHECK(conversions_of("qwen3_moe solar_open").empty());
  CHECK(conversions_of("").empty());

  const auto vl = rules_of(R"({"model_type":"qwen3_5_moe","text_config":{"model_type":"qwen3_5_moe_text"}})");
  CHECK(name_after(vl, "model.language_model.layers.0.mlp.experts.0.up_proj.weight") ==
        "model.language_model.layers.0.mlp.experts.gate_up_proj");
  CHECK(name_after(vl, "language_model.layers.0.mlp.experts.0.up_proj.weight") ==
        "language_model.layers.0.mlp.experts.gate_up_proj");
  CHECK(name_after(vl, "model.visual.mlp.experts.0.up_proj.weight") == "model.visual.mlp.experts.0.up_proj.weight");
}

TEST_CASE("what Hugging Face changes the values of is refused by its name, where the checkpoint needs it") {
  CHECK(std::size(conversions::not_supported) == 32);
  float value = 0;
  const auto opened = [&](const char* method, const char* name, auto&& then) {
    sw::memory_source tensors;
    tensors.add(name, tensor_view(&value, dtype::f32, {1}));
    then(with_config{tensors, sw::checkpoint::config::parse(std::string(R"({"quantization_config":{"quant_method":")") +
                                                            method + "\"}}")});
  };
  const auto refused = [&](const char* method, const char* name, const char* operation) {
    opened(method, name, [&](const with_config& source) {
      INFO(name);
      CHECK_THROWS_MATCHES(sw::checkpoint::converted(source), sw::checkpoint_error,
                           says(std::string(name) + "' is stored as " + operation + " reads it"));
      CHECK(sw::checkpoint::converted(source, {}).size() == 1);  // as it is, with rules of one's own
    });
  };
  refused("mxfp4", "model.layers.0.mlp.experts.gate_up_proj_blocks", "Mxfp4Deserialize");
  refused("mxfp4", "model.layers.0.mlp.experts.down_proj_scales", "Mxfp4Dequantize");
  refused("bitsandbytes", "model.layers.0.mlp.up_proj.weight.absmax", "Bnb4bitDeserialize");
  refused("bitsandbytes", "model.layers.0.mlp.up_proj.SCB", "Bnb8bitDeserialize");
  refused("bitnet", "model.layers.0.mlp.up_proj.weight_scale", "BitNetDeserialize");
  refused("compressed-tensors", "model.layers.0.mlp.up_proj.weight_packed", "CompressedTensorsDequantize");
  refused("fp_quant", "model.layers.0.mlp.up_proj.qweight", "FpQuantDeserialize");
  refused("metal", "model.layers.0.mlp.up_proj.qbiases", "MetalDequantize");
  refused("sinq", "model.layers.0.mlp.up_proj.W_q", "SinqDeserialize");
  refused("torchao", "model.layers.0.mlp.up_proj.weight:_data", "TorchAoDeserialize");
  // Blocks of FP8 stay what they are; the scales of experts are stacked as the experts are.
  opened("fp8", "model.layers.0.mlp.experts.0.down_proj.weight_scale_inv", [](const with_config& source) {
    CHECK(sw::checkpoint::converted(source).find("model.layers.0.mlp.experts.down_proj_scale_inv") == 0);
  });
}

TEST_CASE("names that move up by one do so only in a checkpoint that has the first of them") {
  float value = 0;
  const auto names_of = [&](std::initializer_list<const char*> names) {
    sw::memory_source tensors;
    for (const char* n : names) tensors.add(n, tensor_view(&value, dtype::f32, {1}));
    const with_config source{tensors, sw::checkpoint::config::parse(R"({"model_type":"kimi_k25"})")};
    const auto model = sw::checkpoint::converted(source);
    std::vector<std::string> all;
    for (std::size_t i = 0; i < model.size(); ++i) all.emplace_back(model.info(i).name);
    return all;
  };
  CHECK(names_of({"vision_tower.encoder.blocks.3.norm0.bias", "vision_tower.encoder.blocks.3.norm1.bias"}) ==
        std::vector<std::string>{"model.vision_tower.layers.3.norm1.bias", "model.vision_tower.layers.3.norm2.bias"});
  const std::vector<std::string> saved = {"model.vision_tower.layers.3.norm1.bias",
                                          "model.vision_tower.layers.3.norm2.bias"};
  CHECK(names_of({saved[0].c_str(), saved[1].c_str()}) == saved);
}
