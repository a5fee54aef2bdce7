#!/bin/sh
# cache.sh: the code cache under pressure. guests/churn.c (generated code on several threads, signals, forks, and
# a thread that never leaves its loop) in caches from the smallest to one that holds it all: each run must
# print what a native run prints, and leave a profile that is whole. Before it guests/maze.c, in caches whose
# arenas hold some thousand traces each that all others lead to (MAZES: sizes, STEPS).
#
#   ENGINES="translate auto" RUNS=10 THREADS=4 ROUNDS=8000 SIGNALS=3000 sh tests/stress/cache.sh
#
# RESPIN and SOURCE as tests/CMakeLists.txt sets them; without them, the release build of this folder.
# One line a run; exit 1 on any difference.
# SPDX-License-Identifier: MIT
set -u
SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
RESPIN=${RESPIN:-$SOURCE/build/rel/cli/respin}
RUNS=${RUNS:-10}
THREADS=${THREADS:-4}
ROUNDS=${ROUNDS:-8000}
SIGNALS=${SIGNALS:-3000}
CACHES=${CACHES:-448K 1 4}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
failed=0

${CC:-cc} -O2 -w -o "$folder/churn" "$SOURCE/tests/stress/guests/churn.c" -lpthread || exit 1
timeout 300 "$folder/churn" "$THREADS" "$ROUNDS" "$SIGNALS" > "$folder/native" || exit 1

# one ENGINE SIZE: a run, and what is wrong with it
one() {
    rm -f "$folder"/churn.rsp*
    timeout 300 "$RESPIN" profile --engine="$1" --cache="$2" -o "$folder/churn.rsp" -- \
        "$folder/churn" "$THREADS" "$ROUNDS" "$SIGNALS" > "$folder/out" 2> "$folder/err"
    status=$?
    [ $status = 0 ] || { echo "status $status: $(head -c 300 "$folder/err")"; return 1; }
    cmp -s "$folder/native" "$folder/out" || { diff "$folder/native" "$folder/out"; return 1; }
    [ ! -s "$folder/err" ] || { cat "$folder/err"; return 1; }
    "$RESPIN" info "$folder/churn.rsp" > /dev/null 2> "$folder/err" || { cat "$folder/err"; return 1; }
}

# maze ENGINE SIZE STEPS: as above, of code that leads everywhere in the cache
maze() {
    rm -f "$folder"/maze.rsp*
    "$folder/maze" "$3" > "$folder/native.maze"
    timeout 300 "$RESPIN" profile --engine="$1" --cache="$2" -o "$folder/maze.rsp" -- "$folder/maze" "$3" \
        > "$folder/out" 2> "$folder/err"
    status=$?
    [ $status = 0 ] || { echo "status $status: $(head -c 300 "$folder/err")"; return 1; }
    cmp -s "$folder/native.maze" "$folder/out" || { diff "$folder/native.maze" "$folder/out"; return 1; }
    "$RESPIN" info "$folder/maze.rsp" > /dev/null 2> "$folder/err" || { cat "$folder/err"; return 1; }
}

${CC:-cc} -O2 -w -o "$folder/maze" "$SOURCE/tests/stress/guests/maze.c" || exit 1
for size in ${MAZES-4 8 12}; do
    for engine in translate auto; do
        verdict=$(maze "$engine" "$size" "${STEPS:-3000000}") && verdict=ok || failed=1
        echo "maze $engine --cache=$size: $verdict"
    done
done
for run in $(seq "$RUNS"); do
    for engine in ${ENGINES:-translate auto}; do
        for size in $CACHES; do
            verdict=$(one "$engine" "$size") && verdict=ok || failed=1
            echo "$run $engine --cache=$size: $verdict"
        done
    done
done
exit $failed
