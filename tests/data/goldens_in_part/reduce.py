#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies the golden models whose local tensors are compared, and which nothing else runs, with one layer of each kind.

    reduce.py ORACLE/goldens
"""
import json
import pathlib
import re
import struct
import sys

here = pathlib.Path(__file__).parent
KEPT = {
    "deepseek_v3": r"layers\.[01]\.|^model\.norm",
}


def kept(name, names):
    return {k: v for k, v in names.items() if re.search(KEPT[name], k)}


for name in KEPT:
    source, target = pathlib.Path(sys.argv[1]) / name, here / name
    target.mkdir(exist_ok=True)
    read = lambda file: json.loads((source / file).read_text())
    write = lambda file, value: (target / file).write_text(json.dumps(value, indent=1) + "\n")
    write("config.json", read("config.json"))
    expert = (source / "ep2.json").exists()
    write("plan.json", {kind: read("plan.json")[kind] for kind in ["tp_plan"] + ["ep_plan"] * expert})
    for tp in ["tp2.json", "tp4.json"] + ["ep2.json"] * expert:
        ranks = [kept(name, rank) for rank in read(tp)["ranks"]]
        write(tp, {"ranks": [{k: {"sha256": v["sha256"]} for k, v in rank.items()} for rank in ranks]})

    data = (source / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, end, body = {}, 0, b""
    for tensor, info in kept(name, json.loads(data[8 : 8 + length])).items():
        begin, stop = info["data_offsets"]
        body += data[8 + length + begin : 8 + length + stop]
        header[tensor] = {**info, "data_offsets": [end, end + stop - begin]}
        end += stop - begin
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
