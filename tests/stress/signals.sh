#!/bin/sh
# signals.sh: signals under fire. tests/run/guests/fire.c takes SIGNALS asynchronous signals over four
# threads while it computes; each run must print what a native run prints, and count its deterministic
# parts exactly: `known` as in a run without signals, the handlers as often as signals were sent.
#
#   ENGINES="threaded translate" RUNS=50 SIGNALS=100000 sh tests/stress/signals.sh
#
# RESPIN and SOURCE as tests/CMakeLists.txt sets them; without them, the release build of this folder.
# ENGINES default: all that `respin help profile` names. One line an engine; exit 1 on any difference.
# SPDX-License-Identifier: MIT
set -u
SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
RESPIN=${RESPIN:-$SOURCE/build/rel/cli/respin}
RUNS=${RUNS:-50}
SIGNALS=${SIGNALS:-100000}
ENGINES=${ENGINES:-$("$RESPIN" help profile | sed -n 's/.*how the VM runs code: //p' | tr ',' ' ')}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
failed=0

# counts PROFILE FUNCTION...
counts() {
    "$RESPIN" report --records "$1" > "$folder/records" && shift &&
        python3 "$SOURCE/tests/support/function_counts.py" "$folder/records" "$folder/fire" "$@"
}

# one ENGINE: a run, and what is wrong with it
one() {
    rm -f "$folder"/fire.rsp*
    FIRE_SIGNALS=$SIGNALS timeout 300 "$RESPIN" profile --engine="$1" -o "$folder/fire.rsp" -- \
        "$folder/fire" > "$folder/out" 2> "$folder/err"
    status=$?
    [ $status = 0 ] || { echo "status $status: $(head -c 300 "$folder/err")"; return 1; }
    cmp -s "$folder/native" "$folder/out" || { diff "$folder/native" "$folder/out"; return 1; }
    [ ! -s "$folder/err" ] || { cat "$folder/err"; return 1; }
    counts "$folder/fire.rsp" known on_queue="$queued" on_nested=600 > "$folder/counts" || return 1
    grep '^known' "$folder/counts" | cmp -s - "$folder/quiet" || { echo "counts of known differ"; return 1; }
}

${CC:-cc} -O2 -w -o "$folder/fire" "$SOURCE/tests/run/guests/fire.c" -lpthread || exit 1
FIRE_SIGNALS=$SIGNALS timeout 300 "$folder/fire" > "$folder/native" || exit 1
queued=$((($SIGNALS + 11) / 12 * 12))

for engine in $ENGINES; do
    good=0
    FIRE_SIGNALS=0 "$RESPIN" profile --engine="$engine" -o "$folder/quiet.rsp" -- "$folder/fire" > /dev/null || failed=1
    counts "$folder/quiet.rsp" known=4000 > "$folder/quiet" || failed=1
    for run in $(seq "$RUNS"); do
        if one "$engine" > "$folder/verdict" 2>&1; then
            good=$((good + 1))
        else
            failed=1
            sed "s/^/$engine, run $run: /" "$folder/verdict"
        fi
    done
    echo "$engine: $good of $RUNS runs with $queued queued signals are as native, counts exact"
done
exit $failed
