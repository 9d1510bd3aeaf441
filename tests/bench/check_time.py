# SPDX-License-Identifier: Apache-2.0
"""How long `shardwise check` takes: python check_time.py SHARDWISE FILE.json...

Each file is a model's shapes. Of deepseek_v3.json a second one is made as the hub has it: experts one by one, a
weight_scale_inv beside each weight, and the layer that predicts the next token but one.
"""
import json
import os
import subprocess
import sys
import tempfile
import time


def as_on_the_hub(model):
    rows = []

    def add(name, shape):
        words = ("embed", "lm_head", "norm", "mlp.gate.", "shared_head", "eh_proj")
        if len(shape) == 2 and name.endswith(".weight") and not any(w in name for w in words):
            rows.append({"name": name, "shape": shape, "dtype": "F8_E4M3"})
            rows.append({"name": name + "_scale_inv", "shape": [-(-n // 128) for n in shape], "dtype": "F32"})
        else:
            rows.append({"name": name, "shape": shape, "dtype": "BF16"})

    def add_all(name, shape):
        if name.endswith("experts.gate_up_proj"):
            for e in range(shape[0]):
                for half in ("gate_proj", "up_proj"):
                    add(name.replace("gate_up_proj", "%d.%s.weight" % (e, half)), [shape[1] // 2, shape[2]])
        elif name.endswith("experts.down_proj"):
            for e in range(shape[0]):
                add(name.replace("down_proj", "%d.down_proj.weight" % e), shape[1:])
        else:
            add(name, shape)

    hidden, vocabulary = model["config"]["hidden_size"], model["config"]["vocab_size"]
    last = "model.layers.%d." % (model["config"]["num_hidden_layers"] - 1)
    more = "model.layers.%d." % model["config"]["num_hidden_layers"]
    for p in model["parameters"]:
        add_all(p["name"], p["shape"])
    for p in model["parameters"]:
        if p["name"].startswith(last):
            add_all(p["name"].replace(last, more), p["shape"])
    for name, shape in (("embed_tokens.weight", [vocabulary, hidden]), ("enorm.weight", [hidden]), ("hnorm.weight", [hidden]),
                        ("eh_proj.weight", [hidden, 2 * hidden]), ("shared_head.norm.weight", [hidden]),
                        ("shared_head.head.weight", [vocabulary, hidden])):
        add(more + name, shape)
    return {"config": model["config"], "parameters": rows}


def best_of(runs, command):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


with tempfile.TemporaryDirectory() as folder:
    files = sys.argv[2:]
    for file in sys.argv[2:]:
        if os.path.basename(file) == "deepseek_v3.json":
            with open(file) as f:
                model = as_on_the_hub(json.load(f))
            files.append(os.path.join(folder, "deepseek_v3_expert_by_expert.json"))
            with open(files[-1], "w") as f:
                json.dump(model, f)
    for file in files:
        with open(file) as f:
            names = len(json.load(f)["parameters"])
        seconds = best_of(7, [sys.argv[1], "check", file, "--tp", "8"])
        print("%-40s %6d names  %7.1f ms" % (os.path.basename(file), names, seconds * 1e3))
