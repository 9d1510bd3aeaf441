// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/converted.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;
using sw::checkpoint::conversion;
using sw::checkpoint::converted;
using sw::detail::name_pattern;

static_assert(sw::tensor_source<sw::checkpoint::converted_source<const sw::memory_source&>>);
static_assert(sw::tensor_source<sw::checkpoint::converted_source<sw::checkpoint::folder>>);
template <class S>
concept has_config = requires(const S& source) {
  source.config();
};
static_assert(has_config<sw::checkpoint::converted_source<sw::checkpoint::folder>>);
static_assert(!has_config<sw::checkpoint::converted_source<sw::memory_source>>);

namespace {

/// Tensors in memory whose elements count on from tensor to tensor.
class counting {
 public:
  counting& add(const std::string& name, const tensor_shape& shape, dtype type = dtype::f32) {
    auto& values = memory_[name];
    for (std::size_t i = 0; i < shape.elements(); ++i) values.push_back(static_cast<float>(next_++));
    source.add(name, tensor_view(values.data(), type, shape));
    return *this;
  }
  float first(const std::string& name) const { return memory_.at(name).at(0); }
  sw::memory_source source;

 private:
  std::map<std::string, std::vector<float>> memory_;
  int next_ = 0;
};

/// Three experts of width 2 and hidden 3, with what may be left out.
counting experts(const std::string& leave_out = "", const std::string& prefix = "model.layers.0.") {
  counting c;
  for (const char* e : {"1", "0", "2"}) {
    for (const char* projection : {"up", "gate", "down"}) {
      const std::string name = prefix + "mlp.experts." + e + "." + projection + "_proj.weight";
      if (name == leave_out) continue;
      c.add(name, projection == std::string("down") ? tensor_shape{3, 2} : tensor_shape{2, 3});
    }
  }
  return c;
}

/// A source with a config.
struct with_config {
  const sw::memory_source& tensors;
  sw::checkpoint::config told;
  std::size_t size() const { return tensors.size(); }
  sw::tensor_info info(std::size_t i) const { return tensors.info(i); }
  void read(std::size_t i, const sw::box& what, const tensor_view& to) const { tensors.read(i, what, to); }
  const sw::checkpoint::config& config() const { return told; }
};

template <class Source>
void refused(const Source& source, const std::vector<conversion>& rules, const std::string& text) {
  CHECK_THROWS_MATCHES(converted(source, rules), sw::checkpoint_error, says(text));
}

}  // namespace

TEST_CASE("every golden becomes the model that Hugging Face lists, whichever form its experts have") {
  for (const std::string& name : golden_names) {
    INFO(name);
    const auto file = sw::checkpoint::open(golden(name));
    const auto model = converted(file);
    CHECK(file.bytes_read() == 0);
    CHECK(shapes_of(model) == listed(name, "parameters"));
    CHECK(model.size() == listed(name, "parameters").size());
  }
}

TEST_CASE("stacked experts hold each expert's tensors: gate rows, then up rows; and down as it is") {
  const auto file = sw::checkpoint::open(golden("qwen3_5_moe"));
  const auto model = converted(file);
  for (const std::string layer : {"model.layers.0.mlp.experts.", "model.layers.3.mlp.experts."}) {
    std::vector<std::byte> gate_up, down;
    for (int e = 0; e < 16; ++e) {
      const std::string expert = layer + std::to_string(e);
      for (const auto& [projection, all] :
           {std::pair(".gate_proj.weight", &gate_up), std::pair(".up_proj.weight", &gate_up),
            std::pair(".down_proj.weight", &down)}) {
        const auto bytes = whole(file, expert + projection);
        all->insert(all->end(), bytes.begin(), bytes.end());
      }
    }
    CHECK((whole(model, layer + "gate_up_proj") == gate_up));
    CHECK((whole(model, layer + "down_proj") == down));
  }
}

TEST_CASE("of Mixtral, w1 is gate, w3 is up, w2 is down, and the router has the model's name") {
  const auto file = sw::checkpoint::open(golden("mixtral"));
  const auto model = converted(file);
  const std::string hub = "model.layers.1.block_sparse_moe.";
  std::vector<std::byte> gate_up, down;
  for (int e = 0; e < 8; ++e) {
    for (const auto& [name, all] :
         {std::pair(".w1.weight", &gate_up), std::pair(".w3.weight", &gate_up), std::pair(".w2.weight", &down)}) {
      const auto bytes = whole(file, hub + "experts." + std::to_string(e) + name);
      all->insert(all->end(), bytes.begin(), bytes.end());
    }
  }
  CHECK((whole(model, "model.layers.1.mlp.experts.gate_up_proj") == gate_up));
  CHECK((whole(model, "model.layers.1.mlp.experts.down_proj") == down));
  CHECK((whole(model, "model.layers.1.mlp.gate.weight") == whole(file, hub + "gate.weight")));
}

