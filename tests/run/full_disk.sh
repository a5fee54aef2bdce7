#!/bin/sh
# full_disk.sh: a full disk leaves no output file and says so.
#
# Needs the right to mount a small tmpfs; skipped without it.
# SPDX-License-Identifier: MIT
set -eu
mkdir small
mount -t tmpfs -o size=16k tmpfs small 2> /dev/null || { echo "cannot mount a tmpfs"; exit 77; }
trap 'umount small' EXIT
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

cat > sum.c <<'END'
#include <stdio.h>
int main(void) { long s = 0; for (int i = 0; i < 100000; i++) s += i % 7; printf("%ld\n", s); return 0; }
END
gcc -O1 -static sum.c -o sum
"$RESPIN" profile -o sum.rsp -- ./sum > log 2>&1 || fail "profile: $(cat log)"

"$RESPIN" optimize sum -p sum.rsp -o small/sum > log 2>&1 && status=0 || status=$?
[ $status = 5 ] || fail "exit status $status, not 5"
grep -q 'No space left' log || fail "does not say that the disk is full: $(cat log)"
[ -z "$(ls -A small)" ] || fail "left behind: $(ls -A small)"

"$RESPIN" profile -o small/rsp -- ./sum > log 2>&1 || fail "profile: the program's own status"
grep -q 299995 log || fail "profile: the program's output"
grep -q 'profile cannot grow' log || fail "does not say that there is no profile: $(cat log)"
[ -z "$(ls -A small)" ] || fail "a profile that could not begin is left behind: $(ls -A small)"

echo kept > small/there
"$RESPIN" optimize sum -p sum.rsp -o small/there > log 2>&1 && fail "no error"
[ "$(cat small/there)" = kept ] || fail "the file that was there is gone"

"$RESPIN" optimize sum -p sum.rsp -o sum > log 2>&1 || fail "onto the input: $(cat log)"
grep -q 'input is replaced' log || fail "no warning: $(cat log)"
[ "$(./sum)" = 299995 ] || fail "./sum prints $(./sum)"
[ -x sum ] || fail "mode bits are lost"
echo "$failures failures"
exit $((failures > 0))
