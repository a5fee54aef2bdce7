#!/usr/bin/env python3
"""Prints what burst.sh measured: cost, coverage, gain, one line a program.

  burst_table.py DIR NAME...

Coverage: the instructions of the exact profile, most often executed first, down to 90% of all
executions, are K. The K instructions that the burst profile ranks first are summed by their exact
counts. Instructions, not blocks: the two profiles cut blocks at different places.
SPDX-License-Identifier: MIT
"""
import random
import re
import statistics
import sys


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


def interval(pairs):
    ratios = [burst / native for native, burst in pairs]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), medians[50], medians[-51]


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


def main():
    where = sys.argv[1]
    for name in sys.argv[2:]:
        with open(f"{where}/{name}/pairs", encoding="utf-8") as lines:
            pairs = [tuple(map(float, line.split())) for line in lines if len(line.split()) == 2]
        ratio, low, high = interval(pairs)
        share = coverage(blocks(f"{where}/{name}/exact.records"), blocks(f"{where}/{name}/bursts.records"))
        exact, bursts = saved(f"{where}/{name}/exact.compare"), saved(f"{where}/{name}/bursts.compare")
        print(f"{name:10} cost {ratio:.3f} [{low:.3f}, {high:.3f}] of {len(pairs)} pairs, "
              f"{sum(burst for _, burst in pairs):.0f} s   coverage {share:.3f}   "
              f"taken branches {-exact:+.1f}% exact, {-bursts:+.1f}% bursts: gain {bursts / exact if exact else 0:.3f}",
              flush=True)


main()
