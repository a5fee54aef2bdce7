#!/bin/sh
# What optimizing pays: each program profiled on its training input, measured on the reference one.
#
#   opt.sh BUILD [NAME…]     BUILD: a release build; NAMEs of tests/workloads/workload.sh
#   PAIRS=41 SCALE=0.3       pairs of timed runs; size of the work (runs of 0.5 to 1 s)
#   KEEP=DIR                 keeps inputs, profiles and outputs
#
# For each: `respin compare`: ratio of times with its 95% interval, and the front-end model's figures
# before and after; then one summary line a program. Times are ratios of interleaved pairs, pinned.
# SPDX-License-Identifier: MIT
set -eu
. "$(dirname "$0")/common.sh"
shift
scale=${SCALE:-0.3} pairs=${PAIRS:-41}

# Splits 'words < file' into the profile run: compare reads '< file' by itself.
profile() { # NAME
    sh -c "exec $respin profile -o $dir/$1/train.rsp -- $(plain_command "$1" "$dir/$1" train)" > /dev/null
}

bench() { # NAME
    name=$1 new=$dir/$1/new
    rm -rf "$new" && mkdir -p "$new"
    sh "$work" setup "$name" "$dir/$name" "$scale"
    profile "$name"
    libraries=0 program=$(sh "$work" program "$name")
    for module in $(sh "$work" module "$name"); do
        real=$(readlink -f "$module")
        "$respin" optimize "$real" -p "$dir/$name/train.rsp" -o "$new/$(basename "$module")" --explain \
            > "$dir/$name/$(basename "$module").explain" 2>&1
        case $module in *.so.*) libraries=1 ;; *) program=$new/$(basename "$module") ;; esac
    done
    before=$(plain_command "$name" "$dir/$name" ref)
    after=$(plain_command "$name" "$dir/$name" ref "$program")
    [ $libraries = 0 ] || after="LD_LIBRARY_PATH=$new $after"
    status=0
    "$respin" compare "$before" "$after" -n "$pairs" > "$dir/$name/compare" || status=$?
    echo "=== $name (exit status $status: 1 means slower or different)"
    cat "$dir/$name/compare"
}

[ $# -gt 0 ] || set -- sqlite3 perl python3 lua cc1 clang
for name in "$@"; do
    mkdir -p "$dir/$name"
    bench "$name"
done
echo
echo "summary: user time ratio [95% interval], change of taken branches in the changed modules, I-cache misses per 1000"
for name in "$@"; do
    awk -v name="$name" '
        / user time/ { ratio = $(NF - 2) " " $(NF - 1) " " $NF }
        /taken branches/ { taken = 1 }
        /in the changed modules/ && taken { change = $NF; taken = 0 }
        /I-cache misses/ { misses = $(NF - 1) " -> " $NF; if ($NF ~ /%/) misses = $(NF - 2) " -> " $(NF - 1) }
        END { printf "%-10s %-28s %-10s %s\n", name, ratio, change, misses }' "$dir/$name/compare"
done
