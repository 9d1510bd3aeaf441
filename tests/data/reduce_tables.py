# SPDX-License-Identifier: Apache-2.0
"""Makes cuts.json out of the tables of Hugging Face's own cuts: python reduce_tables.py TABLES_FOLDER > cuts.json

Of the parameters that have name (but for numbers), shape, class and cuts in common, two are kept, and one where they
are whole. Nothing is computed: intervals are written as the bounds between ranks, one list for each group of a packed
dim, and read back to be sure.

texts     [[n, rest], ...]: n bytes of the text before, and the rest
shapes    [[extent, ...], ...]
bounds    {"dim", "<size>": [[bound, ...] for each group]} or {"error": [sizes]}, keyed by size
tables    name, tp and ep: the plan [[pattern, style], ...] or null, sizes, and an error for the whole plan;
          rows [name, shape, class, tp cut or -1, ep cut or -1, first's numbers, last's numbers], or
          [name, shape, class, numbers] of what is whole; others: names that are refused and no parameters.
Numbers stand for texts, shapes and bounds, but for those of a name.
"""
import glob
import json
import os
import re
import sys

texts, shapes, bounds = {}, {}, {}


def index(table, key):
    return table.setdefault(key, len(table))


def wildcard(name):
    return re.sub(r"\.\d+(\.|$)", lambda m: ".*" + m.group(1), name)


def looked_up(cuts, name):
    return cuts.get(name, cuts.get(wildcard(name)))


def groups_of(intervals):
    """The bounds of each group of a dim that is cut over ranks."""
    n = max(len(i) for i in intervals)
    groups = []
    for g in range(n):
        ends = [i[g] if g < len(i) else None for i in intervals]
        first = ends[0][0]
        edges = [first]
        for e in ends:
            assert e is None or e[0] == edges[-1]
            edges.append(e[1] if e else edges[-1])
        groups.append(edges)
    back = [[[g[r], g[r + 1]] for g in groups if g[r] < g[r + 1]] for r in range(len(intervals))]
    assert back == intervals, (intervals, back)
    return groups


def cut_of(by_size, name):
    """The cuts of a name at all sizes, as an index; -1 if it is whole at all."""
    found = {size: looked_up(cuts, name) for size, cuts in by_size.items() if "error" not in cuts}
    if all(c is None for c in found.values()):
        return -1
    row = {}
    for size, c in found.items():
        assert c is not None
        if "error" in c:
            row.setdefault("error", []).append(int(size))
            continue
        assert row.setdefault("dim", c["dim"]) == c["dim"] and set(c) == {"dim", "intervals"}
        row[size] = groups_of(c["intervals"])
    return index(bounds, json.dumps(row, separators=(",", ":")))


def half(table, kind):
    plan, cuts = table["merged_%s_plan" % kind], table["cuts" if kind == "tp" else "ep_cuts"] or {}
    return {
        "plan": [[index(texts, p), index(texts, s)] for p, s in plan],
        "sizes": [int(s) for s in cuts],
        "refused": [int(s) for s, c in cuts.items() if "error" in c],
    }


tables = []
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.json"))):
    with open(path) as f:
        table = json.load(f)
    tp, ep = table["cuts"], table["ep_cuts"] or {}
    rows = {}
    for p in table["parameters"]:
        name = p["name"]
        numbers = [int(n) for n in re.findall(r"\.(\d+)(?=\.|$)", name)]
        starred = re.sub(r"\.\d+(?=\.|$)", ".*", name)
        key = (index(texts, starred), index(shapes, tuple(p["shape"])), index(texts, p["module_class"]), cut_of(tp, name), cut_of(ep, name))
        rows.setdefault(key, []).append(numbers)
    names = {p["name"] for p in table["parameters"]} | {wildcard(p["name"]) for p in table["parameters"]}
    others = sorted({n for half_cuts in (tp, ep) for c in half_cuts.values() if "error" not in c for n in c if n not in names})
    tables.append({
        "name": os.path.basename(path)[:-5],
        "tp": half(table, "tp"),
        "ep": half(table, "ep"),
        "rows": [[*k[:3], n[0]] if k[3] == k[4] == -1 else [*k, n[0]] + n[1:][-1:] for k, n in rows.items()],
        "others": others,
    })

order = sorted(texts)
place = {texts[t]: i for i, t in enumerate(order)}
front, before = [], ""
for t in order:
    n = len(os.path.commonprefix([before, t]))
    front.append([n, t[n:]])
    before = t
for t in tables:
    for kind in ("tp", "ep"):
        t[kind]["plan"] = [[place[p], place[s]] for p, s in t[kind]["plan"]]
    t["rows"] = [[place[r[0]], r[1], place[r[2]], *r[3:]] for r in t["rows"]]


def line(value):
    return json.dumps(value, separators=(",", ":"))


print('{"texts":[\n' + ",\n".join(line(front[i:i + 8])[1:-1] for i in range(0, len(front), 8)) + '\n],\n"shapes":' + line(list(shapes)) + ',\n"bounds":[\n' +
      ",\n".join(bounds) + '\n],\n"tables":[\n' + ",\n".join(map(line, tables)) + "\n]}")
