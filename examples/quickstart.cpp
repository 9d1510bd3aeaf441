// SPDX-License-Identifier: Apache-2.0
// A described model, its plan, the check that the plan has no hole, and four ranks that give the unsharded logits.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "shardwise/shardwise.hpp"
namespace sw = shardwise;

namespace engine {  // ---- what an engine has: a tensor, a product, a model
struct tensor {
  std::vector<float> data;
  sw::tensor_shape shape;
  explicit tensor(sw::tensor_shape s = {}) : data(s.elements()), shape(s) {}
};
tensor times(const tensor& x, const tensor& w) {  // [n, in] x [out, in] -> [n, out]
  tensor y({x.shape[0], w.shape[0]});
  for (std::size_t n = 0; n < x.shape[0]; ++n)
    for (std::size_t o = 0; o < w.shape[0]; ++o)
      for (std::size_t i = 0; i < w.shape[1]; ++i)
        y.data[n * w.shape[0] + o] += x.data[n * w.shape[1] + i] * w.data[o * w.shape[1] + i];
  return y;
}
tensor silu(tensor x) {
  for (float& v : x.data) v /= 1 + std::exp(-v);
  return x;
}
tensor operator+(tensor a, const tensor& b) {
  for (std::size_t i = 0; i < a.data.size(); ++i) a.data[i] += b.data[i];
  return a;
}
struct linear {
  tensor weight;
  SHARDWISE_MEMBERS(linear, weight)
};
struct layer {
  linear up_proj, down_proj;
  SHARDWISE_MEMBERS(layer, up_proj, down_proj)
};
struct model {
  std::vector<layer> layers;
  linear lm_head;
  SHARDWISE_MEMBERS(model, layers, lm_head)
};
}  // namespace engine

// ---- said once: what a parameter is, and how it is seen
template <>
inline constexpr bool sw::is_parameter<engine::tensor> = true;
template <>
struct sw::tensor_traits<engine::tensor> {
  static tensor_view view(engine::tensor& t) { return {t.data.data(), dtype::f32, t.shape}; }
  static engine::tensor empty_like(const engine::tensor&, const tensor_shape& s) { return engine::tensor(s); }
};

// ---- the plan. Take the last row out, and this file does not compile
inline constexpr auto plan = sw::plan({
    {"layers.*.up_proj", sw::colwise},
    {"layers.*.down_proj", sw::rowwise},
    {"lm_head", sw::colwise_gather_output},
});
static_assert(sw::covers<engine::model, plan>);

// ---- the forward pass: the same for one rank and for many
template <sw::communicator Comm>
engine::tensor logits_of(engine::model& m, Comm& comm, const engine::tensor& input) {
  const auto by = [](const engine::linear& l) { return [&](const engine::tensor& x) { return times(x, l.weight); }; };
  auto x = sw::assume_placed<sw::replicated>(input);
  for (engine::layer& l : m.layers) {
    auto h = sw::elementwise(engine::silu, sw::run<sw::colwise>(comm, {}, x, by(l.up_proj)));
    x = x + sw::run<sw::rowwise>(comm, {}, h, by(l.down_proj));
  }
  return sw::run<sw::colwise_gather_output>(comm, {}, x, by(m.lm_head)).local();
}

int main() {
  constexpr std::size_t hidden = 16, inner = 48, vocabulary = 100;
  engine::model whole{{2, {{engine::tensor({inner, hidden})}, {engine::tensor({hidden, inner})}}},
                      {engine::tensor({vocabulary, hidden})}};
  int seed = 0;
  const auto fill = [&](engine::tensor& t) {
    for (float& v : t.data) v = std::sin(static_cast<float>(++seed));
  };
  sw::visit_parameters(whole, [&](std::string_view, engine::tensor& t) { fill(t); });
  engine::tensor prompt({3, hidden});
  fill(prompt);

  const auto run_on = [&](int ranks) {
    const sw::sharding sharding = sw::shard(plan, sw::tree_of(whole), {.tp = ranks});
    fmt::print("{} rank(s): {} bytes of weights on each\n", ranks, sharding.bytes(0));
    return sw::in_process(ranks, [&](auto& comm) {
      engine::model mine = whole;  // a real engine loads its slices from files: see sw::load
      sw::visit_parameters(mine, [&](std::string_view name, engine::tensor& t) {
        const std::size_t i = sharding.find(name);
        engine::tensor local(sharding.local_shape(i, comm.rank()));
        sw::shard_tensor(sharding, i, comm.rank(), sw::tensor_traits<engine::tensor>::view(t),
                         sw::tensor_traits<engine::tensor>::view(local));
        t = local;
      });
      return logits_of(mine, comm, prompt);
    })[0];
  };

  const engine::tensor expected = run_on(1), sharded = run_on(4);
  float largest = 0;
  for (std::size_t i = 0; i < expected.data.size(); ++i)
    largest = std::max(largest, std::abs(expected.data[i] - sharded.data[i]));
  fmt::print("{} x {} logits, largest difference {}\n", sharded.shape[0], sharded.shape[1], largest);
  return largest < 1e-3f ? 0 : 1;
}
