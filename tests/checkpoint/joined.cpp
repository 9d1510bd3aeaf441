// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/joined.hpp"

#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/load.hpp"
#include "shardwise/checkpoint/tree_of.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;
using sw::checkpoint::joined;
using namespace sw::checkpoint::convert;

namespace {

/// A tensor as rows of bytes.
struct held {
  tensor_shape shape;
  std::vector<float> values;
};
using tensors = std::map<std::string, held>;

/// A rank's tensors as the model names them.
tensors unfused(const sw::sharding& s, int rank, const auto& source) {
  tensors all;
  sw::load(s, rank, source, [&](const sw::sharded_parameter& p, const tensor_shape& local) {
    held& h = all[std::string(p.name)];
    h = {local, std::vector<float>(local.elements())};
    return tensor_view(h.values.data(), dtype::f32, local);
  });
  return all;
}
/// The same in the engine's layout; what nothing is written to is -1.
tensors fused(const sw::sharding& s, int rank, const auto& source, std::span<const sw::checkpoint::conversion> rules) {
  const auto mine = joined(s, rank, rules);
  tensors all;
  for (std::size_t t = 0; t < mine.size(); ++t) {
    all[std::string(mine.info(t).name)] = {mine.info(t).shape,
                                           std::vector<float>(mine.info(t).shape.elements(), -1.0f)};
  }
  sw::load(s, rank, source, mine.weights([&](std::size_t t) {
    held& h = all.at(std::string(mine.info(t).name));
    return tensor_view(h.values.data(), dtype::f32, h.shape);
  }));
  return all;
}
std::vector<float> one_after_another(const tensors& all, const std::string& module,
                                     std::initializer_list<const char*> names, const char* what) {
  std::vector<float> values;
  for (const char* name : names) {
    const held& h = all.at(module + name + what);
    values.insert(values.end(), h.values.begin(), h.values.end());
  }
  return values;
}

}  // namespace

TEST_CASE("a fused engine layout holds what the unfused one holds: each parameter is cut, then joined") {
  constexpr auto layout = rules({
      concat("q_proj", "k_proj", "v_proj").into("qkv_proj"),
      concat("gate_proj", "up_proj").into("gate_up_proj"),
  });
  for (const char* name : {"llama", "llama_bias"}) {
    const auto file = sw::checkpoint::open(golden(name));
    for (int tp : {2, 4}) {
      const sw::sharding s = sw::shard(plan_of(name), sw::tree_of(file), {.tp = tp});
      for (int rank = 0; rank < tp; ++rank) {
        INFO(name << " at tp " << tp << ", rank " << rank);
        const std::size_t before = file.bytes_read();
        const tensors apart = unfused(s, rank, file), together = fused(s, rank, file, layout);
        CHECK(file.bytes_read() - before == 2 * s.bytes(rank));
        std::size_t compared = 0;
        for (const auto& [tensor, h] : together) {
          INFO(tensor);
          const std::size_t qkv = tensor.find("qkv_proj."), gate_up = tensor.find("gate_up_proj.");
          if (qkv != std::string::npos) {
            CHECK(h.values == one_after_another(apart, tensor.substr(0, qkv), {"q_proj", "k_proj", "v_proj"},
                                                tensor.c_str() + qkv + 8));
            compared += 3;
          } else if (gate_up != std::string::npos) {
            CHECK(h.values == one_after_another(apart, tensor.substr(0, gate_up), {"gate_proj", "up_proj"},
                                                tensor.c_str() + gate_up + 12));
            compared += 2;
          } else {
            CHECK(h.values == apart.at(tensor).values);
            compared += 1;
          }
        }
        CHECK(compared == s.size());
      }
    }
  }
}

