"""Checks that the counts of a profile add up: what enters a block leaves it.

usage: check_flow.py PROFILE [TOLERANCE]

PROFILE is what `respin report --records` prints. For every block of every module, its count must be
the sum of the edges into it (from its own module, and `entry` records) and the sum of the edges out of
it. Returns have no edge of their own: blocks that end in one are known by having no edge out. System
calls that do not come back, or come back twice (fork), are not held against their block. TOLERANCE is how many blocks may be off: starts of programs and threads,
signal handlers and what they interrupt (default 0).
SPDX-License-Identifier: MIT
"""

import sys


def read(path):
    modules = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if line.startswith("module "):
                modules.append({"path": line[7:].strip(), "blocks": [], "edges": [], "into": {}})
            elif line.startswith("block "):
                modules[-1]["blocks"].append((int(words[1], 16), int(words[2]), int(words[4])))
            elif line.startswith("edge "):
                modules[-1]["edges"].append((words[1], int(words[2], 16), words[3], int(words[4])))
            elif line.startswith("entry "):
                to = int(words[2], 16)
                modules[-1]["into"][to] = modules[-1]["into"].get(to, 0) + int(words[3])
    return modules


def check(module):
    """Lines about blocks whose counts do not add up."""
    into, out, found = dict(module["into"]), {}, []
    for kind, start, to, count in module["edges"]:
        if ":" not in to:
            into[int(to, 16)] = into.get(int(to, 16), 0) + count
        if kind not in ("return-to", "ret"):
            out.setdefault(start, []).append(None if kind == "syscall" else count)
    starts = sorted(out)
    at = 0
    for address, size, count in module["blocks"]:
        while at < len(starts) and starts[at] < address:
            at += 1
        leaving = []
        while at < len(starts) and starts[at] < address + size:
            leaving += out[starts[at]]
            at += 1
        if into.get(address, 0) != count:
            found.append(f"{module['path']} {address:#x}: count {count}, edges in {into.get(address, 0)}")
        if leaving and None not in leaving and sum(leaving) != count:
            found.append(f"{module['path']} {address:#x}: count {count}, edges out {sum(leaving)}")
    return found


def main():
    found, n = [], 0
    for module in read(sys.argv[1]):
        n += len(module["blocks"])
        found += check(module)
    for line in found[:40]:
        print(line)
    print(f"{n} blocks, {len(found)} do not add up")
    sys.exit(1 if len(found) > (int(sys.argv[2]) if len(sys.argv) > 2 else 0) or n == 0 else 0)


main()
