// SPDX-License-Identifier: Apache-2.0
// Plans out of files: whatever one says, the logits are right or it is refused.
#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

/// Hugging Face's plan of a golden, with its vision tower spoken of.
plan_rows plan_of(const golden_model& g) {
  plan_rows rows = hugging_face_plan(golden(g.files + "/plan.json"));
  if (g.images) rows.emplace_back("model.visual.**", "replicate(no plan yet)");
  return rows;
}
plan_rows without(plan_rows rows, const std::string& pattern) {
  const auto gone = [&](const auto& row) { return row.first == pattern; };
  REQUIRE(std::count_if(rows.begin(), rows.end(), gone) == 1);
  rows.erase(std::remove_if(rows.begin(), rows.end(), gone), rows.end());
  return rows;
}
/// The row of `pattern` with another style; a new row if there is none.
plan_rows with(plan_rows rows, const std::string& pattern, const std::string& style) {
  for (auto& row : rows) {
    if (row.first == pattern) {
      row.second = style;
      return rows;
    }
  }
  rows.emplace_back(pattern, style);
  return rows;
}
logits_run run_plan(const golden_model& g, const plan_rows& rows, int tp = 2,
                    const std::string& executable = GENERATE_PROGRAM, const std::string& environment = "") {
  const temporary_folder folder;
  const std::string file = folder.write("plan.json", plan_text(rows));
  return run_prompt(g, "--plan '" + file + "' --tp " + std::to_string(tp), executable, environment);
}

TEST_CASE("Hugging Face's plan as a file needs the lm_head row, and a word on the vision tower", "[examples]") {
  const golden_model& g = golden_of("qwen3_5_moe_vl");
  CHECK(run_plan(g, plan_of(g)).difference <= g.tolerance);
  const outcome no_head = run_plan(g, without(plan_of(g), "lm_head")).done;
  CHECK(no_head.refused());
  CHECK_THAT(no_head.err, ContainsSubstring("'lm_head.weight'"));
  const outcome no_tower = run_plan(g, without(plan_of(g), "model.visual.**")).done;
  CHECK(no_tower.refused());
  CHECK_THAT(no_tower.err, ContainsSubstring("'model.visual.blocks.0.attn.qkv.weight'"));
}

TEST_CASE("Hugging Face's plan by name runs with a hole, and warns of it", "[examples]") {
  const golden_model& g = golden_of("qwen3_5_moe_vl");
  const logits_run r = run_prompt(g, "--plan hf --tp 2");
  CHECK(r.difference <= g.tolerance);
  CHECK_THAT(r.done.err, ContainsSubstring("warning: no row of the plan covers 'model.visual."));
  CHECK(run_prompt(g, "--plan auto --tp 2").done.err.empty());
  CHECK(run_prompt(golden_of("llama"), "--plan hf --tp 2").done.err.empty());
}

TEST_CASE("a plan file with names of styles that Hugging Face has renamed runs, and says the new ones", "[examples]") {
  const golden_model& g = golden_of("llama");
  plan_rows rows = with(plan_of(g), "lm_head", "colwise_rep");
  rows = with(rows, "model.layers.*.mlp.down_proj", "local_rowwise");
  const logits_run r = run_plan(g, rows);
  CHECK(r.difference <= g.tolerance);
  CHECK_THAT(r.done.err, ContainsSubstring("warning: the style 'colwise_rep' of 'lm_head' in ") &&
                             ContainsSubstring(" is called 'colwise_gather_output' now\n") &&
                             ContainsSubstring("'local_rowwise' of 'model.layers.*.mlp.down_proj'"));
  CHECK(std::count(r.done.err.begin(), r.done.err.end(), '\n') == 2);
}

TEST_CASE("without any one row a plan is refused, or the logits are right", "[examples]") {
  std::size_t refused = 0, right = 0;
  for (const golden_model& g : goldens()) {
    for (const auto& [pattern, style] : plan_of(g)) {
      INFO(g.folder << " without " << pattern);
      const logits_run r = run_plan(g, without(plan_of(g), pattern));
      INFO(r.done.err);
      if (r.done.exit == 0) {
        CHECK(r.difference <= g.tolerance);
        ++right;
      } else {
        CHECK(r.done.refused());
        ++refused;
      }
    }
  }
  CHECK(refused >= 60);
  CHECK(right >= 8);  // norms of heads, and the two smallest products of linear attention
}

