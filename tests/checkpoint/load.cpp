// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/load.hpp"

#include <openssl/sha.h>
#include <simdjson.h>

#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/checkpoint/tree_of.hpp"
#include "shardwise/models/families.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;

/// An engine's own tensor type.
struct matrix {
  std::vector<float> values;
  std::size_t rows = 0, columns = 0;
};
template <>
struct shardwise::tensor_traits<matrix> {
  static tensor_view view(matrix& m) { return {m.values.data(), dtype::f32, {m.rows, m.columns}}; }
};

namespace {

std::string sha256(const void* data, std::size_t bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(static_cast<const unsigned char*>(data), bytes, digest);
  std::string text;
  for (unsigned char c : digest) {
    text += "0123456789abcdef"[c >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

/// An engine's tensors: one dense buffer for each parameter, filled with a mark.
class tensors {
 public:
  explicit tensors(dtype type = dtype::f32, unsigned char mark = 0xee) : type_(type), mark_(mark) {}
  tensor_view operator()(const sw::sharded_parameter& p, const tensor_shape& local) {
    auto& bytes = all[std::string(p.name)];
    if (bytes.empty()) bytes.assign(local.elements() * sw::size_of(type_), static_cast<std::byte>(mark_));
    return {bytes.data(), type_, local};
  }
  std::vector<float> floats(const std::string& name) const {
    const auto& bytes = all.at(name);
    std::vector<float> values(bytes.size() / sizeof(float));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::map<std::string, std::vector<std::byte>> all;

 private:
  dtype type_;
  unsigned char mark_;
};

constexpr auto small_plan =
    sw::plan({{"a", sw::colwise}, {"b", sw::rowwise}, {"packed", sw::packed_colwise<2>}, {"norm", sw::replicate}});

/// A model of four parameters whose elements count on from `first`.
struct small_model {
  explicit small_model(float first = 0) {
    for (auto& [name, values] : memory) {
      for (float& v : values) v = first++;
    }
    for (auto& [name, values] : memory) {
      const tensor_shape shape = shape_of(name);
      source.add(name, tensor_view(values.data(), dtype::f32, shape));
      tree.add(name, dtype::f32, shape);
    }
  }
  static tensor_shape shape_of(const std::string& name) {
    if (name == "a.weight") return {4, 3};
    if (name == "b.weight") return {3, 4};
    if (name == "packed.weight") return {8, 2};
    return {3};
  }
  sw::sharding cut(int tp, std::string_view only = "") const {
    return sw::shard(small_plan, tree, {.tp = tp, .only = only});
  }

  std::map<std::string, std::vector<float>> memory = {{"a.weight", std::vector<float>(12)},
                                                      {"b.weight", std::vector<float>(12)},
                                                      {"norm.weight", std::vector<float>(3)},
                                                      {"packed.weight", std::vector<float>(16)}};
  sw::memory_source source;
  sw::tree tree;
};

using floats = std::vector<float>;

/// That `load` throws a sentence with `text`, and that neither tensor nor source was touched.
template <class Source>
void fails(const sw::sharding& s, int rank, const Source& source, const sw::load_options& options,
           const std::string& text) {
  tensors engine;
  const auto whole_list = [&](const sw::sharded_parameter& p, const tensor_shape& local) { return engine(p, local); };
  const std::size_t before = source.bytes_read();
  CHECK_THROWS_MATCHES(sw::load(s, rank, source, whole_list, options), sw::checkpoint_error, says(text));
  CHECK(source.bytes_read() == before);
  for (const auto& [name, bytes] : engine.all) {
    INFO(name);
    CHECK((bytes == std::vector<std::byte>(bytes.size(), std::byte{0xee})));
  }
}

}  // namespace

TEST_CASE("every rank's tensors of every golden are Hugging Face's, byte for byte, and no other byte is read") {
  std::vector<std::string> names = golden_names;
  names.push_back("../goldens_in_part/deepseek_v3");  // one layer of each kind (goldens_in_part/reduce.py)
  int by_experts = 0;
  for (const std::string& name : names) {
    for (const std::string ranks : {"tp1", "tp2", "tp4", "ep2"}) {
      const std::string hashes = (golden(name) / (ranks + ".json")).string();
      if (ranks == "ep2" && !std::filesystem::exists(hashes)) continue;
      by_experts += ranks == "ep2";
      const int tp = ranks.back() - '0';
      const auto file = sw::checkpoint::open(golden(name));
      const auto model = sw::checkpoint::converted(file);
      const sw::sharding s = sw::shard(plan_of(name, ranks == "ep2"), sw::tree_of(model), {.tp = tp});
      simdjson::dom::parser parser;
      for (int rank = 0; rank < tp; ++rank) {
        INFO(name << " at " << ranks << ", rank " << rank);
        const std::size_t before = file.bytes_read();
        tensors engine;
        const sw::load_report report = sw::load(s, rank, model, engine);
        CHECK(report.tensors == s.size());
        CHECK(report.bytes_read == s.bytes(rank));
        CHECK(file.bytes_read() - before == s.bytes(rank));

        if (tp == 1) {
          for (const auto& [parameter, bytes] : engine.all) CHECK((bytes == whole(model, parameter)));
          continue;
        }
        const simdjson::dom::element expected = parser.load(hashes);
        std::size_t compared = 0;
        for (const auto field : simdjson::dom::object(expected["ranks"].at(static_cast<std::size_t>(rank)))) {
          const std::string parameter(field.key);
          INFO(parameter);
          REQUIRE(engine.all.count(parameter) == 1);
          const auto& bytes = engine.all.at(parameter);
          CHECK(sha256(bytes.data(), bytes.size()) == std::string_view(field.value["sha256"]));
          ++compared;
        }
        CHECK(compared == s.size());
      }
    }
  }
  CHECK(by_experts == 6);
}

TEST_CASE("each rank gets its rows, columns and groups, and the same as ever when it loads again") {
  small_model model;
  const sw::sharding s = model.cut(2);
  std::map<int, tensors> ranks;
  for (int rank : {0, 1}) {
    const sw::load_report report = sw::load(s, rank, model.source, ranks[rank]);
    CHECK(report.tensors == 4);
    CHECK(report.bytes_read == 4 * (6 + 6 + 3 + 8));
  }
  CHECK(model.source.bytes_read() == 2 * 4 * (6 + 6 + 3 + 8));
  CHECK(ranks[0].floats("a.weight") == floats{0, 1, 2, 3, 4, 5});
  CHECK(ranks[1].floats("a.weight") == floats{6, 7, 8, 9, 10, 11});
  CHECK(ranks[0].floats("b.weight") == floats{12, 13, 16, 17, 20, 21});
  CHECK(ranks[1].floats("b.weight") == floats{14, 15, 18, 19, 22, 23});
  CHECK(ranks[1].floats("norm.weight") == floats{24, 25, 26});
  CHECK(ranks[0].floats("packed.weight") == floats{27, 28, 29, 30, 35, 36, 37, 38});
  CHECK(ranks[1].floats("packed.weight") == floats{31, 32, 33, 34, 39, 40, 41, 42});

  // Hot reload: other weights of the same model into the same live tensors.
  const small_model trained(100);
  const auto memory = ranks[1].all.at("packed.weight").data();
  sw::load(s, 1, trained.source, ranks[1]);
  CHECK(ranks[1].all.at("packed.weight").data() == memory);
  CHECK(ranks[1].floats("packed.weight") == floats{131, 132, 133, 134, 139, 140, 141, 142});
  CHECK(ranks[0].floats("packed.weight") == floats{27, 28, 29, 30, 35, 36, 37, 38});
}

TEST_CASE("weights are cast to the engine's type, and reach strided tensors") {
  const small_model model;
  const sw::sharding s = model.cut(2);
  tensors half(dtype::bf16);
  CHECK(sw::load(s, 1, model.source, half).bytes_read == 4 * (6 + 6 + 3 + 8));
  const std::uint16_t expected[] = {0x40c0, 0x40e0, 0x4100, 0x4110, 0x4120, 0x4130};  // 6 to 11
  REQUIRE(half.all.at("a.weight").size() == sizeof expected);
  CHECK(std::memcmp(half.all.at("a.weight").data(), expected, sizeof expected) == 0);

  // Column-major tensors, as Eigen's are.
  std::map<std::string, floats> memory;
  sw::load(s, 1, model.source, [&](const sw::sharded_parameter& p, const tensor_shape& local) {
    memory[std::string(p.name)].assign(local.elements(), -1.0f);
    tensor_view v(memory[std::string(p.name)].data(), dtype::f32, local);
    if (local.dims() == 2) {
      v.strides[0] = 1;
      v.strides[1] = local[0];
    }
    return v;
  });
  CHECK(memory["b.weight"] == floats{14, 18, 22, 15, 19, 23});
  CHECK(memory["packed.weight"] == floats{31, 33, 39, 41, 32, 34, 40, 42});
}

TEST_CASE("an engine's own tensor type is filled through its traits") {
  const small_model model;
  const sw::sharding s = model.cut(2, "a.weight");
  matrix a{floats(6), 2, 3};
  sw::load(s, 1, model.source, [&](const sw::sharded_parameter&, const tensor_shape&) -> matrix& { return a; });
  CHECK(a.values == floats{6, 7, 8, 9, 10, 11});
}

TEST_CASE("what is missing and what is left over is named in one sentence, and nothing is loaded") {
  const small_model model;
  const sw::sharding s = model.cut(2);
  sw::memory_source other;
  float value = 0;
  for (int i = 0; i < 10; ++i) other.add("extra." + std::to_string(i), tensor_view(&value, dtype::f32, {1}));
  for (const auto& [name, values] : model.memory) {
    if (name == "a.weight" || name == "norm.weight") continue;
    other.add(name, tensor_view(const_cast<float*>(values.data()), dtype::f32, small_model::shape_of(name)));
  }
  fails(s, 0, other, {},
        "the checkpoint does not have 'a.weight', 'norm.weight', and the model does not have 'extra.0', 'extra.1', "
        "'extra.2', 'extra.3', 'extra.4', 'extra.5', 'extra.6', 'extra.7' and 2 more of the checkpoint; nothing was "
        "loaded: what is meant can be allowed with allow_missing and allow_left_over");
  fails(s, 0, other, {.allow_missing = {"a.*", "norm.*"}}, "the model does not have 'extra.0'");
  fails(s, 0, other, {.allow_left_over = {"extra.**"}},
        "the checkpoint does not have 'a.weight', 'norm.weight'; nothing");
  fails(s, 0, other, {.allow_missing = {"a.weight"}, .allow_left_over = {"extra.**"}},
        "the checkpoint does not have 'norm.weight'; nothing");
  fails(s, 0, other, {.allow_missing = {"*"}, .allow_left_over = {"extra"}}, "'a.weight'");

  tensors engine;
  const auto report =
      sw::load(s, 0, other, engine, {.allow_missing = {"{a,norm}.weight"}, .allow_left_over = {"extra.*"}});
  CHECK(report.tensors == 2);
  CHECK(engine.all.size() == 2);
  CHECK(engine.floats("b.weight") == floats{12, 13, 16, 17, 20, 21});
  CHECK_THROWS_AS(sw::load(s, 0, other, engine, {.allow_missing = {"a..b"}}), sw::plan_error);
}

TEST_CASE("a pipeline stage takes its part, and what other stages have is not left over") {
  small_model model;
  const sw::sharding s = model.cut(2, "a.weight norm.*");
  tensors engine;
  CHECK(sw::load(s, 0, model.source, engine).tensors == 2);
  CHECK(engine.all.size() == 2);
  CHECK(model.source.bytes_read() == 4 * (6 + 3));
  float value = 0;
  model.source.add("norm.extra", tensor_view(&value, dtype::f32, {1}));
  fails(s, 0, model.source, {}, "the model does not have 'norm.extra' of the checkpoint");
}

TEST_CASE("a tensor of another shape than the model's is refused") {
  const small_model model;
  sw::tree bigger;
  bigger.add("a.weight", dtype::f32, {6, 3});
  const sw::sharding s = sw::shard(sw::plan({{"a", sw::colwise}}), bigger, {.tp = 2});
  fails(s, 0, model.source, {.allow_left_over = {"**"}},
        "'a.weight' has the shape [4, 3] in the checkpoint, and the model says [6, 3]");
}

TEST_CASE("the engine's tensors are all checked before the first is written") {
  const small_model model;
  const sw::sharding s = model.cut(2);
  // Whatever is wrong with the last parameter, the others stay as they were.
  const auto with_last = [&](const tensor_view& last, const sw::load_options& options, const std::string& text) {
    tensors engine;
    const auto weights = [&](const sw::sharded_parameter& p, const tensor_shape& local) {
      return &p == s.end() - 1 ? last : engine(p, local);
    };
    const std::size_t before = model.source.bytes_read();
    CHECK_THROWS_MATCHES(sw::load(s, 1, model.source, weights, options), sw::checkpoint_error, says(text));
    CHECK(model.source.bytes_read() == before);
    CHECK(engine.all.size() == 3);
    for (const auto& [name, bytes] : engine.all) {
      CHECK((bytes == std::vector<std::byte>(bytes.size(), std::byte{0xee})));
    }
  };
  REQUIRE(s[s.size() - 1].name == "packed.weight");
  floats memory(16);
  with_last({memory.data(), dtype::f32, {8, 2}}, {},
            "the engine's tensor for 'packed.weight' has the shape [8, 2], and rank 1 of 2 owns [4, 2] of [8, 2]");
  with_last({memory.data(), dtype::f32, {2, 4}}, {}, "has the shape [2, 4]");
  with_last({memory.data(), dtype::i32, {4, 2}}, {}, "'packed.weight' is F32 in the checkpoint and I32 in the engine");
  with_last({}, {}, "the engine gave no memory for 'packed.weight', [4, 2] on rank 1");
  with_last({}, {.allow_unwanted = {"packed"}}, "the engine gave no memory for 'packed.weight'");

  tensors engine;
  const auto without_last = [&](const sw::sharded_parameter& p, const tensor_shape& local) {
    return p.name == "packed.weight" ? tensor_view() : engine(p, local);
  };
  CHECK(sw::load(s, 1, model.source, without_last, {.allow_unwanted = {"packed.*"}}).tensors == 3);
  CHECK(engine.floats("a.weight") == floats{6, 7, 8, 9, 10, 11});

  fails(s, 2, model.source, {}, "rank 2 was to load of a sharding over 2 ranks");
  fails(s, -1, model.source, {}, "rank -1");
}

TEST_CASE("ranks that hold less than others, or nothing, load what they hold") {
  sw::imported_plan plan;
  plan.add("a", "colwise").add("b", "rowwise");
  floats a = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, b = {0, 1, 2, 3, 4};
  sw::memory_source source;
  source.add("a.weight", {a.data(), dtype::f32, {5, 2}}).add("b.weight", {b.data(), dtype::f32, {1, 5}});
  sw::tree tree;
  tree.add("a.weight", dtype::f32, {5, 2}).add("b.weight", dtype::f32, {1, 5});
  const sw::sharding s = sw::shard(plan, tree, {.tp = 4});
  const floats expected_a[] = {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}, {}}, expected_b[] = {{0, 1}, {2, 3}, {4}, {}};
  for (int rank = 0; rank < 4; ++rank) {
    tensors engine;
    CHECK(sw::load(s, rank, source, engine).bytes_read == s.bytes(rank));
    CHECK(engine.floats("a.weight") == expected_a[rank]);
    CHECK(engine.floats("b.weight") == expected_b[rank]);
  }
  // Who holds nothing needs no memory.
  const auto none = [](const sw::sharded_parameter&, const tensor_shape& local) {
    return tensor_view(nullptr, dtype::f32, local);
  };
  CHECK_NOTHROW(sw::load(s, 3, source, none));
}

TEST_CASE("a tied parameter is loaded once, under whichever of its names the checkpoint has it") {
  floats values = {1, 2, 3, 4};
  const tensor_view view(values.data(), dtype::f32, {4, 1});
  sw::tree tree;
  tree.add("embed.weight", dtype::f32, {4, 1}).tie("embed.weight", "head.weight");
  const sw::sharding s =
      sw::shard(sw::plan({{"embed", sw::embedding_rowwise}, {"head", sw::colwise_gather_output}}), tree, {.tp = 2});
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{"embed.weight"}, {"head.weight"}, {"head.weight", "embed.weight"}}) {
    sw::memory_source source;
    for (const std::string& name : names) source.add(name, view);
    tensors engine;
    CHECK(sw::load(s, 1, source, engine).tensors == 1);
    CHECK(engine.floats("embed.weight") == floats{3, 4});
  }
  sw::memory_source none;
  fails(s, 1, none, {}, "the checkpoint does not have 'embed.weight'");
}

TEST_CASE("a stage that has only the tied name loads it from the name that the checkpoint has") {
  std::vector<float> embedding{0, 1, 2, 3, 4, 5, 6, 7};
  sw::memory_source source;
  source.add("model.embed.weight", tensor_view(embedding.data(), dtype::f32, {4, 2}));
  sw::tree tree;
  tree.add("model.embed.weight", dtype::f32, {4, 2}).tie("model.embed.weight", "lm_head.weight");
  constexpr auto plan = sw::plan({{"model.embed", sw::embedding_rowwise}, {"lm_head", sw::colwise_gather_output}});
  const sw::sharding last = sw::shard(plan, tree, {.tp = 2, .only = "lm_head.**"});
  std::vector<float> head(4, -1.f);
  const auto report = sw::load(last, 1, source, [&](const sw::sharded_parameter& p, const tensor_shape& local) {
    CHECK(p.name == "lm_head.weight");
    return tensor_view(head.data(), dtype::f32, local);
  });
  CHECK(head == std::vector<float>{4, 5, 6, 7});
  CHECK(report.bytes_read == 16);
}

TEST_CASE("progress is told after each tensor, and ends with all") {
  const small_model model;
  std::vector<std::pair<std::size_t, std::size_t>> told;
  sw::load_options options;
  options.progress = [&](std::size_t done, std::size_t total) { told.emplace_back(done, total); };
  tensors engine;
  sw::load(model.cut(2), 0, model.source, engine, options);
  CHECK(told == std::vector<std::pair<std::size_t, std::size_t>>{{24, 92}, {48, 92}, {60, 92}, {92, 92}});
}

TEST_CASE("ranks may load from one source at once") {
  const auto file = sw::checkpoint::open(golden("qwen3_5_moe"));
  const auto model = sw::checkpoint::converted(file);
  const sw::sharding s =
      sw::shard(sw::models::auto_plan("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text"), sw::tree_of(model), {.tp = 4});
  std::vector<tensors> together(4), alone(4);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank) {
    threads.emplace_back([&, rank] { sw::load(s, rank, model, together[static_cast<std::size_t>(rank)]); });
  }
  for (std::thread& t : threads) t.join();
  std::size_t owned = 0;
  for (int rank = 0; rank < 4; ++rank) owned += s.bytes(rank);
  CHECK(file.bytes_read() == owned);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    sw::load(s, static_cast<int>(rank), model, alone[rank]);
    CHECK((together[rank].all == alone[rank].all));
  }
}
