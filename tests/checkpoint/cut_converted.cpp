// SPDX-License-Identifier: Apache-2.0
// Cuts of parameters that lie in another layout in the file, which Hugging Face 5.23.0 cuts wrongly: it cuts the file's
// tensor and converts the piece. Here the cut is of the parameter, and its boxes are looked up in the file.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/load.hpp"
#include "shardwise/checkpoint/tree_of.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;

namespace {

/// A checkpoint in memory; an element's value is what `element` says of its place.
class checkpoint_of {
 public:
  explicit checkpoint_of(std::string config) : config_(std::move(config)) {}
  template <class F>
  checkpoint_of& add(const std::string& name, const tensor_shape& shape, F&& element) {
    std::vector<float>& values = memory_[name];
    for_each_index(shape, [&](const std::vector<std::size_t>& k) { values.push_back(element(k)); });
    tensors_.add(name, tensor_view(values.data(), dtype::f32, shape));
    return *this;
  }
  with_config source() const { return {tensors_, sw::checkpoint::config::parse(config_)}; }

 private:
  std::string config_;
  std::map<std::string, std::vector<float>> memory_;
  sw::memory_source tensors_;
};

using rows = std::vector<std::pair<const char*, const char*>>;

/// Every rank's local tensor of `name`, loaded from the file, at 2 and 4 ranks: its element at `k` is
/// `expected(rank, tp, k)`.
template <class F>
void check_cut(const checkpoint_of& c, const rows& plan_rows, const std::string& name, F&& expected) {
  const with_config file = c.source();
  const auto model = sw::checkpoint::converted(file);
  sw::imported_plan plan;
  for (const auto& [pattern, style] : plan_rows) plan.add(pattern, style);
  for (int tp : {2, 4}) {
    const sw::sharding s = sw::shard(plan, sw::tree_of(model), {.tp = tp});
    for (int rank = 0; rank < tp; ++rank) {
      INFO(name << " at tp " << tp << ", rank " << rank);
      std::map<std::string, std::pair<tensor_shape, std::vector<float>>> engine;
      const std::size_t before = file.tensors.bytes_read();
      sw::load(s, rank, model, [&](const sw::sharded_parameter& p, const tensor_shape& local) {
        auto& [shape, values] = engine[std::string(p.name)];
        shape = local;
        values.resize(local.elements());
        return tensor_view(values.data(), p.type, local);
      });
      CHECK(file.tensors.bytes_read() - before == s.bytes(rank));  // no whole in between
      REQUIRE(engine.count(name) == 1);
      const auto& [shape, values] = engine.at(name);
      bool equal = true;
      std::size_t i = 0;
      for_each_index(shape, [&, &local = values](const std::vector<std::size_t>& k) {
        equal &=
            local[i++] == static_cast<float>(expected(static_cast<std::size_t>(rank), static_cast<std::size_t>(tp), k));
      });
      CHECK(equal);
    }
  }
}

/// Of a packed parameter of two groups of `half` rows: which group local row `i` is of, and which row of it.
std::pair<std::size_t, std::size_t> packed_row(std::size_t rank, std::size_t tp, std::size_t half, std::size_t i) {
  const std::size_t mine = half / tp;
  return {i / mine, rank * mine + i % mine};
}

constexpr std::size_t experts = 3, wide = 8, hidden = 4;

}  // namespace

