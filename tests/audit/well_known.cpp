// SPDX-License-Identifier: Apache-2.0
// Right plans of well-known models: there is nothing to say.
#include <string>

#include "catch.hpp"
#include "shardwise/models/families.hpp"
#include "shardwise/shard/shard.hpp"
#include "text_model.hpp"

namespace sw = shardwise;

namespace {
// What Hugging Face's own plan leaves whole, and is worth an error.
std::string hole_of(const std::string& model) {
  if (model == "gpt_oss_120b") return "model";
  if (model == "qwen3_5_35b_a3b") return "model.visual";
  if (model == "deepseek_v3") return "model.layers.*.self_attn";
  return "";
}
std::string said_when_unclean(const sw::audit_report& r) { return r.clean() ? "" : text_of(r); }
}  // namespace

TEST_CASE("Hugging Face's plans of well-known models are clean, or leave whole what they leave whole", "[audit]") {
  for (const std::string& name : well_known_names()) {
    const text_model m = well_known_model(name);
    const sw::imported_plan plan = m.plan.import();
    for (const int tp : m.sizes) {
      INFO(name << " at tp " << tp);
      const sw::audit_report r = audited(plan, m.tree, tp);
      if (tp == 1 || hole_of(name).empty()) {
        CHECK(said_when_unclean(r) == "");
      } else {
        INFO(text_of(r));
        CHECK(r.count(sw::severity::error) + r.count(sw::severity::warning) == 1);
        CHECK(r.has(sw::finding_kind::whole_on_every_rank, hole_of(name)));
      }
    }
  }
}

TEST_CASE("the complete plan and that by head of well-known models are clean at every size at which it can be used",
          "[audit]") {
  for (const std::string& name : well_known_names()) {
    const text_model m = well_known_model(name);
    const sw::models::family& family = sw::models::family_of(m.architecture, m.type);
    for (const int tp : m.sizes) {
      INFO(name << " at tp " << tp);
      CHECK(said_when_unclean(audited(family.complete, m.tree, tp)) == "");
      if (family.by_head.size() != 0) CHECK(said_when_unclean(audited(family.by_head, m.tree, tp)) == "");
    }
  }
}

TEST_CASE("by head a rank of eight holds an eighth of Qwen3.5-35B-A3B, its copies and all that is whole counted",
          "[audit]") {
  const text_model m = well_known_model("qwen3_5_35b_a3b");
  const sw::sharding s = sw::shard(sw::models::by_head_plan(m.architecture, m.type), m.tree, {.tp = 8});
  for (int rank = 0; rank < 8; ++rank) {
    CHECK(static_cast<double>(s.bytes(rank)) <= 1.01 / 8 * static_cast<double>(m.tree.bytes()));
  }
}

TEST_CASE("gpt-oss with its sinks cut by head and its experts dealt out is clean", "[audit]") {
  text_model m = well_known_model("gpt_oss_120b");
  m.plan.edit(
      "model.embed_tokens embedding_rowwise\n"
      "model.layers.*.self_attn.{q_proj,k_proj,v_proj} colwise\n"
      "model.layers.*.self_attn.o_proj rowwise\n"
      "model.layers.*.self_attn.sinks colwise\n"
      "model.layers.*.self_attn local_params\n"
      "model.layers.*.mlp.experts.{gate_up_proj,gate_up_proj_bias,down_proj,down_proj_bias} grouped_gemm\n"
      "model.layers.*.mlp.experts ep_dispatch_experts");
  for (const int tp : {2, 4, 8}) CHECK(said_when_unclean(audited(m.plan.import(), m.tree, tp)) == "");
  m.plan.edit("- model.layers.*.self_attn.sinks");
  CHECK(!audited(m.plan.import(), m.tree, 2).clean());
}
