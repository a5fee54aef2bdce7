#!/usr/bin/env python3
"""The tables of vm.sh, from lines `set program tool user system peak-KiB`, one a run.

A ratio is the median over rounds of a tool's user time against the native one of the same round and
set; its interval is the range that the median has with 95% (order statistics), or the whole range
when there are fewer than six rounds. SPDX-License-Identifier: MIT
"""
import math
import statistics
import sys


def read(path):
    runs = {}
    for line in open(path):
        kind, program, tool, user, system, peak = line.split()
        runs.setdefault((kind, program), {}).setdefault(tool, []).append(
            (float(user), float(system), int(peak)))
    return runs


def interval(values):
    values, n = sorted(values), len(values)
    skip, tail = 0, 0.0
    for k in range(n // 2):
        tail += math.comb(n, k) / 2.0**n
        if 2 * tail > 0.05:
            break
        skip = k + 1
    return (values[max(skip - 1, 0)], values[n - max(skip, 1)])


def ratios(tools, tool, to="native"):
    """Paired by round; a tool that ran in fewer rounds is paired with the first ones."""
    return [a[0] / b[0] for a, b in zip(tools.get(tool, []), tools.get(to, [])) if b[0] > 0]


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def slowdowns(runs, kind, names, tools):
    rows = [(n, runs[kind, n]) for n in names if (kind, n) in runs]
    if not rows:
        return
    print("\nuser time against native, median of rounds (%s runs)" % kind)
    print("%-16s %9s" % ("", "native s") + "".join(" %10s" % t for t in tools))
    for name, row in rows:
        native = statistics.median(r[0] for r in row["native"])
        cells = [ratios(row, t) for t in tools]
        print("%-16s %9.2f" % (name, native) +
              "".join(" %10s" % ("%.2f" % statistics.median(c) if c else "-") for c in cells))
    if len(rows) > 1:
        cells = [[statistics.median(ratios(r, t)) for _, r in rows if ratios(r, t)] for t in tools]
        print("%-16s %9s" % ("geometric mean", "") +
              "".join(" %10s" % ("%.2f" % geometric(c) if len(c) == len(rows) else "-") for c in cells))


def intervals(runs, kind, names, tools):
    """Slowdowns of the engines, each with its interval."""
    if tools:
        print("\nuser time against native, with intervals (%s runs)" % kind)
    for name in names:
        row = runs.get((kind, name), {})
        cells = []
        for tool in tools:
            values = ratios(row, tool)
            if values:
                cells.append("%s %.2f [%.2f, %.2f]" % ((tool, statistics.median(values)) + interval(values)))
        if cells:
            print("%-16s %s" % (name, "  ".join(cells)))


def against(runs, kind, names, pairs):
    """Ratios of two tools with their intervals."""
    for tool, to in pairs:
        for name in names:
            row = runs.get((kind, name), {})
            values = ratios(row, tool, to)
            if values:
                low, high = interval(values)
                print("%-16s %s / %s  %.2f [%.2f, %.2f] (%d rounds)" %
                      (name, tool, to, statistics.median(values), low, high, len(values)))


def memory(runs, kind, names, tools):
    print("\npeak memory in MiB, and bound (native + 20% + 100 MiB)")
    for name in names:
        row = runs.get((kind, name))
        if row is None:
            continue
        native = max(r[2] for r in row["native"]) / 1024
        cells = ["%s %.0f" % (t, max(r[2] for r in row[t]) / 1024) for t in tools if t in row]
        print("%-16s native %.0f  %s  bound %.0f" % (name, native, "  ".join(cells), native * 1.2 + 100))


def main():
    runs = read(sys.argv[1])
    tools = {"long": [], "short": []}
    for (kind, _), row in runs.items():
        tools[kind] += [t for t in row if t != "native" and t not in tools[kind]]
    small = ["integer", "strings", "floats"]
    real = list(dict.fromkeys(n for _, n in runs if n not in small[:2]))
    for kind in ("long", "short"):
        slowdowns(runs, kind, [n for n in real if n != "floats" or kind == "long"], tools[kind])
        slowdowns(runs, kind, small, tools[kind])
    names = list(dict.fromkeys(n for _, n in runs))
    engines = ("switch", "indirect", "threaded", "translate", "auto")
    for kind in ("long", "short"):
        intervals(runs, kind, names, [t for t in engines if t in tools[kind]])
    print("\nthe interpreters against each other")
    against(runs, "short", names, [("switch", "indirect"), ("indirect", "threaded")])
    if any("auto" in row and "bolt" in row for row in runs.values()):
        print("\nagainst BOLT's own instrumentation")
        against(runs, "long", names, [("auto", "bolt")])
    if any("auto-plain" in row for row in runs.values()):
        print("\nwhat counting the targets of indirect branches costs")
        against(runs, "long", names, [("auto", "auto-plain")])
    memory(runs, "long", names, ["auto", "threaded"])


main()
