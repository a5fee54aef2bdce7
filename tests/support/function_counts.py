"""Prints what a profile counts inside some functions, so that two runs can be compared.

usage: function_counts.py PROFILE BINARY FUNCTION[=ENTRIES]...

PROFILE is what `respin report --records` prints, BINARY an ELF file with symbols. One line a block and
an edge that starts in a FUNCTION, by offset from its start. With =ENTRIES: exit 1 unless the function
was entered that often.
SPDX-License-Identifier: MIT
"""

import os
import subprocess
import sys


def symbols(binary):
    found = {}
    for line in subprocess.run(["nm", "-S", binary], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if len(words) == 4:
            found[words[3]] = (int(words[0], 16), int(words[1], 16))
    return found


def records(profile, binary):
    """Blocks {address: count} and edges [(kind, from, to, count)] of one module."""
    blocks, edges, inside = {}, [], False
    with open(profile, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if line.startswith("module "):
                inside = line[7:].strip() == os.path.realpath(binary)
            elif inside and line.startswith("block "):
                blocks[int(words[1], 16)] = int(words[4])
            elif inside and line.startswith("edge "):
                edges.append((words[1], int(words[2], 16), words[3], int(words[4])))
    return blocks, edges


def main():
    blocks, edges = records(sys.argv[1], sys.argv[2])
    known, status = symbols(sys.argv[2]), 0
    for wanted in sys.argv[3:]:
        name, _, entries = wanted.partition("=")
        start, size = known[name]
        for address in sorted(a for a in blocks if start <= a < start + size):
            print(f"{name}+{address - start:#x} block {blocks[address]}")
        for kind, source, to, count in sorted(edges):
            if start <= source < start + size and ":" not in to:
                print(f"{name}+{source - start:#x} {kind} {int(to, 16) - start:#x} {count}")
        if entries and blocks.get(start) != int(entries):
            print(f"{name}: entered {blocks.get(start)} times, not {entries}", file=sys.stderr)
            status = 1
    sys.exit(status)


main()
