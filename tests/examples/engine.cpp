// SPDX-License-Identifier: Apache-2.0
// Parts of the engine that no golden shows: what is read before a refusal, and what the engine does not know.
#include <cstdlib>

#include "inputs.hpp"
#include "json.hpp"
#include "opened.hpp"
#include "plans.hpp"
#include "program.hpp"
#include "ranks.hpp"
#include "shardwise/checkpoint.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;
namespace sw = shardwise;

/// Runs a golden in this process under a plan file, and gives the bytes that were read until the end, or the refusal.
struct read_before {
  std::size_t bytes = 0;
  std::string refusal;
};
read_before bytes_read(const std::string& folder, const std::string& plan, int tp) {
  const opened_golden model(folder);
  const auto prompt = model.prompt({1, 2, 3});
  read_before r;
  try {
    const auto chosen = generate::choose_plan(plan, model.files.config());
    const auto sharding = generate::shard_for(chosen, model.tree, model.config.type, tp);
    generate::threads().run(sharding, model.source, model.config, prompt, {});
  } catch (const sw::error& e) {
    r.refusal = e.what();
  }
  r.bytes = model.files.bytes_read();
  return r;
}

TEST_CASE("a refused plan has read no weight, whoever refuses it", "[examples]") {
  CHECK(bytes_read("llama", "auto", 2).bytes > 700'000);
  const read_before heads = bytes_read("llama_kv2", "hf", 4);
  CHECK(heads.bytes == 0);
  CHECK_THAT(heads.refusal, ContainsSubstring("legal sizes: 1, 2"));

  const temporary_folder folder;
  plan_rows rows = hugging_face_plan(golden("llama/plan.json"));
  for (auto& row : rows) {
    if (row.first == "lm_head") row.second = "colwise";
  }
  const read_before half = bytes_read("llama", folder.write("plan.json", plan_text(rows)), 2);
  CHECK(half.bytes == 0);
  CHECK_THAT(half.refusal, ContainsSubstring("'lm_head'"));
}

TEST_CASE("each rank reads the bytes that it holds, and no more", "[examples]") {
  std::size_t held = 0;
  for (const local_tensors& rank : ranks_of(golden("llama/tp4.json"))) {
    for (const auto& [name, tensor] : rank) {
      std::size_t bytes = 4;
      for (std::int64_t n : tensor.first) bytes *= static_cast<std::size_t>(n);
      held += bytes;
    }
  }
  CHECK(bytes_read("llama", "hf", 4).bytes == held);
}

TEST_CASE("the vision tower runs cut by whole heads, as the engine's layout says", "[examples]") {
  const golden_model& g = golden_of("qwen3_5_moe_vl");
  static constexpr auto plan = sw::models::qwen3_5_moe::for_conditional_generation.with(
      {{"model.visual.blocks.*.attn.qkv", sw::colwise.groups(3)}, {"model.visual.blocks.*.attn.proj", sw::rowwise}});
  const auto files = sw::checkpoint::open(golden(g.folder));
  const auto config = generate::read_config(files.config());
  generate::options o;
  o.inputs = golden(g.folder + "/inputs.json");
  o.pixels = generate::tensor_in_file{golden(g.folder + "/expected.safetensors"), "pixel_values"};
  const auto prompt = generate::read_prompt(o, config);
  sw::tensor_shape shape;
  const auto expected = floats(golden(g.folder + "/expected.safetensors"), "logits", shape);
  const sw::tree tree = sw::tree_of(files);
  for (int tp : {1, 2, 4}) {
    INFO("tp " << tp);
    const auto sharding = sw::shard(plan, tree, {.tp = tp, .layout = generate::engine_layout});
    const auto ranks = generate::threads().run(sharding, files, config, prompt, {});
    const generate::tensor& logits = ranks[0].logits;
    REQUIRE(logits.elements() == expected.size());
    float largest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(logits.data()[i] - expected[i]));
    }
    CHECK(static_cast<double>(largest) <= g.tolerance);
  }
  // 4 heads over 8 ranks.
  CHECK_THROWS_MATCHES(sw::shard(plan, tree, {.tp = 8, .layout = generate::engine_layout}), sw::shard_error,
                       says("heads over 8 ranks"));
}

