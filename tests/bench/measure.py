#!/usr/bin/env python3
"""Runs a shell command some times and appends what it cost to a file.

  measure.py FILE LABEL REPEAT OUTPUT COMMAND...

FILE gets one line: LABEL user-seconds system-seconds peak-KiB, summed (peak: largest) over REPEAT runs
and the children that were waited for. Standard output of the last run goes to OUTPUT.
SPDX-License-Identifier: MIT
"""
import resource
import subprocess
import sys


def main():
    path, label, repeat, output = sys.argv[1:5]
    for _ in range(int(repeat)):
        with open(output, "wb") as out, open(output + ".err", "wb") as err:
            subprocess.run(sys.argv[5:], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(path, "a") as file:
        file.write("%s %.4f %.4f %d\n" % (label, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))


main()
