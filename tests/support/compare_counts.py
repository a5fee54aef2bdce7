"""Compares two profiles in text form, instruction by instruction and edge by edge.

usage: compare_counts.py PROFILE STEPPED

PROFILE is what `respin report --records` prints, STEPPED what the stepper wrote (a block for every
instruction, an edge for every step from one instruction to the next). Every instruction's count and
every edge must be the same in both. Edges from an instruction that is no branch to the next are in
PROFILE only where a block ends; those that are there must be equal. [vdso] is left out: which of
its functions are called depends on the C library's choice of clock.
SPDX-License-Identifier: MIT
"""

import os
import sys


def read(path):
    """{(module, address): count}, {(kind, module, from, module, to): count}"""
    counts, edges, names, targets = {}, {}, [], []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if line.startswith("module "):
                names.append(os.path.realpath(line[7:].strip()))
            elif line.startswith("block "):
                address, count = int(words[1], 16), int(words[4])
                if len(words) < 6:
                    sys.exit(f"{path}: {names[-1]}: block {words[1]} has no instruction sizes")
                for size in words[5].split(","):
                    counts[names[-1], address] = counts.get((names[-1], address), 0) + count
                    address += int(size)
            elif line.startswith("edge "):
                number, _, to = words[3].rpartition(":")
                to_module = len(names) - 1 if number == "" else number
                targets.append((words[1], len(names) - 1, int(words[2], 16), to_module, int(to, 16), int(words[4])))
    for kind, module, start, to_module, to, count in targets:
        to_name = "-" if to_module == "-" else names[int(to_module)]
        key = (kind, names[module], start, to_name, to)
        edges[key] = edges.get(key, 0) + count
    return counts, edges


def differences(what, left, right):
    out = []
    for key in sorted(set(left) | set(right), key=str):
        if "[vdso]" in str(key):
            continue
        if left.get(key, 0) != right.get(key, 0):
            shown = " ".join(hex(part) if isinstance(part, int) else str(part) for part in key)
            out.append(f"{what} {shown}: {left.get(key, 0)} in the profile, {right.get(key, 0)} stepped")
    return out


def main():
    counts, edges = read(sys.argv[1])
    stepped_counts, stepped_edges = read(sys.argv[2])
    branches = {key[1:3] for key in edges if key[0] != "fall"}
    # what the profile leaves out on purpose: steps inside a block
    stepped_edges = {key: count for key, count in stepped_edges.items()
                     if key[0] != "fall" or key in edges or key[1:3] in branches}
    found = differences("instruction", counts, stepped_counts) + differences("edge", edges, stepped_edges)
    for line in found[:40]:
        print(line)
    executed = sum(counts.values())
    print(f"{len(counts)} instructions executed {executed} times, {len(edges)} edges: "
          + ("equal" if not found else f"{len(found)} differences"))
    sys.exit(1 if found or executed == 0 else 0)


main()