TEST_CASE("an engine may pad to a tile, transpose, stack and interleave its ranks' pieces") {
  const auto file = sw::checkpoint::open(golden("llama"));
  const sw::sharding s = sw::shard(plan_of("llama"), sw::tree_of(file), {.tp = 4});
  constexpr auto layout = rules({
      concat("q_proj.weight", "k_proj.weight", "v_proj.weight").into("qkv.weight").padded_to(48),
      interleave("mlp.gate_proj.weight", "mlp.up_proj.weight").into("gate_up.weight"),
      transpose("down_proj.weight", 0, 1).into("down.weight"),
      stack("layers.*.input_layernorm.weight").into("norms"),
  });
  const std::string layer = "model.layers.1.";
  for (int rank = 0; rank < 4; ++rank) {
    const tensors apart = unfused(s, rank, file), engine = fused(s, rank, file, layout);
    // 32 rows of q and 16 of k and v each, by 4 ranks: 16, padded to 48.
    const held& qkv = engine.at(layer + "self_attn.qkv.weight");
    const std::vector<float> rows =
        one_after_another(apart, layer + "self_attn.", {"q_proj", "k_proj", "v_proj"}, ".weight");
    REQUIRE(qkv.shape[0] % 48 == 0);
    REQUIRE(qkv.values.size() > rows.size());
    CHECK(std::vector<float>(qkv.values.begin(), qkv.values.begin() + static_cast<std::ptrdiff_t>(rows.size())) ==
          rows);
    for (std::size_t i = rows.size(); i < qkv.values.size(); ++i) CHECK(qkv.values[i] == -1.0f);

    const held &gate = apart.at(layer + "mlp.gate_proj.weight"), &up = apart.at(layer + "mlp.up_proj.weight");
    const held& gate_up = engine.at(layer + "gate_up.weight");
    const std::size_t columns = gate.shape[1];
    REQUIRE(gate_up.shape == tensor_shape{2 * gate.shape[0], columns});
    const held &down = apart.at(layer + "mlp.down_proj.weight"), &turned = engine.at(layer + "mlp.down.weight");
    bool equal = true;
    for (std::size_t i = 0; i < gate.shape[0]; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        equal &= gate_up.values[2 * i * columns + j] == gate.values[i * columns + j];
        equal &= gate_up.values[(2 * i + 1) * columns + j] == up.values[i * columns + j];
      }
    }
    REQUIRE(turned.shape == tensor_shape{down.shape[1], down.shape[0]});
    for (std::size_t i = 0; i < down.shape[0]; ++i) {
      for (std::size_t j = 0; j < down.shape[1]; ++j) {
        equal &= turned.values[j * down.shape[0] + i] == down.values[i * down.shape[1] + j];
      }
    }
    CHECK(equal);
    const held& norms = engine.at("model.norms");
    CHECK(norms.shape[0] > 1);
    const auto& second = apart.at(layer + "input_layernorm.weight").values;
    CHECK(std::equal(second.begin(), second.end(), norms.values.begin() + static_cast<std::ptrdiff_t>(second.size())));
  }
}

TEST_CASE("a layout that takes a parameter apart, or pieces that do not fit, are refused before a byte is read") {
  const auto file = sw::checkpoint::open(golden("llama"));
  const sw::sharding s = sw::shard(plan_of("llama"), sw::tree_of(file), {.tp = 2});
  CHECK_THROWS_MATCHES(joined(s, 0, rules({split("gate_proj").into("a", "b")})), sw::plan_error,
                       says("takes 'model.layers.0.mlp.gate_proj.weight' apart"));
  CHECK_THROWS_MATCHES(joined(s, 0, rules({deinterleave("gate_proj").into("a")})), sw::plan_error, says("apart"));
  // q is cut on its rows and o on its columns.
  CHECK_THROWS_MATCHES(joined(s, 0, rules({concat("q_proj", "o_proj").into("qo")})), sw::checkpoint_error,
                       says("do not fit together"));
  const auto mine = joined(s, 0, rules({concat("q_proj", "k_proj", "v_proj").into("qkv_proj")}));
  float value = 0;
  const std::size_t before = file.bytes_read();
  CHECK_THROWS_MATCHES(
      sw::load(s, 0, file, mine.weights([&](std::size_t) { return tensor_view(&value, dtype::f32, {1}); })),
      sw::checkpoint_error, says("has the shape [1], and must be ["));
  // Pieces of other sizes than those that were joined would be written beyond their places.
  const sw::sharding other = sw::shard(plan_of("llama"), sw::tree_of(file), {.tp = 1});
  CHECK_THROWS_MATCHES(
      sw::load(other, 0, file, mine.weights([&](std::size_t) { return tensor_view(&value, dtype::f32, {1}); })),
      sw::checkpoint_error, says("is none of those that were joined: give load the sharding and the rank"));
  CHECK(file.bytes_read() == before);
  CHECK(mine.find("model.layers.0.self_attn.qkv_proj.weight") != mine.npos);
  CHECK(mine.find("model.layers.0.self_attn.q_proj.weight") == mine.npos);
}
