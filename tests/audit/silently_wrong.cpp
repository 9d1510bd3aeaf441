// SPDX-License-Identifier: Apache-2.0
// What Hugging Face 5.23.0 takes without a word, and computes wrongly or wastes: each is said before anything is
// loaded, and the plan beside it that is right is not.
#include <string>

#include "catch.hpp"
#include "text_model.hpp"

namespace sw = shardwise;

namespace {
// What is said of a well-known model's plan after `edits`, in a model that has `more`.
sw::audit_report said_of(const char* model, int tp, const char* edits, const char* more = "") {
  text_model m = well_known_model(model);
  m.add(more).plan.edit(edits);
  return audited(m.plan.import(), m.tree, tp);
}
std::string line_of(const sw::audit_report& r, sw::finding_kind kind) {
  const sw::finding* f = r.find(kind);
  return f == nullptr ? "nothing of this kind in\n" + text_of(r) : text_of(*f);
}
constexpr const char* gpt_oss_experts =
    "model.layers.*.mlp.experts.gate_up_proj rowwise\n"
    "model.layers.*.mlp.experts.gate_up_proj_bias rowwise\n"
    "model.layers.*.mlp.experts.down_proj colwise\n"
    "model.layers.*.mlp.experts moe_tp_experts\n";
}  // namespace

TEST_CASE("an lm_head that is colwise without a gather leaves each rank its own part of the logits", "[audit]") {
  const auto wrong = said_of("qwen3_8b", 4, "lm_head colwise");
  CHECK(line_of(wrong, sw::finding_kind::logits_width) ==
        "error: lm_head is colwise: each rank has 37984 of 151936 logits, and a token chosen from those is wrong; use "
        "{\"lm_head\", colwise_gather_output}");
  CHECK(said_of("qwen3_8b", 4, "").clean());
}

TEST_CASE("moe_tp_experts over experts that are whole adds up the same output once for each rank", "[audit]") {
  const auto wrong = said_of("qwen3_235b_a22b", 4, "model.layers.*.mlp.experts.{gate_up_proj,down_proj} replicate");
  CHECK(line_of(wrong, sw::finding_kind::reduced_twice) ==
        "error: model.layers.*.mlp.experts is moe_tp_experts, which adds up the outputs of 4 ranks, and nothing in it "
        "is cut, so that each has the whole: the result is 4 times too large; cut what is in it, or leave the row out");
  CHECK(said_of("qwen3_235b_a22b", 4, "").clean());
  CHECK(!said_of("mixtral_8x7b", 4,
                 "model.layers.*.mlp.experts.{gate_up_proj,down_proj} replicate(small)\n- model.layers.*.mlp.experts")
             .has(sw::finding_kind::reduced_twice));
}

TEST_CASE("all_reduce of what is reduced already is as many times too large as there are ranks", "[audit]") {
  const auto wrong = said_of("llama3_8b", 2, "model.layers.*.mlp all_reduce");
  CHECK(line_of(wrong, sw::finding_kind::reduced_twice) ==
        "error: model.layers.*.mlp is all_reduce, which adds up the outputs of 2 ranks, and what is in it has added up "
        "its own already: the result is 2 times too large; leave the row out");
  // Over a cut parameter that has no step of its own it is what adds up.
  const auto right = said_of("llama3_8b", 2,
                             "- model.layers.*.mlp.down_proj\nmodel.layers.*.mlp.down_proj.weight rowwise\n"
                             "model.layers.*.mlp all_reduce");
  CHECK(!right.has(sw::finding_kind::reduced_twice));
  CHECK(!right.has(sw::finding_kind::never_reduced));
}

TEST_CASE("an expert-parallel plan without its module rule leaves each rank the output of its own experts", "[audit]") {
  constexpr const char* rows =
      "model.layers.*.mlp.experts.{gate_up_proj,down_proj} grouped_gemm\n- model.layers.*.mlp.experts";
  const auto wrong = said_of("qwen3_235b_a22b", 4, rows);
  CHECK(line_of(wrong, sw::finding_kind::never_reduced) ==
        "error: model.layers.*.mlp.experts.gate_up_proj is cut between experts, and no rule of "
        "model.layers.*.mlp.experts lets the ranks work together: each has the output of its own experts only; add "
        "{\"model.layers.*.mlp.experts\", ep_dispatch_experts}");
  CHECK(said_of("qwen3_235b_a22b", 4,
                "model.layers.*.mlp.experts.{gate_up_proj,down_proj} grouped_gemm\n"
                "model.layers.*.mlp.experts ep_dispatch_experts")
            .clean());
}

