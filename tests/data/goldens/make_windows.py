# SPDX-License-Identifier: Apache-2.0
"""Makes the goldens below by Hugging Face's own code: what the goldens of these types do not have.

A window of attention, experts in some layers only and shares that are not normed, biases of the attention or none, a
tied head or none; clamps that bind, capped logits, factors of longrope for long sequences, other stretched ropes.

    OMP_NUM_THREADS=1 python make_windows.py FOLDER     # torch 2.15.0, transformers 5.23.0, safetensors
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, GptOssConfig, GptOssForCausalLM, MixtralConfig,
                          MixtralForCausalLM, Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM,
                          Qwen3MoeConfig, Qwen3MoeForCausalLM)

NEW_TOKENS = 25
COMMON = dict(vocab_size=96, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
              max_position_embeddings=128, pad_token_id=None, bos_token_id=None, eos_token_id=None)
MODELS = {
    "qwen3_moe_window": (16, Qwen3MoeForCausalLM, Qwen3MoeConfig(
        **COMMON, num_hidden_layers=4, intermediate_size=24, moe_intermediate_size=8, num_experts=6,
        num_experts_per_tok=3, norm_topk_prob=False, decoder_sparse_step=2, mlp_only_layers=[1], attention_bias=True,
        use_sliding_window=True, sliding_window=5, tie_word_embeddings=True, rope_theta=50000.0)),
    "mixtral_window": (1, MixtralForCausalLM, MixtralConfig(
        **COMMON, num_hidden_layers=3, intermediate_size=10, num_local_experts=5, num_experts_per_tok=3,
        sliding_window=4, rms_norm_eps=1e-3)),
    "gpt_oss_window": (18, GptOssForCausalLM, GptOssConfig(
        **COMMON, num_hidden_layers=3, intermediate_size=10, num_local_experts=5, num_experts_per_tok=3,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"], sliding_window=3,
        attention_bias=False, swiglu_limit=0.8, swiglu_alpha=1.3, rope_parameters={
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 5000.0})),
    "phi3_window": (18, Phi3ForCausalLM, Phi3Config(
        **{**COMMON, "head_dim": 8}, num_hidden_layers=3, intermediate_size=22, sliding_window=4, rms_norm_eps=1e-3,
        original_max_position_embeddings=8, rope_parameters={
            "rope_type": "longrope", "partial_rotary_factor": 0.75, "rope_theta": 5000.0,
            "short_factor": [1.0, 1.5, 2.0], "long_factor": [2.0, 4.0, 5.0]})),
    "gemma3_text_window": (22, Gemma3ForCausalLM, Gemma3TextConfig(
        **COMMON, num_hidden_layers=3, intermediate_size=22, sliding_window=3, query_pre_attn_scalar=10,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"], final_logit_softcapping=1.5,
        attention_bias=True, tie_word_embeddings=False, rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 70000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 3000.0}})),
    "olmo2_yarn": (20, Olmo2ForCausalLM, Olmo2Config(
        **COMMON, num_hidden_layers=3, intermediate_size=22, rms_norm_eps=1e-2, attention_bias=True, rope_parameters={
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 5000.0,
            "mscale": 1.2, "mscale_all_dim": 0.7, "beta_fast": 16, "truncate": False})),
}


def fill(model, generator):
    """Weights that are spread enough for an error to show."""
    for name, p in model.named_parameters():
        values = torch.randn(p.shape, generator=generator)
        if p.dim() == 1:
            centred = name.endswith(("bias", "sinks")) or model.config.model_type == "gemma3_text"
            p.copy_((0.0 if centred else 1.0) + 0.3 * values)
        elif name.endswith("bias"):
            p.copy_(0.3 * values)
        else:
            fan_in = p.shape[-2 if name.endswith("_proj") and model.config.model_type == "gpt_oss" else -1]
            scale = 1.0 if "embed" in name else 1.4 / fan_in ** 0.5
            p.copy_(scale * (2 if name.endswith(("gate.weight", "router.weight")) else 1) * values)
    if model.config.tie_word_embeddings:
        model.get_input_embeddings().weight.mul_(0.4)


def watch_routers(model):
    """The distances between the last expert that is asked and the first that is not, in logits."""
    gaps = []

    def see(router, _, out):
        scores = out[0].float().sort(-1, descending=True)[0]
        gaps.append((scores[:, router.top_k - 1] - scores[:, router.top_k]).min().item())

    for module in model.modules():
        if type(module).__name__.endswith("TopKRouter"):
            module.register_forward_hook(see)
    return gaps


@torch.no_grad()
def make(folder, seed, cls, config):
    torch.manual_seed(seed)
    model = cls._from_config(config, attn_implementation="eager", dtype=torch.float32)
    model.config._experts_implementation = "eager"
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    fill(model, generator)
    model.save_pretrained(folder)
    for name in os.listdir(folder):
        if name not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(folder, name))
    ids = torch.randint(0, config.vocab_size, (2, 14), generator=generator)
    gaps = watch_routers(model)
    logits = model(input_ids=ids, use_cache=False).logits
    save_file({"logits": logits.contiguous()}, os.path.join(folder, "expected.safetensors"))

    prompt = torch.randint(0, config.vocab_size, (1, 9), generator=generator)
    seen, tokens, steps = prompt, [], []
    for _ in range(NEW_TOKENS):
        best = model(input_ids=seen, use_cache=False).logits[0, -1].topk(2)
        steps.append((best[0][0] - best[0][1]).item())
        tokens.append(int(best[1][0]))
        seen = torch.cat([seen, torch.tensor([[tokens[-1]]])], 1)
    cached = model.generate(prompt, max_new_tokens=NEW_TOKENS, do_sample=False)[0, prompt.shape[1]:].tolist()
    exact = model.double()(input_ids=ids, use_cache=False).logits

    def write(name, content, **how):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file, **how)

    write("inputs.json", {"input_ids": ids.tolist()})
    write("greedy.json", {"input_ids": prompt.tolist(), "tokens": tokens})
    write("about.json", {
        "transformers": transformers.__version__, "torch": torch.__version__, "seed": seed, "dtype": "float32",
        "attention": "eager", "experts": "eager", "min_router_gap": min(gaps, default=None), "min_token_gap": min(steps),
        "max_abs_logit": logits.abs().max().item(), "max_abs_logits_diff_float64": (exact - logits).abs().max().item(),
        "logits_std": logits.std().item(), "cached_tokens_are_the_same": cached == tokens}, indent=1)


if __name__ == "__main__":
    for name, (seed, cls, config) in MODELS.items():
        os.makedirs(os.path.join(sys.argv[1], name), exist_ok=True)
        make(os.path.join(sys.argv[1], name), seed, cls, config)
