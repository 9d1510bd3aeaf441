# SPDX-License-Identifier: Apache-2.0
"""Reduces the oracle's plans.json and tables/ to what tests/models reads: python reduce.py ORACLE OUT

plans.json: per distinct pair of merged plans, the classes that have it and the plans, by segments of the patterns; the
style of a pattern that others go on from is under "".
names.json: per class of tables/, its parameters' names, one for each that differs in more than numbers, by segments; the
parameters of a module are a text under it, or under "" if it has modules too. `unruled` counts those without a rule.
"""
import json
import pathlib
import re
import sys


def dump(value, out):
    out.write_text(json.dumps(value, separators=(",", ":"), sort_keys=True).replace('{"classes"', '\n{"classes"') + "\n")


def sections(config, prefix=""):
    found = {}
    for key, value in config.items():
        if isinstance(value, dict) and (key.endswith("_config") or key in ("encoder", "decoder")):
            if value.get("model_type"):
                found[prefix + key] = value["model_type"]
            found |= sections(value, prefix + key + ".")
    return found


def described(entry):
    config = entry["config"]
    return {"architecture": config["architectures"][0], "model_type": config["model_type"],
            "sections": sections(config)}


def nested(rows):
    root = {}
    for path, style in rows:
        node = root
        for segment in path.split("."):
            node = node.setdefault(segment, {})
        node[""] = style

    def fold(node):
        if list(node) == [""]:
            return node[""]
        return {k: v if k == "" else fold(v) for k, v in node.items()}
    return fold(root) if root else {}


def modules(names):
    root = {}
    for name in names:
        node = root
        *path, last = name.split(".")
        for segment in path:
            node = node.setdefault(segment, {})
        node[""] = (node.get("", "") + " " + last).strip()

    def fold(node):
        if list(node) == [""]:
            return node[""]
        return {k: v if k == "" else fold(v) for k, v in node.items()}
    return fold(root)


def main():
    oracle, out = map(pathlib.Path, sys.argv[1:])
    source = json.loads((oracle / "plans.json").read_text())
    plans = {}
    for entry in source["classes"].values():
        pair = nested(entry["merged_tp_plan"]), nested(entry["merged_ep_plan"])
        known = plans.setdefault(json.dumps(pair, sort_keys=True), {"classes": [], "tp": pair[0], "ep": pair[1]})
        if described(entry) not in known["classes"]:
            known["classes"].append(described(entry))
    dump({"transformers": source["transformers"], "plans": list(plans.values())}, out / "plans.json")

    tables = {}
    for path in sorted((oracle / "tables").glob("*.json")):
        entry = json.loads(path.read_text())
        unruled = set(entry["unruled"])
        names = {}  # wildcard and whether it has a rule -> one name
        for p in entry["parameters"]:
            wildcard = re.sub(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)", "*", p["name"])
            names.setdefault((wildcard, p["name"] in unruled), p["name"])
        row = {"classes": [described(entry)], "unruled": sum(holes for _, holes in names),
               "parameters": modules(names.values())}
        same = json.dumps([row["unruled"], row["parameters"]], sort_keys=True)
        known = tables.setdefault(same, row)
        if known is not row and described(entry) not in known["classes"]:
            known["classes"] += row["classes"]
    dump({"tables": list(tables.values())}, out / "names.json")


main()
