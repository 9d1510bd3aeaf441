// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/config.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace support;
using sw::checkpoint::config;
using sw::checkpoint::field_state;

namespace {

config parse(const std::string& json) { return config::parse(json, "here"); }

}  // namespace

TEST_CASE("a golden's config tells what the file says, root and submodels") {
  const config c = config::open(golden("qwen3_5_moe_vl") / "config.json");
  CHECK(c.model_type() == "qwen3_5_moe");
  CHECK(c.architectures() == std::vector<std::string_view>{"Qwen3_5MoeForConditionalGeneration"});
  CHECK(c.sections() == std::vector<std::string_view>{"text_config", "vision_config"});
  CHECK(c.integer("", "image_token_id") == 508);
  CHECK(c.integer("text_config", "num_key_value_heads") == 4);
  CHECK(c.number("text_config", "rms_norm_eps") == 1e-6);
  CHECK(c.number("text_config", "vocab_size") == 512.0);
  CHECK(c.boolean("text_config", "tie_word_embeddings") == false);
  CHECK(c.text("vision_config", "hidden_act") == "gelu_pytorch_tanh");
  CHECK(c.texts("text_config", "layer_types").value().at(3) == "full_attention");
  CHECK(c.number("text_config.rope_parameters", "partial_rotary_factor") == 0.5);
  CHECK(c.integers("text_config.rope_parameters", "mrope_section") == std::vector<std::int64_t>{3, 3, 2});
  CHECK(c.numbers("text_config.rope_parameters", "mrope_section") == std::vector<double>{3, 3, 2});
  CHECK(c.required_integer("", "vision_start_token_id") == 510);
  CHECK(c.required_number("text_config", "attention_dropout") == 0.0);
  CHECK(c.required_text("text_config", "model_type") == "qwen3_5_moe_text");
}

TEST_CASE("a missing field and a null are told apart, and both read as nothing") {
  const config c = parse(R"({"a":null,"s_config":null,"model_type":null})");
  CHECK(c.state("", "a") == field_state::null);
  CHECK(c.state("", "b") == field_state::missing);
  CHECK(c.state("", "model_type") == field_state::null);
  CHECK(c.state("s_config", "a") == field_state::missing);
  CHECK(c.state("t_config", "a") == field_state::missing);
  CHECK(c.model_type().empty());
  CHECK(c.architectures().empty());
  CHECK(c.sections().empty());
  CHECK_FALSE(c.integer("", "a").has_value());
  CHECK_FALSE(c.integer("s_config", "a").has_value());
  CHECK_FALSE(c.texts("no.such.section", "a").has_value());
  CHECK_THROWS_MATCHES(c.required_integer("", "a"), sw::checkpoint_error, says("here: 'a' is missing or null"));
  CHECK_THROWS_MATCHES(c.required_text("s_config", "b"), sw::checkpoint_error, says("here: 's_config.b' is missing"));
}

TEST_CASE("a field of another kind is refused with file, section and field") {
  const config c = parse(R"({"a":1.5,"t_config":{"n":"8","big":9223372036854775808,"l":[1,"x"],"o":{}}})");
  const auto refused = [](auto f, const std::string& text) {
    CHECK_THROWS_MATCHES(f(), sw::checkpoint_error, says("here: " + text));
  };
  refused([&] { c.integer("", "a"); }, "'a' is not a whole number");
  refused([&] { c.integer("t_config", "n"); }, "'t_config.n' is not a whole number");
  refused([&] { c.integer("t_config", "big"); }, "'t_config.big' is not a whole number");
  refused([&] { c.number("t_config", "n"); }, "'t_config.n' is not a number");
  refused([&] { c.boolean("", "a"); }, "'a' is not true or false");
  refused([&] { c.text("", "a"); }, "'a' is not a text");
  refused([&] { c.integers("t_config", "l"); }, "'t_config.l' is not a list of whole numbers");
  refused([&] { c.texts("t_config", "l"); }, "'t_config.l' is not a list of texts");
  refused([&] { c.numbers("t_config", "o"); }, "'t_config.o' is not a list of numbers");
  refused([&] { c.integer("a", "n"); }, "'a' is no object");
  refused([&] { c.integer("t_config.n.deeper", "n"); }, "'t_config.n' is no object");
}