TEST_CASE("any box of an assembled parameter is the same box of its whole, and reads no other byte") {
  const counting c = experts();
  const auto model = converted(c.source);
  dice d(3);
  for (const char* name : {"model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"}) {
    const std::size_t at = model.find(name);
    const tensor_shape shape = model.info(at).shape;
    const auto bytes = whole(model, name);
    std::vector<float> all(shape.elements());
    std::memcpy(all.data(), bytes.data(), bytes.size());
    for (int round = 0; round < 500; ++round) {
      sw::box what = sw::box::whole(shape);
      for (std::size_t k = 0; k < 3; ++k) {
        what.offset[k] = d.below(shape[k] + 1);
        what.extent[k] = d.below(shape[k] - what.offset[k] + 1);
      }
      // Into every second element, so that the gaps must stay.
      std::vector<float> out(2 * what.elements(), -1.0f), expected = out;
      tensor_view to(out.data(), dtype::f32, what.extent);
      for (std::size_t& stride : to.strides) stride *= 2;
      std::size_t i = 0;
      for_each_index(what.extent, [&](const std::vector<std::size_t>& k) {
        const std::size_t flat =
            ((what.offset[0] + k[0]) * shape[1] + what.offset[1] + k[1]) * shape[2] + what.offset[2];
        expected[2 * i++] = all[flat + k[2]];
      });
      const std::size_t before = model.bytes_read();
      model.read(at, what, to);
      CHECK(out == expected);
      CHECK(model.bytes_read() - before == 4 * what.elements());
    }
  }
}

TEST_CASE("expert numbers are numbers: 10 comes after 9, and layers are kept apart") {
  counting c;
  for (const char* layer : {"model.layers.0.", "model.layers.10.", ""}) {
    for (int e : {10, 9, 0, 1, 2, 3, 8, 7, 6, 5, 4}) {
      c.add(std::string(layer) + "mlp.experts." + std::to_string(e) + ".down_proj.weight", {1, 1});
    }
  }
  const auto model = converted(c.source);
  REQUIRE(model.size() == 3);
  for (const std::string layer : {"model.layers.0.", "model.layers.10.", ""}) {
    const auto bytes = whole(model, layer + "mlp.experts.down_proj");
    REQUIRE(bytes.size() == 11 * sizeof(float));
    for (int e = 0; e < 11; ++e) {
      float value = 0;
      std::memcpy(&value, bytes.data() + static_cast<std::size_t>(e) * sizeof value, sizeof value);
      CHECK(value == c.first(layer + "mlp.experts." + std::to_string(e) + ".down_proj.weight"));
    }
  }
}

TEST_CASE("what no rule names keeps its name and its place, and so does a checkpoint that is stacked already") {
  counting c = experts();
  c.add("lm_head.weight", {4, 3}).add("model.layers.0.mlp.experts.0.down_proj.weight_scale_inv", {1, 1});
  const auto model = converted(c.source);
  REQUIRE(model.size() == 4);
  CHECK(model.info(0).name == "model.layers.0.mlp.experts.gate_up_proj");
  CHECK(model.info(1).name == "model.layers.0.mlp.experts.down_proj");
  CHECK(model.info(2).name == "lm_head.weight");
  CHECK(model.info(3).name == "model.layers.0.mlp.experts.0.down_proj.weight_scale_inv");
  CHECK(model.parts(0).size() == 6);
  CHECK(model.parts(2).empty());

  counting apart;  // an assembled parameter stands where the first of its tensors was
  apart.add("mlp.experts.1.down_proj.weight", {1, 1}).add("norm", {1}).add("mlp.experts.0.down_proj.weight", {1, 1});
  CHECK(converted(apart.source).info(0).name == "mlp.experts.down_proj");
  CHECK(converted(apart.source).info(1).name == "norm");

  counting stacked;
  stacked.add("mlp.experts.gate_up_proj", {3, 4, 3}).add("mlp.experts.down_proj", {3, 3, 2});
  CHECK(shapes_of(converted(stacked.source)) == shapes_of(stacked.source));
}

