// SPDX-License-Identifier: Apache-2.0
// Nothing that `shard` refuses is fine by the audit: on models and plans put together at random.
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/audit/audit.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

TEST_CASE("whatever shard refuses is an error of the audit, which itself throws nothing", "[audit]") {
  const std::vector<std::string> modules = {"self_attn", "mlp",    "experts", "visual",       "0",       "lm_head",
                                            "q_proj",    "k_proj", "q_norm",  "gate_up_proj", "up_proj", "down_proj",
                                            "gate",      "norm",   "conv1d",  "embed_tokens", "fc1",     "fc2"};
  const std::vector<std::string> leaves = {
      "weight", "bias", "scales", "sinks", "gate_up_proj", "down_proj", "gate_up_proj_bias", "weight_scale_inv"};
  const std::vector<std::string> fields = {"num_attention_heads", "num_key_value_heads", "head_dim", "num_experts"};
  const std::vector<std::size_t> extents = {0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 64};
  std::mt19937 random(5);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto one_of = [&](const std::vector<std::string>& words) { return words[below(words.size())]; };
  const auto name = [&] {
    std::string s;
    for (std::size_t i = below(4); i > 0; --i) s += one_of(modules) + ".";
    return s + one_of(leaves);
  };

  std::size_t refused = 0, taken = 0;
  for (int round = 0; round < 4000; ++round) {
    sw::tree model;
    std::vector<std::string> names;
    for (std::size_t i = below(8); i > 0; --i) {
      sw::tensor_shape shape;
      for (std::size_t d = below(4); d > 0; --d) shape.push(extents[below(extents.size())]);
      const std::string n = name();
      if (model.find(n) != sw::tree::npos) continue;
      model.add(n, sw::dtype::bf16, shape);
      names.push_back(n);
    }
    if (const std::string alias = name(); !names.empty() && below(3) == 0 && model.find(alias) == sw::tree::npos) {
      model.tie(one_of(names), alias);
    }
    for (const std::string& f : fields) model.config("", f, static_cast<std::int64_t>(below(9)) - 1);
    std::deque<std::string> texts;
    std::vector<sw::rule> rules;
    for (std::size_t i = below(8); i > 0; --i) {
      texts.push_back(names.empty() || below(5) == 0 ? name() : one_of(names));
      if (below(2) == 0) texts.back() = texts.back().substr(0, texts.back().rfind('.'));
      sw::style how;
      how.kind = static_cast<sw::style_kind>(below(std::size(sw::style_table)));
      const bool packs = how.kind == sw::style_kind::colwise || how.kind == sw::style_kind::rowwise;
      if (packs) how = how.groups(static_cast<int>(1 + below(3)));
      const bool cuts = how.facts().cut != sw::cut_of::whole && how.has_parameter_half();
      if (cuts && below(4) == 0) how = how.units(fields[below(2)].c_str());
      const sw::rule r(texts.back(), how, below(2) == 0 ? sw::dialect::hugging_face : sw::dialect::shardwise);
      bool known = false;
      for (const sw::rule& other : rules) known |= other.same_pattern(r);
      if (!known) rules.push_back(r);
    }
    const sw::plan_view plan(rules.data(), rules.size());
    const int tp = static_cast<int>(1 + below(6));
    const sw::audit_report report = sw::audit(plan, model, tp);
    try {
      (void)sw::shard(plan, model, {.tp = tp});
      ++taken;
    } catch (const sw::error& e) {
      ++refused;
      INFO(e.what() << "\n" << text_of(report));
      CHECK(report.count(sw::severity::error) > 0);
    }
  }
  CHECK(refused > 1000);
  CHECK(taken > 300);
}
