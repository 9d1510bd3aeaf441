#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes conversions.json and renamed.json here of the oracle's conversions.json and tables/.

    reduce.py ORACLE

conversions.json: for each list of transforms, the model types and classes that have it, and names that some transform
of it matches (its regular expression with a number for \\d+, each of its alternatives, ...) with what the list makes of
them, by the expressions themselves as Hugging Face applies them: all renamings in turn, then at most one converter,
whose operations stand third.
renamed.json: of each table that has any, what conversions depend on of its config, and its `renamed` column.
"""
import itertools
import json
import pathlib
import re
import sys

oracle = pathlib.Path(sys.argv[1])
here = pathlib.Path(__file__).parent


def operations(transform):
    out = []
    for op in transform["operations"]:
        name = op["op"]
        if name in ("Chunk", "Concatenate", "Interleave", "Split"):
            name += f"({op['dim']})"
        if name == "Transpose":
            name += f"({op['dim0']}, {op['dim1']})"
        out.append(name)
    return " ".join(out)


def apply(transform, name):
    m = re.search(transform["regex"], name)
    if m is None:
        return None
    group, _ = next((k, v) for k, v in m.groupdict().items() if v is not None)
    grouped = transform["kind"] == "GroupWeightRename"
    to = transform["targets"][int(group[1:]) if grouped else 0]
    if "\\1" in to:
        found = m.group(re.compile(transform["regex"]).groupindex[group] + 1)
        if "offset" in transform:
            found = str(int(found) + transform["offset"])
        to = to.replace("\\1", found)
    return name.replace(m.group(0), to.replace("\\.", "."), 1)


def convert(transforms, name):
    for t in transforms:
        if t["kind"] != "WeightConverter":
            name = apply(t, name) or name
    for t in transforms:
        if t["kind"] == "WeightConverter" and apply(t, name) is not None:
            return apply(t, name), operations(t)
    return name, ""


def alternatives(source):
    """Names that `source` matches: what it says of what is around is left out, numbers are 7, any text is `a.3.b`."""
    s = re.sub(r"\(\?<?!(?:[^()]|\([^()]*\))*\)", "", source)
    s = re.sub(r"\(\?:\)", "", s)
    s = s.replace(r"(\d+)", "7").replace(r"\d+", "7").replace("(.+)", "a.3.b").replace("*", "5").replace("[123]", "2")
    choices = [
        c[1:-1].split("|") if c.startswith("(") and c.endswith(")") else [c]
        for c in re.split(r"(\([^()]*\))", s)
        if c
    ] or [[""]]
    for parts in itertools.product(*choices):
        yield "".join(parts).replace("\\.", ".")


def examples(transforms):
    names = []
    for t in transforms:
        for source in t["sources"]:
            for text in alternatives(source):
                start = text.startswith("^")
                text = text.replace("^", "")
                before = "" if start or text.startswith("model.") else "model.layers.3" if text.startswith(".") else "x."
                after = "" if re.search(r"(weight|bias)$", text) else "weight" if text.endswith(".") else ".weight"
                names.append((before + text + after).strip("."))
                if not start:
                    names.append((text + after).strip("."))
    rows = []
    for name in dict.fromkeys(names):
        made, ops = convert(transforms, name)
        if made != name or ops:
            rows.append([name, made, ops] if ops else [name, made])
    return rows


def dump(path, rows):
    path.write_text("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n")


lists = {}
for key, entry in json.loads((oracle / "conversions.json").read_text())["entries"].items():
    lists.setdefault(json.dumps(entry["transforms"]), []).append(key)
dump(
    here / "conversions.json",
    [{"keys": keys, "transforms": len(json.loads(t)), "names": examples(json.loads(t))} for t, keys in lists.items()],
)

tables = []
for path in sorted((oracle / "tables").glob("*.json")):
    table = json.loads(path.read_text())
    config = {k: table["config"].get(k) for k in ("architectures", "model_type")}
    for section, value in table["config"].items():
        if section.endswith("_config") and isinstance(value, dict) and "model_type" in value:
            config[section] = {"model_type": value["model_type"]}
    row = {"config": config, "renamed": [r[:2] for r in table["renamed"]]}
    if row not in tables and (table["renamed"] or table.get("conversions")):
        tables.append(row)
dump(here / "renamed.json", tables)
