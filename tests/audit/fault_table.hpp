// SPDX-License-Identifier: Apache-2.0
// What users of tensor-parallel systems reported, as models and plans that show it, and the line that the audit prints.
// The models are those of the reports, or have their sizes. README.md's table is this one.
#pragma once
#include <cstddef>
#include <optional>

#include "shardwise/audit/finding.hpp"
#include "shardwise/plan/plan.hpp"
#include "shardwise/shard/layout.hpp"

/// One fault, or several that one check finds.
struct fault {
  const char* wrong;  ///< what went wrong
  const char* where;  ///< reports: "huggingface/transformers#47253 vllm-project/vllm#1"
  const char* model;  ///< a well-known model whose plan is changed, or ""
  const char* lines;  ///< more of the model, and of its plan, as in tests/data/well_known.txt
  const char* edits;  ///< of the plan, which make it wrong
  int tp;
  std::optional<shardwise::finding_kind> kind;  ///< none: the line sums up
  const char* line;                             ///< that is printed
  /// Where the fault is the number of ranks: another one, at which the same plan is right.
  int right_tp = 0;
  shardwise::plan_view ours{};      ///< a plan of our own, in place of the model's
  std::size_t least_features = 0;   ///< that the kernels take
  shardwise::layout_view layout{};  ///< what the engine says of its parameters
  shardwise::plan_view right{};     ///< a plan of our own that is right, where that is not `ours`
};

namespace fault_plans {
namespace sw = shardwise;
inline constexpr auto vocabulary = sw::plan({
    {"model.embed_tokens", sw::embedding_rowwise},
    {"lm_head", sw::colwise_gather_output},
});
inline constexpr auto mlp = sw::plan({
    {"layers.*.mlp.{gate_proj,up_proj}", sw::colwise},
    {"layers.*.mlp.down_proj", sw::rowwise},
});
inline constexpr auto mamba = sw::plan({
    {"layers.*.mixer.{in_proj_z,in_proj_x}", sw::colwise},
    {"layers.*.mixer.{in_proj_B,in_proj_C}", sw::colwise.units("n_groups")},
    {"layers.*.mixer.out_proj", sw::rowwise},
});
inline constexpr auto two_shared_experts = sw::layout({
    {"**.shared_experts.gate_up_proj", sw::out_features.groups(4)},
    {"**.shared_experts.down_proj", sw::in_features.groups(2)},
});
inline constexpr auto shared_as_one = sw::plan({
    {"layers.*.mlp.shared_experts.gate_up_proj", sw::packed_colwise<2>},
    {"layers.*.mlp.shared_experts.down_proj", sw::rowwise},
});
inline constexpr auto shared_one_by_one = sw::plan({
    {"layers.*.mlp.shared_experts.gate_up_proj", sw::colwise.groups(4)},
    {"layers.*.mlp.shared_experts.down_proj", sw::rowwise.groups(2)},
});
}  // namespace fault_plans