TEST_CASE("a tree is handed every whole number, each under its section") {
  const config c = parse(R"({"vocab_size":512,"eps":1e-5,"flag":true,"name":"8","nothing":null,"list":[1],
    "rope_parameters":{"factor":8},
    "text_config":{"num_attention_heads":8,"num_key_value_heads":2,"inner_config":{"n":1}},
    "vision_config":{"num_heads":4}})");
  sw::tree t;
  c.fill(t);
  CHECK(t.number("lm_head", "vocab_size") == 512);
  CHECK(t.number("x", "text_config.num_attention_heads") == 8);
  CHECK(t.number("x", "text_config.num_key_value_heads") == 2);
  CHECK(t.number("model.visual.x", "num_heads") == 4);
  for (const char* field : {"eps", "flag", "name", "nothing", "list", "rope_parameters", "factor", "n"}) {
    INFO(field);
    CHECK_THROWS_AS(t.number("lm_head", field), sw::shard_error);
  }
}

TEST_CASE("key/value heads that are missing or null are as many as the query heads of their section") {
  for (const char* field : {"", R"(,"num_key_value_heads":null)"}) {
    sw::tree t;
    parse(std::string(R"({"num_attention_heads":9,"text_config":{"num_attention_heads":8)") + field +
          R"(},"vision_config":{"num_heads":4}})")
        .fill(t);
    CHECK(t.number("lm_head", "num_key_value_heads") == 9);
    CHECK(t.number("x", "text_config.num_key_value_heads") == 8);
    CHECK_THROWS_AS(t.number("x", "vision_config.num_key_value_heads"), sw::shard_error);
  }
  sw::tree stated;
  parse(R"({"num_attention_heads":9,"num_key_value_heads":3})").fill(stated);
  CHECK(stated.number("lm_head", "num_key_value_heads") == 3);
}

TEST_CASE("a tree is told the blocks of a quantised checkpoint that share a scale") {
  const auto number = [](const std::string& json, const char* field) {
    sw::tree t;
    parse("{\"quantization_config\":" + json + "}").fill(t);
    const std::int64_t* n = t.find_number("", std::string("quantization_config.") + field);
    return n == nullptr ? 0 : *n;
  };
  CHECK(number(R"({"weight_block_size":[128,64]})", "weight_block_rows") == 128);
  CHECK(number(R"({"weight_block_size":[128,64]})", "weight_block_columns") == 64);
  CHECK(number(R"({"weight_block_size":null})", "weight_block_rows") == 0);
  CHECK(number(R"({"group_size":128})", "group_size") == 128);
  CHECK(number(R"({"quant_method":"mxfp4"})", "group_size") == 32);
  CHECK(number("null", "group_size") == 0);
}

TEST_CASE("a config in which Python wrote a number that is not finite is read, and its texts stay as they are") {
  const config c = parse(
      R"({"time_step_limit":[0.0,Infinity],"low":-Infinity,"n":NaN,"heads":8,"name":"a\"Infinity,NaN\\","NaN":"b"})");
  CHECK(c.integer("", "heads") == 8);
  CHECK(c.text("", "name") == "a\"Infinity,NaN\\");
  CHECK(c.text("", "NaN") == "b");
  CHECK(c.integer("", "n") == std::nullopt);
}

TEST_CASE("a config that is no good JSON is refused with its file and the reason") {
  const auto refused = [](const std::string& json, const std::string& text) {
    CHECK_THROWS_MATCHES(parse(json), sw::checkpoint_error, says(text));
  };
  refused("", "here is not valid JSON: ");
  refused("{", "here is not valid JSON: ");
  refused("{\"a\":Infinit}", "here is not valid JSON: ");
  refused("{\"a\":\"NaN}", "here is not valid JSON: ");
  refused(std::string(5000, '[') + std::string(5000, ']'), "here is not valid JSON: ");
  refused("[1]", "here is JSON, but no object");
  refused(R"({"a":1,"t_config":{"b":1,"c":2,"b":3}})", "has the key 'b' twice");
  const temporary_folder folder;
  CHECK_THROWS_MATCHES(config::open(folder / "config.json"), sw::checkpoint_error, says("No such file"));
  write_file(folder / "config.json", "");
  CHECK_THROWS_MATCHES(config::open(folder / "config.json"), sw::checkpoint_error,
                       says((folder / "config.json").string() + " is not valid JSON"));
}

TEST_CASE("a config may be copied, and outlives what it was read from") {
  config kept = parse("{}");
  {
    const config c = parse(R"({"model_type":"llama","text_config":{"n":1}})");
    kept = c;
  }
  CHECK(kept.model_type() == "llama");
  CHECK(kept.integer("text_config", "n") == 1);
}
