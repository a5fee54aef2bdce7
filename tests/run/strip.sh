#!/bin/sh
# strip.sh: outputs survive the tools that people run on binaries.
#
# Every function of small programs, in all ways of linking, is placed (tests/support/force.c); then
# strip, objcopy, eu-strip and patchelf work on the output, and the program must still do what the
# input does: among others, catch what is thrown through the overlay of a `g++ -static` program.
# SPDX-License-Identifier: MIT
set -eu
force=$BUILD/tests/force
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

cat > throw.cc <<'END'
#include <cstdio>
#include <stdexcept>
__attribute__((noinline)) static int twice(int x)
{
    if (x > 3)
        throw std::runtime_error("too big");
    return 2 * x;
}
__attribute__((noinline)) static int both(int x)
{
    try {
        return twice(x) + twice(x + 1);
    } catch (const std::exception &problem) {
        std::printf("caught: %s at %d\n", problem.what(), x);
        return -1;
    }
}
int main()
{
    int sum = 0;
    for (int i = 0; i < 6; i++)
        sum += both(i);
    std::printf("%d\n", sum);
    return sum == 0;
}
END
cat > lib.c <<'END'
#include <stdlib.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int middle(int *values, int n) { qsort(values, n, sizeof *values, compare); return values[n / 2]; }
END
cat > main.c <<'END'
#include <stdio.h>
int middle(int *values, int n);
int main(void) { int v[] = { 9, 4, 7, 1, 8 }; printf("%d\n", middle(v, 5)); return 0; }
END
gcc -O2 -shared -fPIC lib.c -o libmiddle.so
gcc -O2 main.c -L. -lmiddle -Wl,-rpath,'$ORIGIN/used' -o library
g++ -O2 -g throw.cc -o pie
g++ -O2 -g -no-pie throw.cc -o fixed
g++ -O2 -g -static throw.cc -o static
g++ -O2 -g -static-pie throw.cc -o static-pie

# tool_works NAME INPUT WORDS...: the words work on a copy of the output, the copy still runs
tool_works() {
    name=$1 input=$2
    shift 2
    cp "$input.out" tried
    "$@" tried 2> tool.err || { fail "$name: $*: $(cat tool.err)"; return; }
    if [ "$name" = library ]; then
        cp tried used/libmiddle.so
        got=$(./library 2>&1) || true
    else
        got=$(./tried 2>&1) || true
    fi
    [ "$got" = "$want" ] || fail "$name: after $*: $got"
    case $1 in
    patchelf) ;; # it moves what respin promised not to: the check has nothing to say
    *) "$RESPIN" check "$input" tried > check.txt 2>&1 || fail "$name: after $*: $(cat check.txt)" ;;
    esac
}

mkdir used
for name in pie fixed static static-pie library; do
    input=$name
    [ $name != library ] || input=libmiddle.so
    "$force" $input $input.out random 5 > force.txt || fail "$name: $(cat force.txt)"
    cp libmiddle.so used/libmiddle.so
    want=$(./$name)
    tool_works $name $input true
    tool_works $name $input strip
    tool_works $name $input objcopy --strip-debug
    tool_works $name $input objcopy
    tool_works $name $input eu-strip
    case $name in static*) ;; *) tool_works $name $input patchelf --set-rpath /nowhere ;; esac
    readelf -aW $input.out > /dev/null 2> readelf.txt || true
    [ ! -s readelf.txt ] || fail "$name: readelf: $(head -1 readelf.txt)"
    eu-elflint --gnu-ld $input > before.txt 2>&1 || true
    eu-elflint --gnu-ld $input.out > after.txt 2>&1 || true
    new=$(sed 's/section \[ *[0-9]*\]//' after.txt | grep -vxFf before.txt |
        grep -v 'read-only section modified' || true) # docs/limits.md, rewriter
    sed 's/section \[ *[0-9]*\]//' before.txt > before.names
    new=$(printf '%s\n' "$new" | grep -vxFf before.names || true)
    [ -z "$new" ] || fail "$name: eu-elflint: $new"
done
[ "$failures" = 0 ] && echo "all outputs survive"
exit $((failures > 0))