// lfm2, lfm3, lfm3_vl, hunyuan_vl, florence2 and gpt_oss when tied: `tied_cut_differently` of the oracle's tables.
TEST_CASE("a tied head whose embedding has no rule is whole, and gathers as if it were cut", "[audit]") {
  const auto lfm2 = said_of("", 2, "",
                            "model.embed_tokens.weight 65536x2048\n"
                            "model.layers.{0-15}.feed_forward.{w1,w3}.weight 7168x2048\n"
                            "model.layers.{0-15}.feed_forward.w2.weight 2048x7168\n"
                            "lm_head.weight -> model.embed_tokens.weight\n> lm_head colwise_gather_output");
  CHECK(line_of(lfm2, sw::finding_kind::tied_unlike) ==
        "error: lm_head (colwise_gather_output) and model.embed_tokens (no rule) are tied, one storage, and "
        "model.embed_tokens has no row, so that it stays whole; add {\"model.embed_tokens\", embedding_rowwise}, and "
        "cut both on the vocabulary");
  const auto florence2 = said_of("", 2, "",
                                 "model.language_model.shared.weight 51289x768\n"
                                 "lm_head.weight -> model.language_model.shared.weight\n"
                                 "> lm_head colwise_gather_output");
  CHECK(florence2.has(sw::finding_kind::tied_unlike, "lm_head"));
  // Both cut on the vocabulary; one of them on hidden.
  CHECK(!said_of("qwen3_4b", 2, "").has(sw::finding_kind::tied_unlike));
  CHECK(said_of("qwen3_4b", 2, "model.embed_tokens embedding_colwise").has(sw::finding_kind::tied_unlike));
}

TEST_CASE("a packed bias is cut plainly while its weight is cut in two groups", "[audit]") {
  constexpr const char* bias = "model.layers.{0-31}.mlp.gate_up_proj.bias 16384";
  const auto wrong = said_of(
      "phi3_mini", 2, "model.layers.*.mlp.gate_up_proj packed_colwise\nmodel.layers.*.mlp.down_proj rowwise", bias);
  CHECK(line_of(wrong, sw::finding_kind::bias_unlike_weight) ==
        "error: model.layers.*.mlp.gate_up_proj.bias is cut in 1 group, and model.layers.*.mlp.gate_up_proj.weight in "
        "2 groups: a rank would add another part's bias; a plan of ours cuts a packed bias as its weight; Hugging "
        "Face's does not: use colwise_gather_output, or a plan of ours");
  CHECK(said_of("phi3_mini", 2, "", bias).clean());  // gathered
  CHECK(said_of("phi3_mini", 2, "model.layers.*.mlp.gate_up_proj packed_colwise\nmodel.layers.*.mlp.down_proj rowwise")
            .clean());
}

TEST_CASE("a bias with a row for each expert is cut between experts by packed_colwise", "[audit]") {
  const std::string plan = gpt_oss_experts;
  const auto wrong =
      said_of("gpt_oss_120b", 2, (plan + "model.layers.*.mlp.experts.gate_up_proj_bias packed_colwise").c_str());
  CHECK(line_of(wrong, sw::finding_kind::cut_on_experts) ==
        "error: model.layers.*.mlp.experts.gate_up_proj_bias has a row for each of 128 experts, and packed_colwise "
        "cuts it between experts, while every rank has a part of each expert; use rowwise, which cuts the last dim");
  const auto right = said_of("gpt_oss_120b", 2, gpt_oss_experts);
  CHECK(!right.has(sw::finding_kind::cut_on_experts));
  CHECK(!right.has(sw::finding_kind::bias_unlike_weight));
}