TEST_CASE("a missing tensor is named, wherever it is missing") {
  const auto& rules = sw::checkpoint::default_conversions();
  const std::string experts_of = "model.layers.0.mlp.experts.";
  refused(experts(experts_of + "1.gate_proj.weight").source, rules,
          "not all tensors of 'model.layers.0.mlp.experts.gate_up_proj': "
          "'model.layers.0.mlp.experts.1.gate_proj.weight' is missing");
  refused(experts(experts_of + "2.up_proj.weight").source, rules,
          "'model.layers.0.mlp.experts.2.up_proj.weight' is missing");
  refused(experts(experts_of + "0.down_proj.weight").source, rules,
          "not all tensors of 'model.layers.0.mlp.experts.down_proj': "
          "'model.layers.0.mlp.experts.0.down_proj.weight' is missing");
  counting far;
  far.add("mlp.experts.999999999.down_proj.weight", {1, 1});
  refused(far.source, rules, "'mlp.experts.7.down_proj.weight' and 999999991 more are missing");
  counting gates;
  gates.add("mlp.experts.0.gate_proj.weight", {1, 1});
  refused(gates.source, rules, "'mlp.experts.0.up_proj.weight' is missing");
}

TEST_CASE("the config says how many experts there are, so that missing last ones are missed too") {
  const auto& rules = sw::checkpoint::default_conversions();
  const counting three = experts();
  const auto told = [&](const std::string& json) {
    return with_config{three.source, sw::checkpoint::config::parse(json, "config.json")};
  };
  for (const char* fits : {R"({"num_experts":3})", R"({"text_config":{"n_routed_experts":3}})", "{}",
                           R"({"num_experts":4,"text_config":{"num_experts":5}})", R"({"num_experts":null})"}) {
    INFO(fits);
    CHECK(converted(told(fits)).size() == 2);
  }
  refused(told(R"({"num_experts":4})"), rules,
          "'model.layers.0.mlp.experts.3.gate_proj.weight', 'model.layers.0.mlp.experts.3.up_proj.weight' are missing");
  refused(told(R"({"text_config":{"n_routed_experts":2}})"), rules,
          "is more than 'model.layers.0.mlp.experts.gate_up_proj' takes: config.json says 2");
}

TEST_CASE("tensors that do not fit together are named with what they are") {
  const auto& rules = sw::checkpoint::default_conversions();
  {
    counting c;
    c.add("mlp.experts.0.down_proj.weight", {3, 2}).add("mlp.experts.1.down_proj.weight", {3, 4});
    refused(c.source, rules,
            "'mlp.experts.1.down_proj.weight' is F32[3, 4], 'mlp.experts.0.down_proj.weight' is F32[3, 2]");
  }
  {
    counting c;
    c.add("mlp.experts.0.down_proj.weight", {3, 2}).add("mlp.experts.1.down_proj.weight", {3, 2}, dtype::bf16);
    refused(c.source, rules, "'mlp.experts.1.down_proj.weight' is BF16[3, 2]");
  }
  {
    counting c;
    c.add("mlp.experts.0.gate_proj.weight", {2, 3}).add("mlp.experts.0.up_proj.weight", {2, 4});
    refused(c.source, rules, "'mlp.experts.0.up_proj.weight' is F32[2, 4]");
  }
  {
    counting c;
    c.add("mlp.experts.0.gate_proj.weight", {2, 3}).add("mlp.experts.0.up_proj.weight", {3});
    refused(c.source, rules, "'mlp.experts.0.up_proj.weight' is F32[3]");
  }
  {
    counting c;
    c.add("mlp.experts.0.gate_proj.weight", {2, 3}).add("mlp.experts.0.up_proj.weight", {2, 3, 1});
    refused(c.source, rules, "'mlp.experts.0.up_proj.weight' is F32[2, 3, 1]");
  }
  {
    // Side by side they may differ along that dim only.
    counting c;
    c.add("mlp.experts.0.gate_proj.weight", {1, 3}).add("mlp.experts.0.up_proj.weight", {2, 3});
    const auto model = converted(c.source);
    CHECK(model.info(0).shape == tensor_shape{1, 3, 3});
    std::vector<float> values(9);
    const auto bytes = whole(model, "mlp.experts.gate_up_proj");
    std::memcpy(values.data(), bytes.data(), bytes.size());
    CHECK(values == std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8});
  }
  {
    counting c;
    c.add("mlp.experts.0.down_proj.weight", {3, 2}).add("mlp.experts.down_proj", {1, 3, 2});
    refused(c.source, rules, "the checkpoint has 'mlp.experts.down_proj' and also the tensors");
  }
}