TEST_CASE("a draft head stays in its file: the engine makes no use of it", "[examples]") {
  const temporary_folder folder;
  std::filesystem::copy_file(golden("qwen3_5_moe_vl/config.json"), folder / "config.json");
  const auto file = sw::checkpoint::safetensors_file::open(golden("qwen3_5_moe_vl/model.safetensors"));
  std::vector<float> draft(64 * 128, std::nanf(""));
  std::vector<std::vector<float>> values;
  std::vector<sw::checkpoint::named_tensor> all{{"mtp.fc.weight", {draft.data(), sw::dtype::f32, {64, 128}}}};
  for (std::size_t i = 0; i < file.size(); ++i) {
    const auto info = file.info(i);
    values.emplace_back(info.shape.elements());
    file.read(i, sw::box::whole(info.shape), {values.back().data(), sw::dtype::f32, info.shape});
    all.push_back({info.name, {values.back().data(), sw::dtype::f32, info.shape}});
  }
  sw::checkpoint::write_safetensors(folder / "model.safetensors", all);
  const std::string prompt = " --tokens 1,2,3 --new-tokens 4 --tp 2 --plan ";
  for (const char* plan : {"auto", "hf"}) {
    const outcome with_draft = run("'" + (folder / "") + "'" + prompt + plan);
    CHECK(with_draft.exit == 0);
    CHECK(with_draft.out == run("'" + golden("qwen3_5_moe_vl") + "'" + prompt + plan).out);
  }
}

/// config.json of a golden with one text put in the place of another.
std::string refused_config(const std::string& folder, const std::string& from, const std::string& to) {
  std::string text = text_of(golden(folder + "/config.json"));
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  try {
    generate::read_config(sw::checkpoint::config::parse(text));
  } catch (const sw::checkpoint_error& e) {
    return e.what();
  }
  return "";
}

TEST_CASE("what the engine does not know of a config is refused by name", "[examples]") {
  CHECK(refused_config("llama", "\"silu\"", "\"silu\"").empty());
  CHECK_THAT(refused_config("llama", "\"silu\"", "\"gelu\""), ContainsSubstring("'hidden_act' is gelu"));
  CHECK_THAT(refused_config("llama", "\"default\"", "\"dynamic\""), ContainsSubstring("rope_type' is 'dynamic'"));
  CHECK_THAT(refused_config("llama", "\"model_type\": \"llama\"", "\"model_type\": \"gpt2\""),
             ContainsSubstring("'model_type' is 'gpt2'"));
  CHECK_THAT(refused_config("llama", "\"use_cache\": true", "\"quantization_config\": {\"bits\": 4}"),
             ContainsSubstring("quantization_config"));
  CHECK_THAT(refused_config("llama", "\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3"),
             ContainsSubstring("num_attention_heads"));
  CHECK_THAT(refused_config("llama", "\"vocab_size\": 512", "\"vocab_size\": -1"), ContainsSubstring("vocab_size"));
  CHECK_THAT(refused_config("llama", "\"rope_theta\": 10000.0", "\"partial_rotary_factor\": 0.5"),
             ContainsSubstring("partial_rotary_factor"));
  CHECK_THAT(refused_config("qwen2", "\"full_attention\"", "\"sliding_attention\""),
             ContainsSubstring("'sliding_attention' in layer 0"));
  CHECK_THAT(refused_config("qwen3", "\"sliding_window\": null", "\"sliding_window\": 4, \"use_sliding_window\": true"),
             ContainsSubstring("use_sliding_window"));
  CHECK_THAT(refused_config("qwen3_5_moe_vl", "\"gelu_pytorch_tanh\"", "\"relu\""),
             ContainsSubstring("'vision_config.hidden_act' is relu"));
}

