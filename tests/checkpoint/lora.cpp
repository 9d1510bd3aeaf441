// SPDX-License-Identifier: Apache-2.0
// An adapter's file, cut beside its base: the merged weights' outputs, with the base's own collective and no other.
#include "shardwise/plan/lora.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "run/support.hpp"
#include "shardwise/checkpoint/load.hpp"
#include "shardwise/checkpoint/safetensors.hpp"
#include "shardwise/checkpoint/write_safetensors.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/tally.hpp"
#include "shardwise/run.hpp"
#include "support.hpp"

namespace {

namespace sw = shardwise;
using support::tensor;

// 6 query heads over up to 4 ranks, uneven, with copies of 2 key/value heads; packed and uneven features; 11 words.
constexpr auto base = sw::plan({
    {"q_proj", sw::style(sw::colwise).units("heads").reading("kv_heads").uneven()},
    {"k_proj", sw::style(sw::colwise).units("kv_heads").read_by("heads").uneven()},
    {"o_proj", sw::style(sw::rowwise).units("heads").reading("kv_heads").uneven()},
    {"gate_up_proj", sw::packed_colwise<2>.uneven()},
    {"down_proj", sw::rowwise.uneven()},
    {"split", sw::rowwise_split_input.uneven()},
    {"router", sw::replicate("all scores")},
    {"lm_head", sw::colwise_gather_output.uneven()},
});
constexpr std::size_t rank_of_lora = 3, tokens = 2;
constexpr float scale = 2;
constexpr std::string_view prefix = "base_model.model.";

struct module_shape {
  std::string name;
  std::size_t out, in;
};
const std::vector<module_shape> modules = {{"q_proj", 12, 8}, {"k_proj", 4, 8},     {"o_proj", 8, 12},
                                           {"split", 8, 12},  {"down_proj", 8, 10}, {"gate_up_proj", 20, 8},
                                           {"router", 5, 8},  {"lm_head", 11, 8}};

sw::tree with_config(sw::tree t) {
  t.config("", "heads", 6);
  t.config("", "kv_heads", 2);
  return t;
}

tensor scaled(tensor t) {
  for (float& f : t.data) f *= scale;
  return t;
}
// W + scale B A.
tensor merged(const tensor& w, const tensor& a, const tensor& b) {
  tensor by_column({a.columns(), a.rows()});
  for (std::size_t r = 0; r < a.rows(); ++r) {
    for (std::size_t c = 0; c < a.columns(); ++c) by_column.at(c, r) = a.at(r, c);
  }
  return w + scaled(support::times(b, by_column));
}

struct outcome {
  tensor y;
  sw::placement where;
  sw::tally counts;
};

// W x + scale B (A x) of one module on one rank, by the base's step alone.
template <class C>
outcome forward(C& group, const sw::step& step, const sw::sharded_parameter& w, const tensor& local_w,
                const sw::sharded_parameter& a, const tensor& local_a, const sw::sharded_parameter& b,
                const tensor& local_b, const tensor& x) {
  outcome o;
  sw::counted comm(group, o.counts);
  const bool cut = step.input() == sw::placement(sw::sharded<-1>{});
  auto in = cut ? sw::assume_placed(step.input(), support::columns_of(x, step.pieces(group.rank())))
                : sw::assume_placed(sw::placement(sw::replicated{}), x);
  in = sw::input(step, comm, in);
  const auto product = [](const auto& of, const sw::sharded_parameter& p, const tensor& weight) {
    return sw::assume_placed(sw::product(of.where(), p), support::times(of.local(), weight));
  };
  auto added = product(product(in, a, local_a), b, local_b);
  added.local() = scaled(added.local());
  const auto y = sw::run(step, comm, {}, product(in, w, local_w) + added);
  o.y = y.local();
  o.where = y.where();
  return o;
}

}  // namespace