inline const fault faults[] = {
    {"the rule of `lm_head` was wiped while the model was made, and every GPU held the whole head",
     "huggingface/transformers#47253", "llama3_70b", "", "- lm_head", 8, shardwise::finding_kind::whole_on_every_rank,
     "error: lm_head 2.10 GB is whole on 8 ranks: +1.84 GB per rank, +0.55 ms per decoded token; add {\"lm_head\", "
     "colwise_gather_output}, or allow it: {\"lm_head\", replicate(\"why\")}"},
    {"the vision-language wrapper had no rule for `lm_head`",
     "huggingface/transformers#45124 huggingface/transformers#45125", "qwen3_5_35b_a3b", "", "- lm_head", 2,
     shardwise::finding_kind::whole_on_every_rank,
     "error: lm_head 1.02 GB is whole on 2 ranks: +509 MB per rank, +0.15 ms per decoded token; add {\"lm_head\", "
     "colwise_gather_output}, or allow it: {\"lm_head\", replicate(\"why\")}"},
    {"a head of 262144 x 2816 was never in the sharding spec: out of memory", "tenstorrent/tt-xla#6055", "",
     R"(model.embed_tokens.weight 262144x2816
model.layers.{0-29}.self_attn.{q_proj,o_proj}.weight 2816x2816
model.layers.{0-29}.mlp.{gate_proj,up_proj}.weight 11264x2816
model.layers.{0-29}.mlp.down_proj.weight 2816x11264
lm_head.weight 262144x2816
> lm_head colwise_gather_output
> model.embed_tokens embedding_rowwise
> model.layers.*.self_attn.q_proj colwise
> model.layers.*.self_attn.o_proj rowwise
> model.layers.*.mlp.{gate_proj,up_proj} colwise
> model.layers.*.mlp.down_proj rowwise)",
     "- lm_head", 8, shardwise::finding_kind::whole_on_every_rank,
     "error: lm_head 1.48 GB is whole on 8 ranks: +1.29 GB per rank, +0.39 ms per decoded token; add {\"lm_head\", "
     "colwise_gather_output}, or allow it: {\"lm_head\", replicate(\"why\")}"},
    {"linear attention, three layers of four, had no rules", "huggingface/transformers#46846", "qwen3_next_80b", "",
     "- model.layers.*.linear_attn.{in_proj_qkvz,in_proj_ba,out_proj}", 2, shardwise::finding_kind::whole_on_every_rank,
     "error: model.layers.*.linear_attn 202 MB is whole on 2 ranks: +101 MB per rank, +0.030 ms per decoded token; add "
     "rows that cut it, or allow it: {\"model.layers.*.linear_attn.**\", replicate(\"why\")}"},
    {"8 ranks and 4 key/value heads: nothing warned at load, and forward failed; a tool cut inside a head",
     "huggingface/transformers#48307 NVIDIA/TensorRT-LLM#4308", "qwen3_235b_a22b", "", "", 8,
     shardwise::finding_kind::cut_inside_head,
     "error: model.layers.*.self_attn.{k_proj,v_proj} have 4 key/value heads, 8 ranks: a head is cut in pieces, and "
     "legal sizes are 1, 2, 4; use tp 4, or a plan by head, which has each key/value head on 2 ranks",
     4},
    {"52 or 40 attention heads on 3 ranks, found after minutes of load", "vllm-project/vllm#414 vllm-project/vllm#596",
     "", R"(num_attention_heads = 52
model.layers.{0-59}.self_attn.{q_proj,k_proj,v_proj,o_proj}.weight 6656x6656
> model.layers.*.self_attn.{q_proj,k_proj,v_proj} colwise
> model.layers.*.self_attn.o_proj rowwise)",
     "", 3, shardwise::finding_kind::cut_inside_head,
     "error: model.layers.*.self_attn.{q_proj,o_proj} have 52 heads, 3 ranks: some heads are cut in two, and legal "
     "sizes are 1, 2, 4, 13, 26, 52; use tp 2, or pad to 54 heads (2 more)",
     2},
    {"25 or 16 heads of a vision tower do not divide, while those of the text do",
     "vllm-project/vllm#8097 vllm-project/vllm#57119", "",
     R"(text_config.num_attention_heads = 64
text_config.num_key_value_heads = 8
vision_config.num_attention_heads = 25
model.vision_tower.layers.{0-44}.attention.{q_proj,k_proj,v_proj,o_proj}.weight 3200x3200
model.language_model.layers.{0-79}.self_attn.{q_proj,o_proj}.weight 8192x8192
model.language_model.layers.{0-79}.self_attn.{k_proj,v_proj}.weight 1024x8192
> model.vision_tower.layers.*.attention.{q_proj,k_proj,v_proj} colwise
> model.vision_tower.layers.*.attention.o_proj rowwise
> model.language_model.layers.*.self_attn.{q_proj,k_proj,v_proj} colwise
> model.language_model.layers.*.self_attn.o_proj rowwise)",
     "", 4, shardwise::finding_kind::cut_inside_head,
     "error: model.vision_tower.layers.*.attention.{q_proj,o_proj} have 25 heads, 4 ranks: some heads are cut in two, "
     "and legal sizes are 1, 5, 25; use tp 1, or pad to 28 heads (3 more)",
     1},
    {"a vocabulary of 32001 does not divide, or two programs pad it differently",
     "NVIDIA/TensorRT-LLM#98 vllm-project/vllm#440", "", R"(vocab_size = 32001
model.embed_tokens.weight 32001x4096
lm_head.weight 32001x4096)",
     "", 4, shardwise::finding_kind::does_not_divide,
     "error: model.embed_tokens has 32001 rows of the vocabulary, 4 ranks: legal sizes are 1, 3; use tp 3, or pad to "
     "32004 rows of the vocabulary (3 more)",
     3, fault_plans::vocabulary},
    {"a remainder was dropped in silence", "huggingface/candle#3828", "",
     R"(layers.{0-31}.mlp.{gate_proj,up_proj}.weight 11008x4096
layers.{0-31}.mlp.down_proj.weight 4096x11008)",
     "", 3, shardwise::finding_kind::does_not_divide,
     "error: layers.*.mlp.{gate_proj,up_proj,down_proj} have 11008 output features, 3 ranks: legal sizes are 1, 2, 4, "
     "8, 16, 32, 43, 64; use tp 2, or pad to 11010 output features (2 more)",
     4, fault_plans::mlp},
    {"state-space groups are fewer than ranks", "vllm-project/vllm#55091 vllm-project/vllm#13660", "",
     R"(n_groups = 8
layers.{0-63}.mixer.{in_proj_z,in_proj_x}.weight 8192x4096
layers.{0-63}.mixer.{in_proj_B,in_proj_C}.weight 1024x4096
layers.{0-63}.mixer.out_proj.weight 4096x8192)",
     "", 16, shardwise::finding_kind::does_not_divide,
     "error: layers.*.mixer.{in_proj_B,in_proj_C} have 8 n_groups, 16 ranks: legal sizes are 1, 2, 4, 8; use tp 8, or "
     "pad to 16 n_groups (8 more)",
     8, fault_plans::mamba},
    {"a norm over all queries was taken of a rank's part: wrong text",
     "sgl-project/sglang#20967 vllm-project/vllm#38191", "olmo2_7b", "",
     "model.layers.*.self_attn.{q_proj,k_proj,v_proj} colwise\nmodel.layers.*.self_attn.o_proj rowwise", 2,
     shardwise::finding_kind::norm_over_cut_axis,
     "error: model.layers.*.self_attn.q_norm is a norm over all 4096 features that model.layers.*.self_attn.q_proj "
     "(colwise) leaves cut: each rank would take the mean of its part; use colwise_gather_output for q_proj, k_proj "
     "and v_proj, and rowwise_split_input for o_proj"},
    {"queries, keys and values side by side in one linear-attention weight were cut as if they were one",
     "NVIDIA/Megatron-LM#1989", "qwen3_5_35b_a3b", "",
     "model.language_model.layers.*.linear_attn.{in_proj_qkv,in_proj_z,in_proj_b,in_proj_a} colwise\n"
     "model.language_model.layers.*.linear_attn.out_proj rowwise",
     2, shardwise::finding_kind::packed_cut_plainly,
     "error: model.language_model.layers.*.linear_attn.in_proj_qkv is q|k|v side by side, 8192 rows, and colwise cuts "
     "it as one: the first ranks get parts of q only, the last of v; its parts are not equally large: use "
     "colwise_gather_output, and rowwise_split_input for model.language_model.layers.*.linear_attn.out_proj"},
    {"`in_proj_ba`, interleaved by head, was split at its midpoint", "vllm-project/vllm#36242", "qwen3_next_80b", "",
     "model.layers.*.linear_attn.in_proj_qkvz colwise\nmodel.layers.*.linear_attn.in_proj_ba packed_colwise\n"
     "model.layers.*.linear_attn.out_proj rowwise",
     2, shardwise::finding_kind::groups_unlike,
     "error: model.layers.*.linear_attn.in_proj_ba (64 features) is cut as 2 groups, and "
     "model.layers.*.linear_attn.out_proj (4096 features), which takes its output, as 1: a rank's parts do not belong "
     "together; cut both as one: colwise for the first"},
    {"a rank's part of `in_proj_ba` was narrower than the kernel's smallest tile",
     "vllm-project/vllm#37562 vllm-project/vllm#36329",
     "qwen3_next_80b",
     "",
     "",
     4,
     shardwise::finding_kind::does_not_divide,
     "error: model.layers.*.linear_attn.in_proj_ba has 64 features, 4 ranks: pieces of 16, and the kernels take at "
     "least 64: legal sizes are 1; use tp 1, or make it whole: replicate(\"too small to cut\")",
     1,
     {},
     64},
    {"two shared experts in one weight were cut as if they were one", "NVIDIA/TensorRT-LLM#15297", "",
     R"(layers.{1-26}.mlp.shared_experts.gate_up_proj.weight 5632x2048
layers.{1-26}.mlp.shared_experts.down_proj.weight 2048x2816)",
     "", 2, shardwise::finding_kind::unlike_layout,
     "error: 'layers.*.mlp.shared_experts.gate_up_proj.weight' is 4 groups laid side by side, and packed_colwise cuts "
     "it as 2, so that each rank would get parts of the wrong ones; use colwise.groups(n)",
     0, fault_plans::shared_as_one, 0, fault_plans::two_shared_experts, fault_plans::shared_one_by_one},
    {"128 x 128 blocks of FP8 do not divide the shard", "sgl-project/sglang#3345 vllm-project/vllm#52997", "",
     R"(model.layers.{0-2}.mlp.{gate_proj,up_proj}.weight 18432x7168 F8_E4M3
model.layers.{0-2}.mlp.{gate_proj,up_proj}.weight_scale_inv 144x56 F32
model.layers.{0-2}.mlp.down_proj.weight 7168x18432 F8_E4M3
model.layers.{0-2}.mlp.down_proj.weight_scale_inv 56x144 F32
> model.layers.*.mlp.{gate_proj,up_proj} colwise
> model.layers.*.mlp.down_proj rowwise)",
     "", 32, shardwise::finding_kind::cut_inside_block,
     "error: model.layers.*.mlp.gate_proj has 18432 output features in quantisation blocks of 128, 32 ranks: pieces of "
     "576 end inside a block, whose scale two ranks would need; legal sizes are 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, "
     "36, 48; use tp 24, or pad to 20480 features",
     16},
    {"AWQ and GPTQ: \"input size is not aligned with the quantized weight shape\"",
     "vllm-project/vllm#5675 QwenLM/Qwen3-VL#831", "",
     R"(quantization_config.group_size = 128
model.layers.{0-79}.mlp.{gate_proj,up_proj}.weight 29568x8192 I8
model.layers.{0-79}.mlp.down_proj.weight 8192x29568 I8
> model.layers.*.mlp.{gate_proj,up_proj} colwise
> model.layers.*.mlp.down_proj rowwise)",
     "", 2, shardwise::finding_kind::cut_inside_block,
     "error: model.layers.*.mlp.down_proj has 29568 input features in quantisation blocks of 128, 2 ranks: pieces of "
     "14784 end inside a block, whose scale two ranks would need; legal sizes are 1, 3, 7, 11, 21, 33; use tp 1, or "
     "pad to 29696 features",
     1},
    {"scales of 16 in NVFP4 were cut: 232 features a rank", "vllm-project/vllm#49951 pytorch/ao#3233", "",
     R"(quantization_config.group_size = 16
model.layers.{0-51}.mlp.up_proj.weight 1856x2688 I8
model.layers.{0-51}.mlp.down_proj.weight 2688x1856 I8
> model.layers.*.mlp.up_proj colwise
> model.layers.*.mlp.down_proj rowwise)",
     "", 8, shardwise::finding_kind::cut_inside_block,
     "error: model.layers.*.mlp.down_proj has 1856 input features in quantisation blocks of 16, 8 ranks: pieces of 232 "
     "end inside a block, whose scale two ranks would need; legal sizes are 1, 2, 4, 29, 39, 58; use tp 4, or pad "
     "to 1920 features",
     4},
    {"29 groups of a quantised weight, a prime", "jundot/omlx#2844", "",
     R"(quantization_config.group_size = 64
model.layers.{0-51}.mlp.up_proj.weight 1856x2688 I8
model.layers.{0-51}.mlp.down_proj.weight 2688x1856 I8
> model.layers.*.mlp.up_proj colwise
> model.layers.*.mlp.down_proj rowwise)",
     "", 2, shardwise::finding_kind::cut_inside_block,
     "error: model.layers.*.mlp.down_proj has 1856 input features in quantisation blocks of 64, 2 ranks: pieces of 928 "
     "end inside a block, whose scale two ranks would need; legal sizes are 1, 29; use tp 1, or pad to 1920 features",
     1},
    {"the bias of a cut weight was whole", "ModelTC/LightX2V#1453", "qwen2_7b", "",
     "model.layers.*.self_attn.q_proj.bias replicate", 2, shardwise::finding_kind::bias_unlike_weight,
     "error: model.layers.*.self_attn.q_proj.bias is whole (replicate), and the outputs of "
     "model.layers.*.self_attn.q_proj.weight (colwise) are cut; let the rule name the module, so that it cuts both"},
    {"the bias of a row-cut weight was cut, or added once on every rank",
     "huggingface/text-generation-inference#1036 EleutherAI/gpt-neox#962", "phi_1_5", "",
     "model.layers.*.mlp.fc2.bias colwise", 2, shardwise::finding_kind::bias_unlike_weight,
     "error: model.layers.*.mlp.fc2.bias is cut (colwise), and model.layers.*.mlp.fc2.weight gives each rank all "
     "outputs (rowwise); leave its row out, or let the rule name the module"},
    {"tied head and embedding were cut in two ways, or one of them not at all",
     "foundation-model-stack/foundation-model-stack#331 sgl-project/sglang#16215", "qwen3_4b", "",
     "- model.embed_tokens", 2, shardwise::finding_kind::tied_unlike,
     "error: lm_head (colwise_gather_output) and model.embed_tokens (no rule) are tied, one storage, and "
     "model.embed_tokens has no row, so that it stays whole; add {\"model.embed_tokens\", embedding_rowwise}, and cut "
     "both on the vocabulary"},
    {"how tensors are split did not go together, and the engine aborted at run time",
     "ggml-org/llama.cpp#22793 ggml-org/llama.cpp#25829", "llama3_8b", "",
     "model.layers.*.mlp.{gate_proj,up_proj} replicate", 2, shardwise::finding_kind::whole_input,
     "error: model.layers.*.mlp.down_proj (rowwise) takes its part of a cut input, and "
     "model.layers.*.mlp.{gate_proj,up_proj} (replicate) hand on a whole one; make them colwise, or "
     "model.layers.*.mlp.down_proj rowwise_split_input"},
    {"a style was renamed, the old name unknown to a consumer, and every such weight whole",
     "vllm-project/vllm#22651 vllm-project/vllm#40467", "llama3_8b", "", "lm_head colwise_rep", 2,
     shardwise::finding_kind::renamed_style,
     "note: lm_head has the style 'colwise_rep', which Hugging Face has renamed; write 'colwise_gather_output'"},
    {"the patterns of a plan matched nothing", "meta-pytorch/torchtune#2379", "llama3_8b", "",
     "- model.layers.*.self_attn.q_proj\nlayers.*.self_attn.q_proj colwise", 2, shardwise::finding_kind::idle_rule,
     "warning: layers.*.self_attn.q_proj (colwise) matches no parameter and no module; did you mean "
     "model.layers.*.self_attn.q_proj?"},
    {"a policy missed `attention.dense`", "deepspeedai/DeepSpeed#3130 deepspeedai/DeepSpeed#7259", "phi_1_5", "",
     "- model.layers.*.self_attn.dense", 2, shardwise::finding_kind::cut_input,
     "error: model.layers.*.self_attn.dense (whole, without a rule) takes a whole input, and "
     "model.layers.*.self_attn.{q_proj,k_proj,v_proj} (colwise) hand on a rank's part of one; make "
     "model.layers.*.self_attn.dense rowwise, or model.layers.*.self_attn.{q_proj,k_proj,v_proj} "
     "colwise_gather_output"},
    {"the second layer of an MLP was cut as if it were the first: nonsense text", "Lightning-AI/litgpt#1663", "phi_1_5",
     "", "model.layers.*.mlp.fc2 colwise", 2, shardwise::finding_kind::cut_input,
     "error: model.layers.*.mlp.fc2 (colwise) takes a whole input, and model.layers.*.mlp.fc1 (colwise) hands on a "
     "rank's part of one; make model.layers.*.mlp.fc2 rowwise, or model.layers.*.mlp.fc1 colwise_gather_output"},
    {"a norm before a row-parallel layer: illegal memory access", "NVIDIA/TransformerEngine#2688", "llama3_8b",
     "model.layers.{0-31}.self_attn.attn_sub_norm.weight 4096\n"
     "> model.layers.*.self_attn.{q_proj,k_proj,v_proj} colwise_gather_output\n"
     "> model.layers.*.self_attn.o_proj rowwise_split_input",
     "model.layers.*.self_attn.{q_proj,k_proj,v_proj} colwise\nmodel.layers.*.self_attn.o_proj rowwise", 2,
     shardwise::finding_kind::norm_over_cut_axis,
     "error: model.layers.*.self_attn.attn_sub_norm is a norm over all 4096 features of which "
     "model.layers.*.self_attn.o_proj (rowwise) takes a part on each rank; use colwise_gather_output before it, and "
     "rowwise_split_input after it"},
    {"the tensor-parallel setting was ignored in silence", "huggingface/trl#5331", "llama3_8b", "", "- *", 2,
     shardwise::finding_kind::nothing_cut,
     "error: none of the 291 parameters is cut: each of 2 ranks holds the whole model and does the whole work; the "
     "plan has no rules: give one"},
    {"an output was gathered, and partitioned again", "tenstorrent/tt-xla#5511", "llama3_8b", "",
     "model.layers.*.mlp.{gate_proj,up_proj} colwise_gather_output\nmodel.layers.*.mlp.down_proj rowwise_split_input",
     2, shardwise::finding_kind::gathered_to_be_cut,
     "note: model.layers.*.mlp.gate_proj and 63 more are gathered, and what takes the output cuts it again; where "
     "nothing between needs the whole, colwise and rowwise save the gather"},
    {"the memory of a tensor-parallel split could not be told before it was loaded", "ggml-org/llama.cpp", "llama3_70b",
     "", "", 8, std::nullopt,
     "tp 8: 141 GB, 17.6 GB per rank; 161 all-reduces and 1 gather per token; nothing is wrong"},
};