TEST_CASE("what the engine does not know of a family's own fields is refused by name", "[examples]") {
  const struct {
    const char *folder, *from, *to, *said;
  } cases[] = {
      {"gpt_oss", "\"yarn\"", "\"longrope\"", "'rope_parameters.rope_type' is 'longrope'"},
      {"gpt_oss", "\"full_attention\"", "\"chunked_attention\"", "'chunked_attention' in layer 1"},
      {"gpt_oss", "\"sliding_window\": 6", "\"sliding_window\": null", "'sliding_window' is null"},
      {"gpt_oss", "\"silu\"", "\"gelu\"", "'hidden_act' is gelu"},
      {"phi3", "\"default\"", "\"llama3\"", "'rope_parameters.rope_type' is 'llama3'"},
      {"phi3", "\"default\"", "\"longrope\"", "'rope_parameters.short_factor' is not there"},
      {"phi3", "\"default\"", "\"su\", \"short_factor\": [1, 1], \"long_factor\": [1, 1]", "only 4 for these heads"},
      {"gemma3_text", "\"use_bidirectional_attention\": false", "\"use_bidirectional_attention\": true",
       "'use_bidirectional_attention' is true"},
      {"gemma3_text", "\"attn_logit_softcapping\": null", "\"attn_logit_softcapping\": 50.0",
       "'attn_logit_softcapping' is there"},
      {"gemma3_text", "\"gelu_pytorch_tanh\"", "\"gelu\"", "'hidden_activation' is gelu"},
      {"gemma3_text", "\"rope_parameters\": {", "\"rope_parameters\": {\"rope_theta\": 5,",
       "'rope_parameters.rope_theta'"},
      {"gemma3_text", "\"rope_type\": \"default\"", "\"rope_type\": \"dynamic\"",
       "'rope_parameters.full_attention.rope_type' is 'dynamic'"},
      {"olmo2", "\"use_cache\"",
       "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"], \"x\"",
       "'sliding_attention' in layer 1"}};
  for (const auto& c : cases) {
    INFO(c.folder << ": " << c.to);
    CHECK_THAT(refused_config(c.folder, c.from, c.to), ContainsSubstring(c.said));
  }
}

TEST_CASE("older configs say the same in other words", "[examples]") {
  const auto rope_of = [](const std::string& fields, const std::string& type = "llama") {
    const std::string text = R"({"vocab_size": 8, "hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 1,
      "intermediate_size": 5, "max_position_embeddings": 64, "model_type": ")" +
                             type + "\", " + fields + "}";
    return generate::read_config(sw::checkpoint::config::parse(text)).text;
  };
  const auto plain = rope_of(R"("rope_theta": 500, "head_dim": null)");
  CHECK(plain.rope.theta == 500);
  CHECK(plain.head_dim == 4);
  CHECK(plain.key_value_heads == 3);
  CHECK_FALSE(plain.rope.llama3.has_value());
  CHECK(rope_of(R"("rope_parameters": {"rope_theta": 500})").rope.theta == 500);
  const auto stretched = rope_of(R"("rope_theta": 500, "rope_scaling": {"type": "llama3", "factor": 8,
      "low_freq_factor": 1, "high_freq_factor": 4})");
  CHECK(stretched.rope.theta == 500);
  REQUIRE(stretched.rope.llama3.has_value());
  CHECK(stretched.rope.llama3->context == 64);

  // gpt-oss of old names no type of layer, and perhaps no rope.
  const auto oss = rope_of(R"("num_local_experts": 4, "num_experts_per_tok": 2)", "gpt_oss");
  CHECK(oss.windowed_layers == std::vector<bool>{true});
  CHECK(oss.window == 128);
  CHECK(oss.rope.theta == 150000);
  REQUIRE(oss.rope.yarn.has_value());
  CHECK(oss.rope.yarn->context == 4096);
  CHECK(oss.rope.magnitude == Approx(0.1 * std::log(32.0) + 1));
  const auto phi = rope_of(R"("rope_theta": 500, "partial_rotary_factor": 0.5, "original_max_position_embeddings": 16,
      "rope_scaling": {"type": "su", "short_factor": [1], "long_factor": [3]})",
                           "phi3");
  CHECK(phi.rope.theta == 500);
  REQUIRE(phi.rope.longrope.has_value());
  CHECK(phi.rope.longrope->context == 16);
  CHECK(phi.rope.magnitude == Approx(std::sqrt(1 + std::log(64 / 16.) / std::log(16.))));
  const auto gemma =
      rope_of(R"("rope_theta": 500, "rope_local_base_freq": 50, "sliding_window_pattern": 1, "head_dim": 4,
      "rope_scaling": {"rope_type": "linear", "factor": 8})",
              "gemma3_text");
  CHECK(gemma.windowed_layers == std::vector<bool>{false});
  CHECK(gemma.rope.theta == 500);
  CHECK(gemma.rope.linear == 8);
  REQUIRE(gemma.windowed_rope.has_value());
  CHECK(gemma.windowed_rope->theta == 50);
  CHECK(gemma.windowed_rope->linear == 1);
}