TEST_CASE("hrm_text: what is split of a fused tensor is cut as itself, not as the fused one") {
  checkpoint_of c(R"({"model_type":"hrm_text","architectures":["HrmTextForCausalLM"]})");
  const auto row = [](const std::vector<std::size_t>& k) { return static_cast<float>(10 * k[0] + k[1]); };
  const std::string layer = "model.L_module.layers.0.";
  c.add(layer + "mlp.gate_up_proj.weight", {2 * wide, hidden}, row);
  c.add(layer + "attn.gqkv_proj.weight", {4 * wide, hidden}, row);
  const rows plan = {{"model.L_module.layers.*.mlp.gate_proj", "colwise"},
                     {"model.L_module.layers.*.mlp.up_proj", "colwise"},
                     {"model.L_module.layers.*.self_attn.gate_proj", "colwise"},
                     {"model.L_module.layers.*.self_attn.q_proj", "colwise"},
                     {"model.L_module.layers.*.self_attn.k_proj", "colwise"},
                     {"model.L_module.layers.*.self_attn.v_proj", "colwise"}};
  const auto of = [&](std::size_t part) {
    return [part](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
      return 10 * (part * wide + rank * (wide / tp) + k[0]) + k[1];
    };
  };
  check_cut(c, plan, layer + "mlp.gate_proj.weight", of(0));
  check_cut(c, plan, layer + "mlp.up_proj.weight", of(1));
  check_cut(c, plan, layer + "self_attn.gate_proj.weight", of(0));
  check_cut(c, plan, layer + "self_attn.q_proj.weight", of(1));
  check_cut(c, plan, layer + "self_attn.v_proj.weight", of(3));
}

TEST_CASE("step3p7: gate and up that lie apart are each cut whole, not as if they were packed") {
  checkpoint_of c(R"({"model_type":"step3p7"})");
  const auto element = [](std::size_t kind) {
    return [kind](const std::vector<std::size_t>& k) {
      return static_cast<float>(1000 * kind + 100 * k[0] + 10 * k[1] + k[2]);
    };
  };
  c.add("model.layers.0.moe.gate_proj.weight", {experts, wide, hidden}, element(0));
  c.add("model.layers.0.moe.up_proj.weight", {experts, wide, hidden}, element(1));
  check_cut(c, {{"model.language_model.layers.*.mlp.experts.gate_up_proj", "packed_colwise"}},
            "model.language_model.layers.0.mlp.experts.gate_up_proj",
            [](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
              const auto [kind, row] = packed_row(rank, tp, wide, k[1]);
              return 1000 * kind + 100 * k[0] + 10 * row + k[2];
            });
}

TEST_CASE("qwen3_vl_moe: what the file has transposed is cut in the model's dims, and told by the hidden size") {
  const std::string config =
      R"({"model_type":"qwen3_vl_moe","architectures":["Qwen3VLMoeForConditionalGeneration"],"text_config":{"hidden_size":)";
  const std::string layer = "model.language_model.layers.0.mlp.experts.";
  const rows plan = {{"model.language_model.layers.*.mlp.experts.gate_up_proj", "packed_colwise"},
                     {"model.language_model.layers.*.mlp.experts.down_proj", "rowwise"}};
  const auto value = [](std::size_t e, std::size_t out, std::size_t in) { return 1000 * e + 20 * out + in; };
  const auto gate_up = [&](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
    const auto [kind, row] = packed_row(rank, tp, wide, k[1]);
    return value(k[0], kind * wide + row, k[2]);
  };
  const auto down = [&](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
    return value(k[0], k[1], rank * (wide / tp) + k[2]);
  };
  const auto stored = [&](const std::vector<std::size_t>& k) { return static_cast<float>(value(k[0], k[1], k[2])); };
  const auto turned = [&](const std::vector<std::size_t>& k) { return static_cast<float>(value(k[0], k[2], k[1])); };

  checkpoint_of hub(config + "4}}");
  hub.add(layer + "gate_up_proj", {experts, hidden, 2 * wide}, turned)
      .add(layer + "down_proj", {experts, wide, hidden}, turned);
  check_cut(hub, plan, layer + "gate_up_proj", gate_up);
  check_cut(hub, plan, layer + "down_proj", down);
  checkpoint_of saved(config + "4}}");  // in the model's layout: nothing is to be done
  saved.add(layer + "gate_up_proj", {experts, 2 * wide, hidden}, stored)
      .add(layer + "down_proj", {experts, hidden, wide}, stored);
  check_cut(saved, plan, layer + "gate_up_proj", gate_up);
  check_cut(saved, plan, layer + "down_proj", down);
  // Where both dims are equal, which Hugging Face takes for the model's layout, it is refused.
  checkpoint_of square(config + "16}}");
  square.add(layer + "gate_up_proj", {experts, 16, 16}, stored);
  CHECK_THROWS_MATCHES(sw::checkpoint::converted(square.source()), sw::checkpoint_error,
                       says("it cannot be told whether it is stored transposed"));
}

