#!/bin/sh
# compare's model figures: the same for the same file, twice; other for an optimized one, in the
# modules that changed and there alone.
# SPDX-License-Identifier: MIT
set -eu

cat > work.c << 'END'
#include <stdio.h>
static unsigned state = 1;
static unsigned next(void) { return state = state * 1103515245u + 12345u, state >> 16; }
int main(void)
{
    unsigned long sum = 0;
    for (int i = 0; i < 300000; i++) {
        unsigned x = next();
        if (x % 8 == 0)
            sum += x;
        else if (x % 16 == 1)
            sum ^= x;
        else
            sum += 3;
    }
    printf("%lu\n", sum);
    return 0;
}
END
gcc -O1 -static -o before work.c
"$RESPIN" profile -o work.rsp -- ./before > /dev/null
"$RESPIN" optimize before -p work.rsp -o after --quiet
"$RESPIN" compare ./before ./before -n 0 --json > same1.json
"$RESPIN" compare ./before ./before -n 0 --json > same2.json
"$RESPIN" compare ./before ./after -n 2 --json > faster.json || [ $? = 1 ] # two pairs show no time
for run in 1 2; do grep -v peak_bytes same$run.json > figures$run; done
cmp figures1 figures2

python3 - << 'END'
import json
same, faster = (json.load(open(name)) for name in ("same1.json", "faster.json"))
assert same["same"] and faster["same"]
before, after = same["before"]["model"], same["after"]["model"]
assert before == after, (before, after)
assert 3e6 < before["instructions"] < 2e7, before
assert "changed_instructions" not in before
before, after = faster["before"]["model"], faster["after"]["model"]
for key in ("calls", "returns"):
    assert before[key] == after[key], (key, before, after)
assert 0 < after["changed_taken_branches"] < before["changed_taken_branches"], (before, after)
assert before["lines_per_million"] > 0 and before["pages_per_million"] > 0, before
for key in ("wall", "user"):
    assert faster[key]["low"] <= faster[key]["ratio"] <= faster[key]["high"], faster[key]
END
echo "compare: the model's figures hold"