TEST_CASE("which layers have experts, how they are weighed and how far a token sees is what the config says",
          "[examples]") {
  const auto read = [](const std::string& type, const std::string& fields) {
    const std::string text =
        R"({"vocab_size": 8, "hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 6,
            "intermediate_size": 5, "num_experts_per_tok": 2, "model_type": ")" +
        type + "\"" + fields + "}";
    return generate::read_config(sw::checkpoint::config::parse(text)).text;
  };
  using layers = std::vector<bool>;
  const std::string sizes = R"(, "num_experts": 4, "moe_intermediate_size": 7)";
  const auto plain = read("qwen3_moe", sizes);
  CHECK(plain.expert_layers == layers{true, true, true, true, true, true});
  CHECK(plain.experts->count == 4);
  CHECK(plain.experts->width == 7);
  CHECK_FALSE(plain.experts->normed);
  CHECK_FALSE(plain.window.has_value());
  CHECK(plain.rope.theta == 10000);
  const auto some = read("qwen3_moe", sizes + R"(, "decoder_sparse_step": 2, "mlp_only_layers": [0, 3, 9],
      "norm_topk_prob": true, "use_sliding_window": true, "sliding_window": 3)");
  CHECK(some.expert_layers == layers{false, true, false, false, false, true});
  CHECK(some.experts->normed);
  CHECK(some.window == 3);
  const auto eight = read("mixtral", R"(, "num_local_experts": 8, "sliding_window": 4, "attention_bias": true)");
  CHECK(eight.expert_layers == layers{true, true, true, true, true, true});
  CHECK(eight.experts->count == 8);
  CHECK(eight.experts->width == 5);
  CHECK(eight.experts->normed);
  CHECK(eight.window == 4);
  CHECK_FALSE(eight.qkv_bias);
  CHECK(eight.rope.theta == 1000000);
  CHECK_THROWS_MATCHES(read("mixtral", R"(, "num_local_experts": 1)"), sw::checkpoint_error,
                       says("'num_experts_per_tok' is 2, and this engine knows only at most 'num_local_experts'"));
}

TEST_CASE("llama3 rope keeps short wavelengths, stretches long ones, and goes smoothly between", "[examples]") {
  generate::rope_config c;
  c.theta = 10000;
  c.llama3 = {8, 1, 4, 32};
  // At position 1 the angles are the inverse frequencies.
  generate::positions one;
  one.push(1, 1, 1);
  const auto turn = generate::rope(c, 8)(one);
  const double inverse[] = {1, 0.1, 0.01, 0.001};
  for (std::size_t i = 0; i < 4; ++i) {
    const double wavelength = 2 * 3.14159265358979 / inverse[i], smooth = (32 / wavelength - 1) / (4 - 1);
    const double angle = wavelength > 32   ? inverse[i] / 8
                         : wavelength < 8. ? inverse[i]
                                           : (1 - smooth) * inverse[i] / 8 + smooth * inverse[i];
    CHECK(turn.sine.data()[i] == Approx(std::sin(angle)).epsilon(1e-5));
  }
}

