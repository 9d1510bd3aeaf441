#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How fast the rules of DeepSeek-V3's plan are found for its parameters with the experts one by one: shardwise, RE2's
# set (where bench_matching was built with it), and Hugging Face's own lookup (where PYTHON can import transformers).
# Prints a JSON line for each, medians, and the ratios; the two programs run in turn, so that what else the machine does
# meets both.
#   tests/bench/matching.sh BUILD_DIR [TURNS=5]        PYTHON=python3
set -euo pipefail
bench=${1:?usage: matching.sh BUILD_DIR [TURNS]}/tests/bench/bench_matching
turns=${2:-5}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/rules" << 'RULES'
model.embed_tokens embedding_rowwise
model.layers.*.self_attn.q_b_proj colwise
model.layers.*.self_attn.kv_a_proj_with_mqa mla_kv_a_proj
model.layers.*.self_attn.kv_b_proj colwise
model.layers.*.self_attn.o_proj rowwise
model.layers.*.mlp.gate_proj colwise
model.layers.*.mlp.up_proj colwise
model.layers.*.mlp.down_proj rowwise
model.layers.*.mlp.experts.*.gate_proj colwise
model.layers.*.mlp.experts.*.up_proj colwise
model.layers.*.mlp.experts.*.down_proj rowwise
model.layers.*.mlp.shared_experts.gate_proj colwise
model.layers.*.mlp.shared_experts.up_proj colwise
model.layers.*.mlp.shared_experts.down_proj rowwise
lm_head colwise_gather_output
RULES

# 61 layers, of which the first 3 are dense and the others have 256 experts, and one next-token layer; each linear with
# a scale.
awk 'function linear(name) { print name ".weight"; print name ".weight_scale_inv" }
     BEGIN {
       print "model.embed_tokens.weight"
       split("q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj", attention, " ")
       split("gate_proj up_proj down_proj", mlp, " ")
       split("input_layernorm post_attention_layernorm self_attn.q_a_layernorm self_attn.kv_a_layernorm", norm, " ")
       for (l = 0; l < 62; ++l) {
         at = "model.layers." l "."
         if (l >= 3) { print at "mlp.gate.weight"; print at "mlp.gate.e_score_correction_bias" }
         for (i = 1; i <= 5; ++i) linear(at "self_attn." attention[i])
         for (e = 0; e < 256 && l >= 3; ++e) for (i = 1; i <= 3; ++i) linear(at "mlp.experts." e "." mlp[i])
         for (i = 1; i <= 3; ++i) linear(at (l < 3 ? "mlp." : "mlp.shared_experts.") mlp[i])
         for (i = 1; i <= 4; ++i) print at norm[i] ".weight"
       }
       split("eh_proj enorm hnorm shared_head.norm shared_head.head embed_tokens", extra, " ")
       for (i = 1; i <= 6; ++i) print "model.layers.61." extra[i] ".weight"
       print "model.norm.weight"
       print "lm_head.weight"
     }' > "$work/names"

cat > "$work/lookup.py" << 'PYTHON'
import sys, time
from transformers.distributed.parallel_utils import _get_parameter_plan
names = open(sys.argv[1]).read().split("\n")[:-1]
plan = dict(line.split() for line in open(sys.argv[2]))
took = []
for _ in range(3):
    start = time.perf_counter()
    for name in names:
        _get_parameter_plan(name, plan)
    took.append(time.perf_counter() - start)
print('{"name": "hf_get_parameter_plan", "names": %d, "seconds": %.6f}' % (len(names), sorted(took)[1]))
PYTHON
for ((turn = 0; turn < turns; ++turn)); do
  "$bench" "$work/names" "$work/rules" 9
  "$python" "$work/lookup.py" "$work/names" "$work/rules" 2> /dev/null || true
done > "$work/lines"

median() {  # NAME
  sed -n "s/.*\"name\": \"$1\", \"names\": [0-9]*, \"seconds\": \([0-9.]*\).*/\1/p" "$work/lines" | sort -n |
    awk '{ t[NR] = $1 } END { if (NR != 0) print t[int((NR + 1) / 2)] }'
}
names=$(wc -l < "$work/names")
ours=$(median shardwise_rule_index)
for name in shardwise_rule_index shardwise_rule_by_rule re2_set hf_get_parameter_plan; do
  seconds=$(median $name)
  if [ -z "$seconds" ]; then
    echo "$name: not measured"
    continue
  fi
  awk -v name=$name -v n="$names" -v s="$seconds" -v ours="$ours" 'BEGIN {
    printf "{\"name\": \"%s\", \"names\": %d, \"ms\": %.2f, \"names_per_s\": %.0f, \"times_ours\": %.2f}\n", name, n, s * 1e3, n / s, s / ours }'
done
