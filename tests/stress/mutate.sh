#!/bin/sh
# Truncations and bit flips: three ELF files and three profiles through every reader, the optimizer,
# the rewriter and the check (tests/stress/mutate.c), in the build that is tested (dev: ASan, UBSan).
#
#   MUTATIONS=2000 mutate.sh      mutations of each file (the test takes fewer)
#
# SPDX-License-Identifier: MIT
set -eu
count=${MUTATIONS:-2000}
export ASAN_OPTIONS="allocator_may_return_null=1:max_allocation_size_mb=4096:detect_leaks=0"

# Three kinds: position-independent, at fixed addresses, a shared object with exceptions.
cat > fixed.c << 'END'
#include <stdio.h>
static int step(int op, int x)
{
    switch (op) {
    case 0: return x + 1;
    case 1: return x * 3;
    case 2: return x ^ 0x55;
    case 3: return x - 7;
    case 4: return x << 1;
    case 5: return x >> 1;
    default: return -x;
    }
}
int main(void)
{
    int x = 1;
    for (int i = 0; i < 20000; i++)
        x = step(i % 7, x);
    printf("%d\n", x);
    return 0;
}
END
cat > thrower.cc << 'END'
#include <cstdio>
#include <stdexcept>
__attribute__((noinline)) int may_throw(int i)
{
    if (i % 5 == 0)
        throw std::runtime_error("five");
    return i;
}
extern "C" int work(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        try { sum += may_throw(i); }
        catch (const std::exception &) { sum--; }
    }
    return sum;
}
END
printf '#include <stdio.h>\nint work(int);\nint main(void) { printf("%%d\\n", work(2000)); return 0; }\n' > main.c
gcc -O2 -no-pie -fno-pie -o fixed fixed.c
g++ -O2 -fPIC -shared -o libthrower.so thrower.cc
gcc -O2 -o thrower main.c -L. -lthrower -Wl,-rpath,"$PWD"
seq 1 3000 > numbers

"$RESPIN" profile -o fixed.rsp -- ./fixed
"$RESPIN" profile -o thrower.rsp -- ./thrower
"$RESPIN" profile -o sort.rsp -- /usr/bin/sort -n numbers > sorted

status=0
run() { "$BUILD/tests/mutate" "$@" "$count" || status=1; }
run image /usr/bin/sort sort.rsp
run image ./fixed fixed.rsp
run image ./libthrower.so thrower.rsp
run profile fixed.rsp ./fixed
run profile thrower.rsp ./libthrower.so
run profile sort.rsp /usr/bin/sort
exit $status
