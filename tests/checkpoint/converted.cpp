// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/converted.hpp"

#include <map>
#include <span>
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
using sw::detail::fragment;
namespace convert = sw::checkpoint::convert;

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

template <class Source>
void refused(const Source& source, std::span<const conversion> rules, const std::string& text) {
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
  const auto rules = sw::checkpoint::default_conversions();
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
  const auto rules = sw::checkpoint::default_conversions();
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
  const auto rules = sw::checkpoint::default_conversions();
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
    c.add("mlp.experts.0.down_proj.weight", {1, 1, 1, 1, 1, 1, 1, 1});
    refused(c.source, rules,
            "'mlp.experts.0.down_proj.weight' has 8 dims, the most that there may be, and is stacked to "
            "'mlp.experts.down_proj'");
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
  constexpr auto rules = convert::rules({
      convert::rename(".block_sparse_moe.", ".mlp."),
      convert::concat(".q.weight", ".k.weight").along(1).into(".qk.weight"),
      convert::rename("^tok.weight", "embedding"),
  });
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

TEST_CASE("a rule that makes no sense is refused, and so are renames that go in a circle") {
  using namespace convert;
  counting c;
  c.add("a.0.w", {2, 2}).add("a.1.w", {2, 2}).add("a.0.v", {2, 2}).add("a.1.v", {2, 2});
  const auto refuse_rule = [&](const conversion& rule, const std::string& text) {
    INFO(text);
    CHECK_THROWS_MATCHES(converted(c.source, std::vector{rule}), sw::plan_error, says(text));
  };
  refuse_rule(conversion{}, "needs a name to convert from");
  refuse_rule(stack("a.*.w"), "needs a name to convert into");
  refuse_rule(convert::rename("", "x"), "needs names that are not empty");
  refuse_rule(convert::rename("w", "*"), "each '*' in both names");
  refuse_rule(convert::rename("w", "{}"), "stars and braces that were found");
  refuse_rule(convert::rename("a.*.w", "w"), "each '*' in both names");
  refuse_rule(stack("a.w").into("w"), "but for one that is counted by a stack");
  refuse_rule(stack("*.*.w").into("w"), "but for one that is counted by a stack");
  refuse_rule(stack("a.*.w", "a.v").into("w"), "the same stars and braces in all names");
  refuse_rule(interleave("a.*.w").into("a.*.x"), "several names to take in turns");
  refuse_rule(split("w").by("x").into("a", "b"), "a share for each name");
  refuse_rule(concat("w", "v").into("x").padded_to(0), "a tile of one element");
  refuse_rule(concat("w", "v").into("x").padded_to(8), "padding is for an engine's own tensors");
  refuse_rule(convert::rename("w", "^x"), "is a name that is made");
  refuse_rule(convert::rename("w^", "x"), "'^' after its start");
  refuse_rule(convert::rename("{w", "x"), "has an open brace");
  refuse_rule(convert::rename("w}", "x"), "a brace that was not opened");
  refuse_rule(convert::rename("{a*,b}", "x"), "only literal texts in its braces");
  refuse_rule(convert::rename("*+x", "x"), "'*+' without a digit");
  const std::vector<conversion> circle = {convert::rename("w", "z"), convert::rename("z", "w")};
  CHECK_THROWS_MATCHES(converted(c.source, circle), sw::plan_error,
                       says("the conversions rename 'a.0.w' and then back"));
}

TEST_CASE("what does not fit a rule is refused, with the tensors' names") {
  using namespace convert;
  counting c;
  c.add("q.w", {4, 2}).add("k.w", {2, 2}).add("b", {3}).add("c", {4}).add("s", {}).add("a.0", {2}).add("a.1", {3});
  const auto refuse_tensors = [&](const conversion& rule, const std::string& text) {
    refused(c.source, std::vector{rule}, text);
  };
  refuse_tensors(concat("^q.w", "^k.w").along(2).into("x"), "is along dim 2 of a tensor of shape [4, 2]");
  refuse_tensors(concat("^q.w", "^k.w").along(1).into("x"), "'k.w' is F32[2, 2], 'q.w' is F32[4, 2]");
  refuse_tensors(concat("^q.w", "^c").into("x"), "'c' is F32[4], 'q.w' is F32[4, 2]");
  refuse_tensors(concat("^q.w", "^v.w").into("x"), "not all tensors of 'x': 'v.w' is missing");
  refuse_tensors(interleave("^q.w", "^k.w").into("x"), "'k.w' is F32[2, 2], 'q.w' is F32[4, 2]");
  refuse_tensors(interleave("^s", "^s").into("x"), "not all tensors of 'x'");
  refuse_tensors(stack("a.*").into("x"), "'a.1' is F32[3], 'a.0' is F32[2]");
  refuse_tensors(split("^b").into("x", "y"), "is 3 long, which is no multiple of 2");
  refuse_tensors(split("^s").into("x", "y"), "along dim 0 of a tensor of shape []");
  refuse_tensors(deinterleave("^b").into("x"), "is 3 long, which is no multiple of 2");
  refuse_tensors(transpose("^b", 0, 1).into("x"), "along dim 1 of a tensor of shape [3]");
  refuse_tensors(convert::rename("{q,k}.w", "x"),
                 "has 'x' and also the tensors that are converted to it: 'q.w' and 'k.w'");
  refuse_tensors(concat("{q,k}.w", "{b,c}").into("x"), "'q.w' and 'k.w' are both converted to 'x'");
  refuse_tensors(split("^c").by("n", "m").into("x", "y"), "the number 'n' of a config is needed");
  refuse_tensors(split("^c").halved_by_head("n", 1).into("x"), "the number 'n' of a config is needed");
  refuse_tensors(convert::refuse("q.w", "Mxfp4Dequantize"), "'q.w' is stored as Mxfp4Dequantize reads it");

  const with_config told{c.source, sw::checkpoint::config::parse(R"({"n":1,"m":2,"four":4,"rows":3})")};
  refused(told, std::vector{split("^c").by("n", "m").into("x", "y")}, "is 4 long, which is no multiple of 3");
  refused(told, std::vector{split("^c").halved_by_head("rows", 1).into("x")}, "not pairs of rows of 3 heads (rows)");
  refused(told, std::vector{transpose("^k.w", 0, 1).into("x").unless(1, "m")}, "it cannot be told whether");
  CHECK(shapes_of(converted(told, std::vector{transpose("^q.w", 0, 1).into("x").unless(1, "m")})).count("q.w") == 1);
  CHECK(shapes_of(converted(told, std::vector{transpose("^q.w", 0, 1).into("x").unless(1, "four")})).at("x") ==
        std::vector<std::size_t>{2, 4});
}

TEST_CASE("a fragment is found anywhere in a name, and replaced there") {
  const auto renamed = [](const char* from, const char* to, const std::string& name) -> std::string {
    const fragment f(from);
    const auto m = f.find(name);
    if (!m) return "-";
    return name.substr(0, m->begin) + fragment(to).with(*m) + name.substr(m->end);
  };
  CHECK(renamed("b", "x", "a.b.b.c") == "a.x.b.c");
  CHECK(renamed("^b", "x", "a.b") == "-");
  CHECK(renamed("^", "x.", "a.b") == "x.a.b");
  CHECK(renamed(".w", ".x", "a.w_scale.w.b") == "a.w_scale.x.b");  // a word ends where it ends
  CHECK(renamed(".w_", ".x_", "a.w_scale") == "a.x_scale");
  CHECK(renamed("layers.*.fc1", "l.*.mlp.fc1", "layers.12.fc1.weight") == "l.12.mlp.fc1.weight");
  CHECK(renamed("*.*", "*-*", "a.3.45.w") == "a.3-45.w");
  for (const char* no_number :
       {"layers.x.fc1", "layers.01.fc1", "layers..fc1", "layers.1000000000.fc1", "layers.-1.fc1"}) {
    INFO(no_number);
    CHECK(renamed("layers.*.fc1", "*", no_number) == "-");
  }
  CHECK(renamed("*.w", "*", "a010.w") == "-");  // nor is the end of one a number
  CHECK(renamed("q.*", "l.*+1", "q.9") == "l.10");
  CHECK(renamed("l.*+1", "q.*", "l.10") == "q.9");
  CHECK(renamed("l.*+1", "q.*", "l.0") == "-");
  CHECK(renamed("e.**.z", "f.**.y", "a.e.b.c.z.d") == "a.f.b.c.y.d");
  CHECK(renamed("{^,model.}norm.", "{}text.norm.", "norm.w") == "text.norm.w");
  CHECK(renamed("{^,model.}norm.", "{}text.norm.", "a.model.norm.w") == "a.model.text.norm.w");
  CHECK(renamed("{^,model.}norm.", "{}text.norm.", "q.norm.w") == "-");
  CHECK(renamed("^model!{.a,.b}", "model.c", "model.ab") == "-");
  CHECK(renamed("^model!{.a,.b}", "model.c", "model.x") == "model.c.x");
  CHECK(renamed("!{a.,b.}w", "x", "a.w.b.w") == "-");
  CHECK(renamed("!{a.,b.}w", "x", "a.w.c.w") == "a.w.c.x");
  CHECK(renamed("**b**c", "**|**", "abxbc") == "a|xb");  // each takes what it can, and must have some
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
