#!/bin/sh
# optimize.sh: what `respin optimize` writes does what its input does.
#
# Small guests in all ways of linking, and stock programs, are profiled on one workload and run on
# another, with the default choices, with every executed function placed, and with reversed and
# random orders. Each output is proven by `respin check` and made twice: the bytes must be equal.
#
#     optimize.sh [STOCK...]      names of tests/workloads/workload.sh; default: a few quick ones
#
# SPDX-License-Identifier: MIT
set -eu
workload=$SOURCE/tests/workloads/workload.sh
failures=0
outputs=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

cat > guest.c <<'END'
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf out;
static volatile int ticks;
static void on_signal(int number) { ticks += number; }

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return x < y ? -1 : x > y;
}

/* A dense switch: a jump table. */
static unsigned step(unsigned op, unsigned x)
{
    switch (op) {
    case 0: return x + 3;
    case 1: return x * 5;
    case 2: return x ^ 0x55;
    case 3: return x >> 2;
    case 4: return (x << 3) | 1;
    case 5: return x - 77;
    case 6: return ~x;
    case 7: raise(SIGUSR1); return x;
    case 8: if (x % 97 == 0) longjmp(out, 1); return x + 1;
    default: return x;
    }
}

/* Computed goto, as interpreters have it. */
static long interpret(const unsigned char *code, long n)
{
    static const void *const labels[] = { &&add, &&jump, &&halt, &&twice };
    long sum = 0;
    const unsigned char *pc = code;
    goto *labels[*pc];
add: sum += pc[1]; pc += 2; goto *labels[*pc];
twice: sum = 2 * sum % 1000003; pc += 1; goto *labels[*pc];
jump: if (--n > 0) { pc = code; goto *labels[*pc]; } pc += 1; goto *labels[*pc];
halt: return sum;
}

static int depth(int n) { return n < 2 ? n : depth(n - 1) + depth(n - 2); }
static long apply(long (*f)(long), long n) { long s = 0; for (long i = 0; i < n; i++) s += f(i); return s; }
static long square(long x) { return x * x; }
static long odd(long x) { return x & 1 ? x : -x; }

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1, x = seed;
    signal(SIGUSR1, on_signal);
    int jumps = 0;
    volatile unsigned i = 0;
    jumps += setjmp(out) != 0;
    for (; i < 40000 + seed * 1000; i++) {
        unsigned op = (i * seed + x) % (seed > 1 ? 11 : 7);
        if (op == 8 && x % 97 == 0) { x++; i++; }
        x = step(op, x);
    }
    printf("%u %d %d\n", x, ticks, jumps);
    static const unsigned char code[] = { 0, 5, 3, 0, 9, 1, 2 };
    printf("%ld\n", interpret(code, 9000 + seed));
    int values[500];
    for (int k = 0; k < 500; k++) values[k] = (int)((unsigned)k * 7919u * seed % 1009u);
    qsort(values, 500, sizeof *values, by_value);
    printf("%d %d %d\n", values[0], values[250], values[499]);
    printf("%d\n", depth(18 + (int)seed));
    printf("%ld %ld\n", apply(square, 3000), seed > 1 ? apply(odd, 3001) : 0);
    char text[64];
    for (int k = 0; k < 300; k++) snprintf(text, sizeof text, "%d:%s:%g", k, argv[0] + strlen(argv[0]), k / 8.0);
    puts(text);
    return seed > 1 ? 3 : 0;
}
END
cat > thrower.cc <<'END'
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
struct Note { std::string name; ~Note() { count++; } static int count; };
int Note::count;
__attribute__((noinline)) static int parse(const std::string &word, int limit)
{
    Note note{ word };
    if (word.size() > (size_t)limit)
        throw std::length_error(word);
    if (word == "bad")
        throw 7;
    return (int)word.size();
}
__attribute__((noinline)) static int parse_all(const std::vector<std::string> &words, int limit)
{
    int sum = 0;
    for (auto &word : words) {
        try {
            sum += parse(word, limit);
        } catch (const std::length_error &problem) {
            sum -= (int)std::string(problem.what()).size();
            if (sum < -100000)
                throw;
        }
    }
    return sum;
}
int main(int argc, char **argv)
{
    int seed = argc > 1 ? std::atoi(argv[1]) : 1, caught = 0;
    std::vector<std::string> words;
    std::map<std::string, int> seen;
    for (int i = 0; i < 300; i++) {
        words.push_back(std::string((i * seed) % 23, 'a' + i % 26));
        seen[words.back()]++;
    }
    if (seed > 1)
        words[150] = "bad";
    long total = 0;
    for (int i = 0; i < 60; i++) {
        try {
            total += parse_all(words, 19 + (i + seed) % 3);
        } catch (int value) {
            caught += value;
        } catch (...) {
            caught++;
        }
    }
    std::printf("%ld %d %d %zu\n", total, caught, Note::count, seen.size());
    return 0;
}
END
cat > lib.c <<'END'
#include <stdio.h>
#include <stdlib.h>
int mix(int kind, int x) { switch (kind) { case 0: return x + 1; case 1: return x * 3; case 2: return x / 2;
    case 3: return x ^ 21; case 4: return -x; case 5: return x | 8; default: return x; } }
