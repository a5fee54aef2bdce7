#!/bin/sh
# entries.sh: functions entered through pointers whose original is as good as a jump to the copy keep
# their entry; a function with a hot loop does not, and results stay the same either way.
#
# SPDX-License-Identifier: MIT
set -eu
fail() { echo "FAIL: $*"; exit 1; }

cat > guest.c <<'END'
#include <stdio.h>
#include <stdlib.h>
typedef unsigned long (*Step)(unsigned long);
static unsigned long add(unsigned long x) { return x + 3; }
static unsigned long fold(unsigned long x) { return (x ^ x >> 7) * 5; }
static unsigned long loop(unsigned long x)
{
    for (unsigned i = 0; i < 40; i++)
        x = (x & 1) != 0 ? x * 3 + i : (x >> 1) + 7;
    return x;
}
static Step volatile steps[] = { add, fold, loop };
int main(int argc, char **argv)
{
    unsigned long x = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    for (unsigned i = 0; i < 30000; i++)
        x = steps[i % 3](x);
    printf("%lu\n", x);
    return 0;
}
END
gcc -O2 -o guest guest.c
"$RESPIN" profile -o guest.rsp -- ./guest 7 > /dev/null
left() { sed -n 's/^  entries left as they are *\([0-9]*\).*/\1/p' "$1"; }
"$RESPIN" optimize guest -p guest.rsp -o guest.fast --explain > default 2>&1
"$RESPIN" optimize guest -p guest.rsp -o guest.all --hot=all-executed --explain > all 2>&1
[ "$(left default)" -ge 2 ] || fail "add and fold are entered through pointers: $(cat default)"
[ "$(left all)" = 0 ] || fail "--hot=all-executed leaves entries: $(cat all)"
for out in guest.fast guest.all; do
    "$RESPIN" check guest $out
    [ "$(./guest 12345)" = "$(./$out 12345)" ] || fail "$out: results differ"
done
# The loop runs in the copy: most of what is executed is inside.
inside=$(sed -n 's/.*inside the overlay *[0-9]* *\([0-9]*\)\..*/\1/p' default)
[ "$inside" -ge 80 ] || fail "only $inside% is inside: the loop was left behind"