TEST_CASE("yarn stretches what turns rarely, linear all, longrope each by its own factor", "[examples]") {
  const double inverse[] = {1, 0.1, 0.01, 0.001};
  const auto angles = [](const generate::rope_config& c, std::int64_t at, std::size_t longest) {
    generate::positions here;
    here.push(at, at, at);
    const generate::tensor sine = generate::rope(c, 8)(here, longest).sine;
    return std::vector<float>(sine.data(), sine.data() + sine.elements());
  };
  generate::rope_config linear, yarn, longrope;
  linear.linear = 4;
  yarn.yarn = {8, 4, 1, 64, true};
  yarn.magnitude = 1.5;
  longrope.longrope = {{1, 2, 3, 4}, {2, 4, 6, 8}, 4};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(angles(linear, 1, 1)[i] == Approx(std::sin(inverse[i] / 4)).epsilon(1e-5));
    // Frequency i turns 64 * 10^-i / (2 pi) times: 4 times at i = 0.41, once at 1.01; the line goes from 0 to 2.
    const double part = std::min(static_cast<double>(i) / 2, 1.0);
    CHECK(angles(yarn, 1, 1)[i] == Approx(1.5 * std::sin(inverse[i] * (part / 8 + 1 - part))).epsilon(1e-5));
    CHECK(angles(longrope, 3, 4)[i] == Approx(std::sin(3 * inverse[i] / static_cast<double>(i + 1))).epsilon(1e-5));
    CHECK(angles(longrope, 4, 9)[i] == Approx(std::sin(2 * inverse[i] / static_cast<double>(i + 1))).epsilon(1e-5));
  }
  CHECK_THROWS_MATCHES(angles(longrope, 3, 5), sw::checkpoint_error,
                       says("the frequencies of longrope change after 4 tokens, and 5 are asked for"));
}

TEST_CASE("images stand on grids of places, text on a line", "[examples]") {
  generate::model_config m;
  m.vision.emplace();
  m.vision->merge = 2;
  m.image_token = 9;
  generate::prompt p;
  p.batch = 1;
  p.ids = {1, 9, 9, 9, 9, 9, 9, 2, 3};
  p.tokens = p.ids.size();
  p.images = {{1, 4, 6}};
  generate::place_tokens(p, m);
  using places = std::vector<std::int64_t>;
  CHECK(p.at.axis[0] == places{0, 1, 1, 1, 1, 1, 1, 4, 5});
  CHECK(p.at.axis[1] == places{0, 1, 1, 1, 2, 2, 2, 4, 5});
  CHECK(p.at.axis[2] == places{0, 1, 2, 3, 1, 2, 3, 4, 5});
  CHECK(p.deltas == places{-3});
}

TEST_CASE("a checkpoint that is not of its type is refused by the tensor's name", "[examples]") {
  const temporary_folder folder;
  const auto refusal = [&](const std::string& from, const std::string& to) {
    std::string text = text_of(golden("llama/config.json"));
    text.replace(text.find(from), from.size(), to);
    folder.write("config.json", text);
    std::filesystem::copy_file(golden("llama/model.safetensors"), folder / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    const outcome r = run("'" + (folder / "") + "' --tokens 1 --plan hf");
    CHECK(r.refused());
    return r.err;
  };
  CHECK_THAT(refusal("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"),
             ContainsSubstring("no place for 'model.layers.2.input_layernorm.weight' and 8 more"));
  CHECK_THAT(refusal("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"),
             ContainsSubstring("no 'model.layers.3.input_layernorm.weight'"));
  CHECK_THAT(refusal("\"attention_bias\": false", "\"attention_bias\": true"),
             ContainsSubstring("no 'model.layers.0.self_attn.q_proj.bias'"));
  CHECK_THAT(refusal("\"hidden_size\": 64", "\"hidden_size\": 32"), ContainsSubstring("has the shape [512, 64]"));
}

}  // namespace