TEST_CASE("with any other style in any one row a plan is refused, or the logits are right", "[examples]") {
  constexpr const char* styles[] = {
      "replicate(why not)", "colwise",           "rowwise",           "colwise_gather_output", "rowwise_split_input",
      "packed_colwise",     "embedding_rowwise", "embedding_colwise", "moe_tp_experts",        "local_params",
      "all_reduce",         "packed_rowwise",    "sequence_parallel", "grouped_gemm",          "ep_dispatch_experts",
      "moe_identity_expert"};
  std::size_t right = 0;
  for (const char* folder : {"llama_bias", "qwen3_5_moe"}) {
    const golden_model& g = golden_of(folder);
    for (const auto& row : plan_of(g)) {
      for (const char* style : styles) {
        INFO(g.folder << " with " << row.first << ": " << style);
        const logits_run r = run_plan(g, with(plan_of(g), row.first, style));
        INFO(r.done.err);
        if (r.done.exit == 0) {
          CHECK(r.difference <= g.tolerance);
          ++right;
        } else {
          CHECK(r.done.refused());
        }
      }
    }
  }
  CHECK(right >= 30);
}

TEST_CASE("products that lie side by side are cut by their parts, or the plan is refused", "[examples]") {
  const golden_model& phi3 = golden_of("phi3");
  const std::string layer = "model.layers.*.";
  const auto cut = [&](const std::string& in, const std::string& style, const std::string& out) {
    return run_plan(phi3, with(with(plan_of(phi3), layer + in, style), layer + out, "rowwise"));
  };
  CHECK(cut("mlp.gate_up_proj", "packed_colwise", "mlp.down_proj").difference <= phi3.tolerance);
  CHECK_THAT(cut("mlp.gate_up_proj", "colwise", "mlp.down_proj").done.err, ContainsSubstring("mlp.gate_up_proj"));
  CHECK_THAT(cut("self_attn.qkv_proj", "colwise", "self_attn.o_proj").done.err,
             ContainsSubstring("self_attn.qkv_proj"));
}

TEST_CASE("what a module half cut would make of the logits is refused by name", "[examples]") {
  const golden_model& llama = golden_of("llama");
  const auto refusal = [](const golden_model& g, const plan_rows& rows) {
    const outcome r = run_plan(g, rows).done;
    CHECK(r.refused());
    return r.err;
  };
  // Hugging Face returns logits half as wide.
  CHECK_THAT(refusal(llama, with(plan_of(llama), "lm_head", "colwise")),
             ContainsSubstring("'lm_head'") && ContainsSubstring("colwise_gather_output"));
  CHECK_THAT(refusal(llama, with(plan_of(llama), "model.layers.*.self_attn.k_proj", "replicate(whole)")),
             ContainsSubstring("'model.layers.0.self_attn.q_proj'") && ContainsSubstring("k_proj"));
  CHECK_THAT(refusal(llama, with(plan_of(llama), "model.layers.*.mlp.up_proj", "replicate(whole)")),
             ContainsSubstring("'model.layers.0.mlp.gate_proj'") && ContainsSubstring("up_proj"));
  CHECK_THAT(refusal(llama, with(plan_of(llama), "model.layers.*.mlp.down_proj", "replicate(whole)")),
             ContainsSubstring("'model.layers.0.mlp.down_proj.weight' is whole"));
  CHECK_THAT(refusal(llama, with(plan_of(llama), "model.norm", "colwise")), ContainsSubstring("'model.norm.weight'"));

  const golden_model& moe = golden_of("qwen3_5_moe");
  const std::string experts = "model.layers.*.mlp.experts";
  CHECK_THAT(refusal(moe, without(plan_of(moe), experts)),
             ContainsSubstring("'model.layers.0.mlp.experts' yields a partial sum"));
  // Both halves of gate|up on one rank would be gates alone.
  for (const char* style : {"colwise", "colwise_gather_output", "embedding_colwise"}) {
    INFO(style);
    CHECK_THAT(refusal(moe, with(plan_of(moe), experts + ".gate_up_proj", style)), ContainsSubstring("2 groups"));
  }
  // A style without a parameter half covers none.
  CHECK_THAT(refusal(moe, with(plan_of(moe), experts + ".gate_up_proj", "moe_tp_experts")),
             ContainsSubstring("no row of the plan covers 'model.layers.0.mlp.experts.gate_up_proj'"));
  CHECK_THAT(refusal(moe, with(plan_of(moe), "model.layers.*.linear_attn.in_proj_qkv", "colwise")),
             ContainsSubstring("'model.layers.0.linear_attn.in_proj_qkv.weight' is 3 groups"));

  const golden_model& tied = golden_of("llama_tied");
  CHECK_THAT(refusal(tied, without(plan_of(tied), "lm_head")), ContainsSubstring("'lm_head.weight'"));
}

