// SPDX-License-Identifier: Apache-2.0
#include "shardwise/model/tree.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include "catch.hpp"

namespace sw = shardwise;

TEST_CASE("a tree lists its parameters in the order of registration, and finds them by name", "[model]") {
  sw::tree t;
  t.add("b.weight", sw::dtype::bf16, {4, 3}).add("a", sw::dtype::f64, {}).add("c", sw::dtype::u8, {5});
  REQUIRE(t.size() == 3);
  CHECK(t[0].name == "b.weight");
  CHECK(t[0].type == sw::dtype::bf16);
  CHECK(t[0].shape == sw::tensor_shape{4, 3});
  CHECK(t.find("a") == 1);
  CHECK(t.find("a.weight") == sw::tree::npos);
  CHECK(t.find("") == sw::tree::npos);
  CHECK(t.bytes() == 4 * 3 * 2 + 8 + 5);
  CHECK(sw::tree().find("a") == sw::tree::npos);
}

TEST_CASE("the names of a tree stay where they are while it grows and moves", "[model]") {
  sw::tree t;
  std::string name = "layers.first.weight";
  t.add(name, sw::dtype::f32, {1});
  const std::string_view kept = t[0].name;
  const char* at = kept.data();
  name.assign(name.size(), '?');
  for (int i = 0; i < 20000; ++i) t.add("layers." + std::to_string(i) + ".weight", sw::dtype::f32, {1});
  const sw::tree moved = std::move(t);
  CHECK(moved.size() == 20001);
  CHECK(moved[0].name.data() == at);
  CHECK(kept == "layers.first.weight");
  for (int i = 0; i < 20000; i += 997) {
    CHECK(moved.find("layers." + std::to_string(i) + ".weight") == static_cast<std::size_t>(i) + 1);
  }
}

TEST_CASE("a name longer than a block of the text store is kept whole", "[model]") {
  const std::string name(40000, 'n');
  sw::tree t;
  t.add("before", sw::dtype::f32, {1}).add(name, sw::dtype::f32, {1}).add("after", sw::dtype::f32, {1});
  CHECK(t[1].name == name);
  CHECK(t.find("after") == 2);
}

TEST_CASE("a name is registered once", "[model]") {
  sw::tree t;
  t.add("a", sw::dtype::f32, {1});
  CHECK_THROWS_MATCHES(t.add("a", sw::dtype::f32, {2}), sw::plan_error, says("the tree has two parameters called 'a'"));
  CHECK(t.size() == 1);
  CHECK(t.bytes() == 4);
}

TEST_CASE("a tie is another name of a parameter, and counts no bytes", "[model]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {10, 4}).tie("embed.weight", "head.weight");
  CHECK(t.size() == 1);
  CHECK(t.find("head.weight") == t.find("embed.weight"));
  CHECK(t.bytes() == 160);
  REQUIRE(t.ties().size() == 1);
  CHECK(t.ties()[0].kept == 0);
  CHECK(t.ties()[0].alias == "head.weight");
  CHECK_THROWS_MATCHES(t.tie("nothing", "x"), sw::plan_error,
                       says("'x' is tied to 'nothing', which the tree does not have"));
  CHECK_THROWS_MATCHES(t.tie("embed.weight", "head.weight"), sw::plan_error,
                       says("the tied name 'head.weight' is a parameter or a tie already"));
  CHECK_THROWS_MATCHES(t.tie("embed.weight", "embed.weight"), sw::plan_error, says("is a parameter or a tie already"));
  CHECK_THROWS_AS(t.add("head.weight", sw::dtype::f32, {1}), sw::plan_error);
}

TEST_CASE("a number is that of the submodel's config which the path belongs to", "[model]") {
  sw::tree t;
  t.config("", "n", 1).config("text_config", "n", 2).config("vision_config", "n", 3).config("audio_config", "n", 4);
  struct row {
    const char* path;
    std::int64_t n;
  };
  for (const row& r : {row{"lm_head.weight", 1}, row{"model.language_model.layers.0.q", 2}, row{"text_model.q", 2},
                       row{"model.visual.blocks.1.qkv", 3}, row{"vision_tower.x", 3}, row{"a.vision_model.x", 3},
                       row{"model.audio_tower.x", 4}, row{"model.visuals.x", 1}, row{"", 1}}) {
    INFO(r.path);
    CHECK(t.number(r.path, "n") == r.n);
  }
  CHECK(t.number("model.visual.x", "text_config.n") == 2);
}

TEST_CASE("a text-only checkpoint keeps its numbers in the root, whatever its modules are called", "[model]") {
  sw::tree t;
  t.config("", "n", 7);
  CHECK(t.number("model.language_model.layers.0.q", "n") == 7);
}

TEST_CASE("a number that the submodel does not have is not taken from elsewhere", "[model]") {
  sw::tree t;
  t.config("", "n", 1).config("vision_config", "m", 3).config("text_config", "k", 2);
  CHECK_THROWS_MATCHES(t.number("model.visual.x", "n"), sw::shard_error,
                       says("units(\"n\") of 'model.visual.x': vision_config has no number of that name"));
  // The root may ask its submodels, if only one of them has it.
  CHECK(t.number("lm_head.weight", "k") == 2);
  t.config("vision_config", "k", 2);
  CHECK_THROWS_MATCHES(t.number("lm_head.weight", "k"), sw::shard_error, says("is ambiguous"));
  CHECK_THROWS_MATCHES(t.number("x", "nothing.n"), sw::shard_error, says("nothing has no number of that name"));
}