TEST_CASE("inkling2: gate and up that lie in turns are cut as the halves that they become") {
  checkpoint_of c(R"({"model_type":"inkling2_text","architectures":["Inkling2ForCausalLM"]})");
  c.add("model.llm.layers.0.mlp.experts.w13_weight", {experts, 2 * wide, hidden},
        [](const auto& k) { return static_cast<float>(1000 * (k[1] % 2) + 100 * k[0] + 10 * (k[1] / 2) + k[2]); });
  check_cut(c, {{"model.layers.*.mlp.experts.gate_up_proj", "packed_colwise"}},
            "model.layers.0.mlp.experts.gate_up_proj",
            [](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
              const auto [kind, row] = packed_row(rank, tp, wide, k[1]);
              return 1000 * kind + 100 * k[0] + 10 * row + k[2];
            });
}

TEST_CASE("ernie4_5_vl_moe: the first half of the experts are the text's, and routers are stored transposed") {
  checkpoint_of c(R"({"model_type":"ernie4_5_vl_moe","text_config":{"moe_num_experts":[2,2]}})");
  const std::string file = "model.layers.1.mlp.", layer = "model.language_model.layers.1.mlp.";
  for (std::size_t e = 0; e < 4; ++e) {
    const std::size_t inner = e < 2 ? wide : 4;  // the vision's are narrower
    const std::string expert = file + "experts." + std::to_string(e);
    for (std::size_t kind : {0U, 1U}) {
      c.add(expert + (kind == 0 ? ".gate_proj.weight" : ".up_proj.weight"), {inner, hidden},
            [&](const auto& k) { return static_cast<float>(1000 * kind + 100 * e + 10 * k[0] + k[1]); });
    }
    c.add(expert + ".down_proj.weight", {hidden, inner},
          [&](const auto& k) { return static_cast<float>(100 * e + 20 * k[0] + k[1]); });
  }
  c.add(file + "gate.weight", {hidden, 2}, [](const auto& k) { return static_cast<float>(10 * k[0] + k[1]); });
  const rows plan = {{"model.language_model.layers.*.mlp.text_moe.experts.gate_up_proj", "packed_colwise"},
                     {"model.language_model.layers.*.mlp.vision_moe.experts.gate_up_proj", "packed_colwise"},
                     {"model.language_model.layers.*.mlp.vision_moe.experts.down_proj", "rowwise"}};
  for (std::size_t which : {0U, 1U}) {
    const std::size_t inner = which == 0 ? wide : 4;
    check_cut(c, plan, layer + (which == 0 ? "text" : "vision") + "_moe.experts.gate_up_proj",
              [&](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
                const auto [kind, row] = packed_row(rank, tp, inner, k[1]);
                return 1000 * kind + 100 * (2 * which + k[0]) + 10 * row + k[2];
              });
  }
  check_cut(c, plan, layer + "vision_moe.experts.down_proj",
            [](std::size_t rank, std::size_t tp, const std::vector<std::size_t>& k) {
              return 100 * (2 + k[0]) + 20 * k[1] + rank * (4 / tp) + k[2];
            });
  check_cut(c, plan, layer + "text_moe.gate.weight",
            [](std::size_t, std::size_t, const std::vector<std::size_t>& k) { return 10 * k[1] + k[0]; });
}
