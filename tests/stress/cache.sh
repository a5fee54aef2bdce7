#!/bin/sh
# cache.sh: the code cache under pressure. guests/churn.c (generated code on several threads, signals, forks, and
# a thread that never leaves its loop) in caches from the smallest to one that holds it all: each run must
# print what a native run prints, and leave a profile that is whole.
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

for run in $(seq "$RUNS"); do
    for engine in ${ENGINES:-translate auto}; do
        for size in $CACHES; do
            verdict=$(one "$engine" "$size") && verdict=ok || failed=1
            echo "$run $engine --cache=$size: $verdict"
        done
    done
done
exit $failed