TEST_CASE("a row for the whole block reduces what its last product leaves partial", "[examples]") {
  const golden_model& llama = golden_of("llama");
  plan_rows rows = without(plan_of(llama), "model.layers.*.mlp.down_proj");
  rows.emplace_back("model.layers.*.mlp.down_proj.weight", "rowwise");
  CHECK_THAT(run_plan(llama, rows).done.err, ContainsSubstring("'model.layers.0.mlp' yields a partial sum"));
  rows.emplace_back("model.layers.*.mlp", "all_reduce");
  for (int tp : {1, 2, 4}) CHECK(run_plan(llama, rows, tp).difference <= llama.tolerance);

  // Experts and shared expert are added first, and reduced once.
  const golden_model& moe = golden_of("qwen3_5_moe");
  rows = without(without(plan_of(moe), "model.layers.*.mlp.experts"), "model.layers.*.mlp.shared_expert.down_proj");
  rows.emplace_back("model.layers.*.mlp.shared_expert.down_proj.weight", "rowwise");
  rows.emplace_back("model.layers.*.mlp", "all_reduce");
  CHECK(run_plan(moe, rows).difference <= moe.tolerance);
}

TEST_CASE("a plan may gather and split where Hugging Face's keeps the heads apart", "[examples]") {
  const golden_model& kv2 = golden_model{"llama_kv2", "llama_kv2"};
  plan_rows rows = plan_of(kv2);
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    rows = with(rows, std::string("model.layers.*.self_attn.") + name, "colwise_gather_output");
  }
  rows = with(rows, "model.layers.*.self_attn.o_proj", "rowwise_split_input");
  rows = with(rows, "model.embed_tokens", "embedding_colwise");
  for (int tp : {1, 2, 4}) {
    INFO("tp " << tp);
    CHECK(run_plan(kv2, rows, tp).difference <= kv2.tolerance);  // 4 ranks too: no head is cut by a gather
  }
}

TEST_CASE("a plan may cut what Hugging Face's leaves whole in the vision tower", "[examples]") {
  const golden_model& g = golden_of("qwen3_5_moe_vl");
  plan_rows rows = plan_of(g);
  for (const char* mlp : {"model.visual.blocks.*.mlp", "model.visual.merger"}) {
    rows.emplace_back(std::string(mlp) + ".linear_fc1", "colwise");
    rows.emplace_back(std::string(mlp) + ".linear_fc2", "rowwise");
  }
  for (int tp : {1, 2, 4}) {
    INFO("tp " << tp);
    CHECK(run_plan(g, rows, tp).difference <= g.tolerance);
  }
  // q|k|v side by side are three groups.
  const outcome r = run_plan(g, with(rows, "model.visual.blocks.*.attn.qkv", "colwise")).done;
  CHECK(r.refused());
  CHECK_THAT(r.err, ContainsSubstring("3 groups"));
}