TEST_CASE("a LoRA from its file beside each kind of cut weight is the merged weight, reduced once", "[checkpoint]") {
  std::map<std::string, tensor> base_weights, lora;
  sw::tree base_tree;
  std::vector<sw::checkpoint::named_tensor> written;
  for (const module_shape& m : modules) {
    const auto seed = static_cast<unsigned>(base_weights.size());
    base_weights[m.name] = support::numbers({m.out, m.in}, 3 * seed);
    lora[m.name + ".lora_A.weight"] = support::numbers({rank_of_lora, m.in}, 3 * seed + 1);
    lora[m.name + ".lora_B.weight"] = support::numbers({m.out, rank_of_lora}, 3 * seed + 2);
    base_tree.add(m.name + ".weight", sw::dtype::f32, {m.out, m.in});
  }
  std::map<std::string, const tensor*> by_file_name;
  for (const auto& [name, t] : lora) by_file_name[std::string(prefix) + name] = &t;
  for (const auto& [name, t] : by_file_name) written.push_back({name, t->view()});
  const support::temporary_folder folder;
  sw::checkpoint::write_safetensors(folder / "adapter_model.safetensors", written);
  const auto file = sw::checkpoint::safetensors_file::open(folder / "adapter_model.safetensors");
  sw::tree lora_tree;
  for (std::size_t i = 0; i < file.size(); ++i) {
    lora_tree.add(file.info(i).name, file.info(i).type, file.info(i).shape);
  }
  base_tree = with_config(std::move(base_tree));
  lora_tree = with_config(std::move(lora_tree));

  for (const int tp : {1, 2, 3, 4}) {
    const sw::sharding of_base = sw::shard(base, base_tree, {.tp = tp});
    const sw::sharding of_lora = sw::shard(sw::lora_of(base).under("base_model.model"), lora_tree, {.tp = tp});
    // Each rank reads its own part of the file.
    std::vector<std::map<std::string, tensor>> loaded(static_cast<std::size_t>(tp));
    for (int rank = 0; rank < tp; ++rank) {
      auto& mine = loaded[static_cast<std::size_t>(rank)];
      sw::load(of_lora, rank, file, [&](const sw::sharded_parameter& p, const sw::tensor_shape& local) {
        return mine.try_emplace(std::string(p.name), local).first->second.view();
      });
    }
    for (const module_shape& m : modules) {
      INFO(m.name << ", tp " << tp);
      const std::string name = m.name + ".weight", in_file = std::string(prefix) + m.name;
      const tensor& w = base_weights.at(m.name);
      const tensor whole = merged(w, lora.at(m.name + ".lora_A.weight"), lora.at(m.name + ".lora_B.weight"));
      const tensor x = support::numbers({tokens, m.in}, 77);
      const sw::step step = of_base.step(m.name);
      const auto parameter = [&](const char* which) -> const sw::sharded_parameter& {
        return of_lora[of_lora.find(in_file + which)];
      };
      const auto outcomes = sw::in_process(tp, [&](sw::in_process_communicator& comm) {
        const auto& mine = loaded[static_cast<std::size_t>(comm.rank())];
        return forward(comm, step, of_base[of_base.find(name)], support::local_of(of_base, name, comm.rank(), w),
                       parameter(".lora_A.weight"), mine.at(in_file + ".lora_A.weight"), parameter(".lora_B.weight"),
                       mine.at(in_file + ".lora_B.weight"), x);
      });
      for (int rank = 0; rank < tp; ++rank) {
        const outcome& o = outcomes[static_cast<std::size_t>(rank)];
        CHECK(o.where == step.output());
        if (step.output() == sw::placement(sw::replicated{})) {
          CHECK(o.y == support::times(x, whole));
        } else {
          CHECK(o.y == support::times(x, support::local_of(of_base, name, rank, whole)));
        }
        const bool reduces = step.then() == sw::collective::all_reduce;
        const bool gathers = step.then() == sw::collective::gather_last_dim;
        CHECK(o.counts[sw::operation::all_reduce].calls == (reduces ? 1u : 0u));
        CHECK(o.counts.total().calls == (reduces || gathers ? 1u : 0u));
      }
    }
  }
}