TEST_CASE("a rule may rename, and lay side by side without stacking, as other families need") {
  const std::vector<conversion> rules = {
      {"**.mlp.gate.weight", {"**.block_sparse_moe.gate.weight"}},
      {"**.mlp.experts.gate_up_proj",
       {"**.block_sparse_moe.experts.*.w1.weight", "**.block_sparse_moe.experts.*.w3.weight"},
       1},
      {"**.qk.weight", {"**.q.weight", "**.k.weight"}, 1},
      {"embedding", {"tok.weight"}}};
  counting c;
  c.add("l.0.block_sparse_moe.gate.weight", {2, 2}).add("l.0.q.weight", {1, 2}).add("l.0.k.weight", {1, 1});
  c.add("tok.weight", {2}).add("x.tok.weight", {2});
  const auto model = converted(c.source, rules);
  CHECK(shapes_of(model) ==
        shapes{{"l.0.mlp.gate.weight", {2, 2}}, {"l.0.qk.weight", {1, 3}}, {"embedding", {2}}, {"x.tok.weight", {2}}});
  const auto bytes = whole(model, "l.0.qk.weight");
  const float expected[] = {4, 5, 6};
  CHECK(std::memcmp(bytes.data(), expected, sizeof expected) == 0);
  CHECK((whole(model, "l.0.mlp.gate.weight") == whole(c.source, "l.0.block_sparse_moe.gate.weight")));
}

TEST_CASE("a rule that makes no sense is refused") {
  counting c;
  c.add("a.0.w", {2, 2}).add("a.1.w", {2, 2}).add("a.0.v", {2, 2}).add("a.1.v", {2, 2});
  const auto refuse = [&](const conversion& rule, const std::string& text) {
    CHECK_THROWS_MATCHES(converted(c.source, std::vector{rule}), sw::plan_error, says(text));
  };
  refuse({"a.w", {}}, "needs names to convert from");
  refuse({"a.*.w", {"a.*.w"}}, "needs names to convert from");
  refuse({"**.w", {"a.*.w"}}, "needs names to convert from");
  refuse({"w", {"a.*.w", "a.0.v"}}, "needs names to convert from");
  refuse({"w", {"a.*.*"}}, "'a.*.*' of a conversion has two '*'");
  refuse({"w", {"a..w"}}, "has an empty segment");
  refuse({"w", {"a.**.w"}}, "'**' only as its first segment");
  refuse({"w", {"a.{0,1}.w"}}, "no braces");
  refuse({"w", {""}}, "has an empty segment");
  refuse({"w", {"a.*.w", "a.*.v"}, 0}, "along dim 0 of the parameter, which has 3 dims and is stacked along dim 0");
  refuse({"w", {"a.*.w", "a.*.v"}, 3}, "along dim 3 of the parameter, which has 3 dims");
  const std::vector<conversion> twice = {{"w", {"a.*.w"}}, {"x", {"a.*.w"}}};
  CHECK_THROWS_MATCHES(converted(c.source, twice), sw::plan_error, says("two conversions take the tensor 'a.0.w'"));
}

TEST_CASE("a name is found with its prefix and its number, and spelt again") {
  const name_pattern p("**.experts.*.w");
  REQUIRE(p.find("a.b.experts.12.w"));
  CHECK(p.find("a.b.experts.12.w")->prefix == "a.b.");
  CHECK(p.find("a.b.experts.12.w")->number == 12);
  CHECK(p.name_of({"a.b.", 12}) == "a.b.experts.12.w");
  CHECK(p.find("experts.0.w")->prefix.empty());
  for (const char* other : {"experts.x.w", "experts.01.w", "experts..w", "experts.1000000000.w", "experts.1.w.x", "1.w",
                            "xexperts.1.w", "w", "", ".", "experts.-1.w", "experts.99999999999999999999.w"}) {
    INFO(other);
    CHECK_FALSE(p.find(other));
  }
  CHECK_FALSE(name_pattern("a.w").find("x.a.w"));
  CHECK(name_pattern("a.w").find("a.w"));
}

TEST_CASE("a source may be referred to or moved in") {
  auto owned = converted(sw::checkpoint::open(golden("qwen3_5_moe")));
  const auto moved = std::move(owned);
  CHECK(moved.config().model_type() == "qwen3_5_moe_text");
  const auto file = sw::checkpoint::open(golden("qwen3_5_moe"));
  CHECK((whole(moved, "model.layers.0.mlp.experts.down_proj") ==
         whole(converted(file), "model.layers.0.mlp.experts.down_proj")));
  CHECK(moved.bytes_read() == file.bytes_read());
}

TEST_CASE("a read of an assembled parameter is checked like any other") {
  const counting c = experts();
  const auto model = converted(c.source);
  float out[6] = {};
  CHECK_THROWS_MATCHES(model.read(0, {{3, 0, 0}, {1, 2, 3}}, tensor_view(out, dtype::f32, {1, 2, 3})),
                       sw::checkpoint_error, says("not inside 'model.layers.0.mlp.experts.gate_up_proj'"));
  CHECK_THROWS_MATCHES(model.read(0, {{0, 0, 0}, {1, 2, 3}}, tensor_view(out, dtype::f32, {2, 3})),
                       sw::checkpoint_error, says("was to be read into a tensor of shape [2, 3]"));
  CHECK(c.source.bytes_read() == 0);
}