long run(int seed) { long s = 0; for (int i = 0; i < 50000 * seed; i++) s += mix((i * seed) % (5 + seed), i); return s; }
END
cat > use.c <<'END'
#include <stdio.h>
#include <stdlib.h>
long run(int seed);
int main(int argc, char **argv) { printf("%ld\n", run(argc > 1 ? atoi(argv[1]) : 1)); return 0; }
END

# variants BINARY PROFILE TEST...: every choice of order; TEST runs with $out as the output
variants() {
    binary=$1 profile=$2
    shift 2
    for choice in "" "--hot=all-executed" "--hot=all-executed --layout=reverse --regions=reverse" \
        "--hot=all-executed --layout=random:1 --regions=random:1" "--layout=random:2 --regions=random:2" \
        "--hot=all-executed --layout=random:3 --regions=random:3 --growth=100"; do
        out=$PWD/out/$(basename "$binary")
        # shellcheck disable=SC2086 # a choice is words
        if ! "$RESPIN" optimize "$binary" -p "$profile" -o "$out" $choice > log 2>&1; then
            fail "$binary $choice: $(cat log)"
            continue
        fi
        outputs=$((outputs + 1))
        "$RESPIN" check "$binary" "$out" > log 2>&1 || fail "$binary $choice: check: $(cat log)"
        # shellcheck disable=SC2086
        "$RESPIN" optimize "$binary" -p "$profile" -o again $choice > log 2>&1
        cmp -s again "$out" || fail "$binary $choice: two runs differ"
        "$@" || fail "$binary $choice: $* does something else"
    done
}

same() { # same COMMAND...: output and status of the reference run, as in `want`
    "$@" > got 2>&1 && status=0 || status=$?
    echo "status $status" >> got
    cmp -s want got
}
reference() {
    "$@" > want 2>&1 && status=0 || status=$?
    echo "status $status" >> want
}
run_guest() { same "$out" 2; }
run_library() { (export LD_LIBRARY_PATH="$PWD/out"; same ./use 2); }
run_stock() { same sh "$workload" run "$stock" "$PWD/$stock.d" ref "$out"; }
run_stock_library() { (export LD_LIBRARY_PATH="$PWD/out"; same sh "$workload" run "$stock" "$PWD/$stock.d" ref); }

mkdir -p out
for mode in pie no-pie static static-pie; do
    [ $mode = pie ] && flags= || flags=-$mode
    # shellcheck disable=SC2086
    gcc -O2 $flags guest.c -o guest-$mode
    # shellcheck disable=SC2086
    g++ -O2 $flags thrower.cc -o thrower-$mode
    for guest in guest-$mode thrower-$mode; do
        "$RESPIN" profile -o $guest.rsp -- ./$guest 1 > log 2>&1 || fail "$guest: profile: $(cat log)"
        reference ./$guest 2
        variants $guest $guest.rsp run_guest
    done
done
gcc -O2 -shared -fPIC lib.c -o librun.so
gcc -O2 use.c -L. -lrun -o use
LD_LIBRARY_PATH=. "$RESPIN" profile -o use.rsp -- ./use 1 > log 2>&1 || fail "use: profile: $(cat log)"
(export LD_LIBRARY_PATH=.; reference ./use 2)
variants librun.so use.rsp run_library

for stock in ${*:-lua sqlite3 perl sort}; do
    sh "$workload" setup "$stock" "$PWD/$stock.d" 0.03 > log 2>&1 || fail "$stock: $(cat log)"
    PRE="$RESPIN profile -o $PWD/$stock.rsp --" sh "$workload" run "$stock" "$PWD/$stock.d" train \
        > log 2>&1 || fail "$stock: profile: $(tail -1 log)"
    reference sh "$workload" run "$stock" "$PWD/$stock.d" ref
    program=$(sh "$workload" program "$stock")
    for module in $(sh "$workload" module "$stock"); do
        [ "$module" = "$program" ] && test=run_stock || test=run_stock_library
        variants "$module" "$stock.rsp" $test
    done
done
echo "$outputs outputs, $failures failures"
exit $((failures > 0))
