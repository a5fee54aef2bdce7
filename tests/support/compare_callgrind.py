"""Compares a profile with callgrind's, instruction by instruction of one executable.

usage: compare_callgrind.py PROFILE CALLGRIND EXECUTABLE [FUNCTION...]

PROFILE is what `respin report --records` prints; CALLGRIND was written with --dump-instr=yes
--compress-pos=no --compress-strings=no. Self costs of the instructions in .text, or only of those in
the FUNCTIONs. Left out: instructions with a repeat prefix, of which callgrind counts every round, and
.init, .plt and .fini, which it does not attribute to the file.
SPDX-License-Identifier: MIT
"""

import os
import re
import subprocess
import sys


def read_profile(path, executable):
    counts, inside = {}, False
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if line.startswith("module "):
                inside = os.path.realpath(line[7:].strip()) == executable
            elif inside and line.startswith("block "):
                address = int(words[1], 16)
                for size in words[5].split(","):
                    counts[address] = counts.get(address, 0) + int(words[4])
                    address += int(size)
    return counts


def read_callgrind(path, executable):
    """Self cost of each address of the executable, as run."""
    counts, inside, inclusive = {}, False, False
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("ob="):
                inside = os.path.realpath(line[3:].strip()) == executable
            elif line.startswith("calls="):
                inclusive = True # the next line is what the call cost
            elif line.startswith("0x"):
                words = line.split()
                if inside and not inclusive:
                    address = int(words[0], 16)
                    counts[address] = counts.get(address, 0) + int(words[-1])
                inclusive = False
    return counts


def repeated(executable):
    """Addresses of instructions with a repeat prefix that repeats."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", executable], capture_output=True,
                          text=True, check=True).stdout
    return {int(found[1], 16)
            for found in re.finditer(r"^\s*([0-9a-f]+):\s+(?:rep|repz|repnz|repe|repne)\s+(?:movs|stos|scas|cmps|lods|ins|outs)",
                                     text, re.M)}


def text_range(executable):
    out = subprocess.run(["readelf", "-SW", executable], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\.text\s+PROGBITS\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)", out)
    start = int(found[1], 16)
    return [range(start, start + int(found[2], 16))]


def function_ranges(executable, names):
    out = subprocess.run(["nm", "-S", executable], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in out.splitlines()]
    ranges = [range(int(row[0], 16), int(row[0], 16) + int(row[1], 16))
              for row in rows if len(row) == 4 and row[3].split(".")[0] in names]
    if not ranges:
        sys.exit(f"{executable}: none of {names} is in its symbol table")
    return ranges


def load_bias(counts, ground):
    """Valgrind's load address: the one at which most counts agree."""
    hot = sorted(counts, key=lambda address: (-counts[address], address))[:100]
    places = {}
    for address, count in ground.items():
        places.setdefault(count, []).append(address)
    candidates = {other - address for address in hot for other in places.get(counts[address], [])[:1000]
                  if (other - address) % 4096 == 0}
    return max(sorted(candidates), default=0,
               key=lambda bias: sum(counts.get(address - bias) == count for address, count in ground.items()))


def main():
    executable = os.path.realpath(sys.argv[3])
    counts = read_profile(sys.argv[1], executable)
    ground = read_callgrind(sys.argv[2], executable)
    with open(executable, "rb") as file:
        is_pic = file.read(18)[16] == 3 # e_type is ET_DYN
    bias = load_bias(counts, ground) if is_pic else 0
    ranges = function_ranges(executable, sys.argv[4:]) if len(sys.argv) > 4 else text_range(executable)
    left_out = repeated(executable)

    def wanted(values, shift):
        return {address - shift: count for address, count in values.items()
                if address - shift not in left_out and any(address - shift in some for some in ranges)}

    counts, ground = wanted(counts, 0), wanted(ground, bias)
    found = [(address, counts.get(address, 0), ground.get(address, 0))
             for address in sorted(set(counts) | set(ground))
             if counts.get(address, 0) != ground.get(address, 0)]
    for address, mine, theirs in found[:40]:
        print(f"{address:#x}: {mine} in the profile, {theirs} in callgrind's")
    print(f"{len(counts)} instructions executed {sum(counts.values())} times: "
          + ("equal" if not found else f"{len(found)} differences"))
    sys.exit(1 if found or not counts else 0)


main()