TEST_CASE("every style with a collective matters: left out, it breaks a golden", "[examples]") {
  const golden_model &llama = golden_of("llama"), &moe = golden_of("qwen3_5_moe"), &vl = golden_of("qwen3_5_moe_vl");
  plan_rows gathered = with(plan_of(llama), "lm_head", "replicate(only attention gathers)");
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    gathered = with(gathered, std::string("model.layers.*.self_attn.") + name, "colwise_gather_output");
  }
  // A split would take back what each rank had before the gather: it is left out of the gather's own test.
  const plan_rows split = with(gathered, "model.layers.*.self_attn.o_proj", "rowwise_split_input");
  gathered = with(gathered, "model.layers.*.self_attn.o_proj", "replicate(sees what is gathered)");
  const plan_rows table = with(plan_of(llama), "model.embed_tokens", "embedding_colwise");
  plan_rows block = without(plan_of(llama), "model.layers.*.mlp.down_proj");
  block.emplace_back("model.layers.*.mlp.down_proj.weight", "rowwise");
  block.emplace_back("model.layers.*.mlp", "all_reduce");

  plan_rows experts = with(plan_of(moe), "model.layers.*.mlp.experts", "ep_dispatch_experts");
  for (const char* name : {"gate_up_proj", "down_proj"}) {
    experts = with(experts, std::string("model.layers.*.mlp.experts.") + name, "grouped_gemm");
  }

  struct fault {
    const char* style;
    const golden_model& model;
    plan_rows plan;
  };
  const fault faults[] = {
      {"rowwise", llama, plan_of(llama)},
      {"rowwise", golden_of("llama_bias"), plan_of(golden_of("llama_bias"))},
      {"colwise_gather_output", llama, plan_of(llama)},
      {"colwise_gather_output", moe, with(plan_of(moe), "lm_head", "replicate(only linear attention)")},
      {"embedding_rowwise", llama, plan_of(llama)},
      {"embedding_rowwise", golden_of("llama_tied"), plan_of(golden_of("llama_tied"))},
      {"moe_tp_experts", moe, plan_of(moe)},
      {"moe_tp_experts", vl, plan_of(vl)},
      {"ep_dispatch_experts", moe, experts},
      {"rowwise_split_input", llama, split},
      {"colwise_gather_output", llama, gathered},
      {"embedding_colwise", llama, table},
      {"all_reduce", llama, block}};
  for (const fault& f : faults) {
    for (int tp : {2, 4}) {
      INFO(f.model.folder << " without the collective of " << f.style << ", tp " << tp);
      CHECK(run_plan(f.model, f.plan, tp, GENERATE_FAULTS_PROGRAM).difference <= f.model.tolerance);
      const logits_run r =
          run_plan(f.model, f.plan, tp, GENERATE_FAULTS_PROGRAM, std::string("GENERATE_LEAVE_OUT=") + f.style);
      CHECK(r.done.exit == 0);
      CHECK(r.difference > 0.1);
    }
    // One rank has nobody to miss.
    CHECK(run_plan(f.model, f.plan, 1, GENERATE_FAULTS_PROGRAM, std::string("GENERATE_LEAVE_OUT=") + f.style)
              .difference <= f.model.tolerance);
  }
}

TEST_CASE("a plan file that is none is refused with its name", "[examples]") {
  const golden_model& g = golden_of("llama");
  const temporary_folder folder;
  const auto refusal = [&](const std::string& text) {
    const outcome r = run(g.at(g.prompt() + " --plan '" + folder.write("plan.json", text) + "'"));
    CHECK(r.refused());
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    return r.err;
  };
  CHECK_THAT(refusal("{"), ContainsSubstring("plan.json"));
  CHECK_THAT(refusal("[]"), ContainsSubstring("must be an object"));
  CHECK_THAT(refusal(R"({"lm_head": 1})"), ContainsSubstring("'lm_head'"));
  CHECK_THAT(refusal(R"({"lm_head": "colwize"})"), ContainsSubstring("did you mean 'colwise'?"));
  CHECK_THAT(refusal(R"({"model..x.**": "colwise"})"), ContainsSubstring("'model..x.**'"));
  CHECK_THAT(refusal(R"({"lm_head": "colwise", "lm_head": "rowwise"})"), ContainsSubstring("two styles"));
  CHECK_THAT(run(g.at(g.prompt() + " --plan nowhere.json")).err, ContainsSubstring("auto, hf, by_head or a JSON file"));
}

}  // namespace
