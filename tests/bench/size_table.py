# SPDX-License-Identifier: Apache-2.0
"""What a model costs on N ranks under Hugging Face's plan and by head, as README's table:
python size_table.py SHARDWISE N FILE.json...

Each file is a model's shapes. A rank's bytes are also given in Nths of the model: 1 is a cut that leaves nothing whole.
"""
import json
import os
import subprocess
import sys


def ask(*arguments):
    said = subprocess.run([program, *arguments, "--tp", ranks, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return json.loads(said.stdout)


def cells(of, model_bytes):
    if of is None:
        return "| |"
    share = of["bytes_per_rank"] * int(ranks) / model_bytes
    return "%.2f GB · %.4f | %d | %.0f kB" % (of["bytes_per_rank"] / 1e9, share, of["collectives"],
                                            of["sent_bytes_per_token"] / 1e3)


program, ranks, files = sys.argv[1], sys.argv[2], sys.argv[3:]
print("| model | hf: a rank | calls | sent | by head: a rank | calls | sent |")
print("|---|---|---|---|---|---|---|")
for file in files:
    model_bytes = ask("check", file, "--plan", "hf")["report"]["bytes"]
    both = ask("diff", file, "--plan", "hf", "--plan", "by_head")
    alone = both if "a" in both else ask("diff", file, "--plan", "hf", "--plan", "hf")  # no plan by head
    name = os.path.basename(file).removesuffix(".json")
    print("| %s, %.1f GB | %s | %s |" % (name, model_bytes / 1e9, cells(alone["a"], model_bytes),
                                          cells(both.get("b"), model_bytes)))