TEST_CASE("rowwise of a vector that is not called bias cuts it", "[audit]") {
  constexpr const char* offset = "model.layers.{0-31}.mlp.down_proj.offset 4096";
  const auto wrong = said_of("llama3_8b", 2, "", offset);
  CHECK(line_of(wrong, sw::finding_kind::vector_cut) ==
        "error: model.layers.*.mlp.down_proj.offset is a vector of 4096 elements, and rowwise cuts it: only a vector "
        "named bias is left whole; add {\"model.layers.*.mlp.down_proj.offset\", replicate(\"added once, after the "
        "sum\")}, or colwise where it goes with cut outputs");
  CHECK(said_of("llama3_8b", 2, "model.layers.*.mlp.down_proj.offset replicate(added-after-the-sum)", offset).clean());
  CHECK(said_of("llama3_8b", 2, "", "model.layers.{0-31}.mlp.down_proj.bias 4096").clean());
}

TEST_CASE("more ranks than key/value heads: a head is cut in pieces", "[audit]") {
  const auto wrong = said_of("qwen3_235b_a22b", 8, "");
  CHECK(line_of(wrong, sw::finding_kind::cut_inside_head) ==
        "error: model.layers.*.self_attn.{k_proj,v_proj} have 4 key/value heads, 8 ranks: a head is cut in pieces, and "
        "legal sizes are 1, 2, 4; use tp 4, or a plan by head, which has each key/value head on 2 ranks");
  CHECK(said_of("qwen3_235b_a22b", 4, "").clean());
}

TEST_CASE("a rule with a layer's number matches nothing, since Hugging Face writes a star first", "[audit]") {
  const auto wrong = said_of("llama3_8b", 2, "model.layers.3.mlp.down_proj rowwise");
  CHECK(line_of(wrong, sw::finding_kind::rule_of_one_layer) ==
        "error: model.layers.3.mlp.down_proj has a layer's number, for which Hugging Face writes a star before it "
        "looks, so that it matches nothing; write model.layers.*.mlp.down_proj, which is of all layers; a plan of ours "
        "can name one");
  CHECK(!said_of("llama3_8b", 2, "").has(sw::finding_kind::rule_of_one_layer));
  // Ours means that layer.
  const text_model m = well_known_model("llama3_8b");
  static constexpr auto one_layer =
      sw::plan({{"**", sw::replicate("all but one")}, {"model.layers.3.mlp.down_proj", sw::rowwise_split_input}});
  CHECK(!audited(one_layer, m.tree, 2).has(sw::finding_kind::rule_of_one_layer));
}

TEST_CASE("a style that leaves things whole, and is of norms, says nothing of a head", "[audit]") {
  for (const char* style : {"replicate", "replicated_with_grad_allreduce", "mla_kv_a_proj", "sequence_parallel"}) {
    CHECK(said_of("llama3_8b", 2, ("lm_head " + std::string(style)).c_str())
              .has(sw::finding_kind::whole_on_every_rank, "lm_head"));
  }
  CHECK(said_of("llama3_8b", 2, "lm_head replicate(small)").clean());
  // Every latent of DeepSeek is small beside its experts; in a model of attention alone it is not.
  constexpr const char* mla =
      "model.layers.{0-61}.self_attn.kv_a_proj_with_mqa.weight 288x2560\n"
      "model.layers.{0-61}.self_attn.kv_b_proj.weight 5120x256\n"
      "model.layers.{0-61}.self_attn.o_proj.weight 2560x2560\n"
      "> model.layers.*.self_attn.kv_a_proj_with_mqa mla_kv_a_proj\n"
      "> model.layers.*.self_attn.kv_b_proj colwise\n> model.layers.*.self_attn.o_proj rowwise";
  CHECK(said_of("", 2, "", mla).clean());
}

TEST_CASE("the last product of a block leaves its output cut, or the first takes a part of the hidden states",
          "[audit]") {
  const auto last = said_of("qwen3_next_80b", 2, "model.layers.*.linear_attn.out_proj colwise");
  CHECK(last.has(sw::finding_kind::cut_input, "model.layers.*.linear_attn.out_proj"));
  const auto first = said_of("qwen3_next_80b", 2, "model.layers.*.linear_attn.in_proj_qkvz rowwise");
  CHECK(first.has(sw::finding_kind::whole_input, "model.layers.*.linear_attn.in_proj_qkvz"));
  CHECK(said_of("qwen3_next_80b", 2, "model.layers.*.linear_attn.in_proj_qkvz rowwise_split_input").clean());
}
