#!/usr/bin/env python3
"""Prints what burst.sh measured: cost, coverage, kept reduction. Exit status 1: a limit is missed.

  burst_table.py DIR NAME...

Coverage: the instructions of the exact profile, most often executed first, down to 90% of all
executions, are K. The K instructions that the burst profile ranks first are summed by their exact
counts. Instructions, not blocks: the two profiles cut blocks at different places.
SPDX-License-Identifier: MIT
"""
import json
import random
import re
import statistics
import sys

LIMIT_COST, LIMIT_SHARE = 1.05, 0.90


def blocks(path):
    """{(module, start): (size, instructions, count)} of `respin report --records`."""
    found, module = {}, ""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if line.startswith("module "):
                module = line[7:].strip()
            elif line.startswith("block "):
                found[module, int(words[1], 16)] = (int(words[2], 0), int(words[3]), int(words[4]))
    return found


def by_byte(found):
    """Executions by (module, byte), weighted so that a block's bytes sum up to its instructions."""
    counts = {}
    for (module, start), (size, insns, count) in found.items():
        for byte in range(start, start + size):
            key = module, byte
            counts[key] = counts.get(key, 0) + count * insns / size
    return counts


def coverage(exact, bursts):
    exact, bursts = by_byte(exact), by_byte(bursts)
    ranked = sorted(exact.values(), reverse=True)
    limit, most, n = 0.9 * sum(ranked), 0.0, 0
    while most < limit:
        most += ranked[n]
        n += 1
    chosen = sorted(bursts, key=lambda key: (-bursts[key], key))[:n]
    return sum(exact.get(key, 0) for key in chosen) / most


def interval(ratios):
    """Median, and its 95% interval by resampling."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[-51]


def runs(path):
    """Lists of (cpu, wall, rest) in seconds, by kind of run."""
    found = {"native": [], "burst": []}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            kind, *figures = line.split()
            found.setdefault(kind, []).append(tuple(map(float, figures)))
    return found


def saved(path):
    """Share of taken branches that went, in the changed modules."""
    taken = False
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            taken = taken or "taken branches" in line
            found = re.search(r"in the changed modules.*?([-+−]?[0-9.]+)%\s*$", line)
            if taken and found:
                return -float(found.group(1).replace("−", "-"))
    return float("nan")


def missed(words, good):
    return words if good else words + " MISSED"


def cost(native, burst, column, what):
    median, low, high = interval([b[column] / n[column] for n, b in zip(native, burst)])
    return missed(f"  cost, {what:9} {median:.3f} [{low:.3f}, {high:.3f}]", high < LIMIT_COST)


def describe(where, name):
    """The lines of one program."""
    pairs = runs(f"{where}/{name}/pairs")
    native, burst = pairs["native"], pairs["burst"]
    with open(f"{where}/{name}/burst.json", encoding="utf-8") as file:
        profile = json.load(file)
    spent = sum(run[0] for run in burst)
    looks = profile["bursts"]
    yield f"{name}: {len(burst)} pairs, {spent:.1f} s of CPU time under burst mode, {profile['processes']} processes"
    yield cost(native, burst, 0, "CPU time")
    yield cost(native, burst, 1, "run time")
    yield (f"  in bursts       {100 * looks['spent_ns'] / looks['time_ns']:.2f}% of user time "
           f"({looks['taken']} of {looks['moments']} moments); watcher {100 * sum(r[2] for r in burst) / spent:.2f}%")
    share = coverage(blocks(f"{where}/{name}/exact.records"), blocks(f"{where}/{name}/burst.records"))
    yield missed(f"  coverage        {share:.3f}", share >= LIMIT_SHARE)
    exact, sampled = saved(f"{where}/{name}/exact.compare"), saved(f"{where}/{name}/burst.compare")
    kept = sampled / exact if exact else float("nan")
    yield missed(f"  taken branches  {-exact:+.1f}% from exact counts, {-sampled:+.1f}% from bursts: kept {kept:.3f}",
                 kept >= LIMIT_SHARE)


def main():
    good = True
    for name in sys.argv[2:]:
        try:
            lines = list(describe(sys.argv[1], name))
        except (OSError, ValueError, KeyError, ZeroDivisionError, statistics.StatisticsError) as error:
            lines = [f"{name}: no figures ({error}) MISSED"]
        print("\n".join(lines))
        good = good and not any(line.endswith("MISSED") for line in lines)
    return 0 if good else 1


sys.exit(main())
