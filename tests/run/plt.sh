#!/bin/sh
# plt.sh: calls through the PLT to functions of the same library are bound to the overlay behind a
# guard, and interposition still wins.
#
# A library whose exported functions call each other is linked lazily and with -z now, optimized from
# a run without interposition, and used plainly, with a preloaded object that replaces one of them,
# and with LD_BIND_NOW. Each result must be that of the original library in the same setting.
#
# SPDX-License-Identifier: MIT
set -eu
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

cat > lib.c <<'END'
long step(long x, long y) { return x > y ? x * 3 + y : x - y * 5; }
long weigh(long a, long b, long c) { return step(a, b) + step(b, c) * 2 + step(c, a); }
long total(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum = (sum + weigh(i, sum % 97, i % 13)) % 1000003;
    return sum;
}
END
cat > main.c <<'END'
#include <stdio.h>
#include <stdlib.h>
long total(long n);
int main(int argc, char **argv)
{
    printf("%ld\n", total(argc > 1 ? atol(argv[1]) : 0));
    return 0;
}
END
echo 'long step(long x, long y) { return x + y; }' > other.c
gcc -O2 -fPIC -shared other.c -o other.so

for now in lazy now; do
    mkdir -p $now/old $now/new
    gcc -O2 -fPIC -shared lib.c -Wl,-z,$now -Wl,-soname,libplt.so -o $now/old/libplt.so
    gcc -O2 main.c -L$now/old -lplt -o $now/main
    LD_LIBRARY_PATH=$now/old "$RESPIN" profile -o $now/train.rsp -- $now/main 4000 > /dev/null
    "$RESPIN" optimize $now/old/libplt.so -p $now/train.rsp -o $now/new/libplt.so --explain > $now/explain 2>&1
    grep -q 'PLT stubs passed by  *[1-9]' $now/explain || fail "$now: no stub was passed by"
    "$RESPIN" check $now/old/libplt.so $now/new/libplt.so || fail "$now: check"
    for preload in '' ./other.so; do
        for bind in '' 1; do
            for side in old new; do
                env LD_LIBRARY_PATH=$now/$side LD_PRELOAD=$preload ${bind:+LD_BIND_NOW=1} $now/main 70001 > $side.out
            done
            cmp old.out new.out || fail "$now, preload '$preload', bind '$bind': results differ"
        done
    done
done
cp now/new/libplt.so broken.so
# A guard that compares with another slot must be found: flip a byte of its displacement.
at=$(LC_ALL=C grep -obUaP '\x48\x89\x44\x24\xf8\x48\x8d\x05....\x48\x39\x05' broken.so | head -1 | cut -d: -f1)
if [ -n "$at" ]; then
    printf '\377' | dd of=broken.so bs=1 seek=$((at + 15)) conv=notrunc 2> /dev/null
    ! "$RESPIN" check now/old/libplt.so broken.so 2> /dev/null || fail "a broken guard passes the check"
else
    fail "no guard in the output"
fi
[ $failures = 0 ]
