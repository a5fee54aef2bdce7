#!/usr/bin/env python3
"""Runs a command on one CPU, with all that it leaves behind, and appends what it cost to a file.

  burst_run.py FILE LABEL CPU OUTPUT COMMAND...

FILE gets one line: LABEL cpu wall rest. `cpu` is user and system time, in seconds, of the command and
the children it waited for; `wall` the time until it ended; `rest` the CPU time of the processes that
outlived it and became ours (burst mode's watcher), which are waited for: the profile is whole then.
Standard output goes to OUTPUT, errors to OUTPUT.err; the exit status is the command's.
SPDX-License-Identifier: MIT
"""
import ctypes
import os
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def start(cpu, output, command):
    pid = os.fork()
    if pid != 0:
        return pid
    os.sched_setaffinity(0, {int(cpu)})
    for name, number in ((os.devnull, 0), (output, 1), (output + ".err", 2)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o644), number)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
    os._exit(127)


def cpu_of(usage):
    return usage.ru_utime + usage.ru_stime


def main():
    path, label, cpu, output = sys.argv[1:5]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, rest = time.monotonic(), 0.0
    child = start(cpu, output, sys.argv[5:])
    own = wall = status = None
    while True:
        try:
            pid, ended, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        if pid == child:
            own, wall, status = cpu_of(usage), time.monotonic() - before, ended
        else:
            rest += cpu_of(usage)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{label} {own:.4f} {wall:.4f} {rest:.4f}\n")
    return os.waitstatus_to_exitcode(status) & 0xff


sys.exit(main())
