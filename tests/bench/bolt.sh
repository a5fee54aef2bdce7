#!/bin/sh
# What BOLT makes of a respin profile, next to what it makes of its own instrumentation.
#
#   bolt.sh BUILD [NAME…]    BUILD: a Release build; NAME: lua5.4 sqlite3 (built from source with
#                            relocations by from_source.sh), lua5.4-fixed (not position-independent)
#   PAIRS=41 SCALE=0.3       pairs of timed runs; size of the work (runs of 0.5 to 1 s)
#   KEEP=DIR                 keeps programs, inputs, profiles and outputs
#
# For each program: profiled with respin on its training input; preagg through perf2bolt -pa, and
# fdata as it is, to llvm-bolt; beside that the same training input through llvm-bolt -instrument.
# Printed are BOLT's own words on how the profiles fit, and ratios of times of interleaved pairs with
# their 95% intervals (respin compare): each output against the original, and those from our
# profiles against the one from instrumentation (1: equally fast; above 1: ours is faster).
#
# Exit status 1: a profile was not accepted, over 1% of it does not fit, or an output from ours is
# slower than the one from instrumentation. SPDX-License-Identifier: MIT
set -eu
. "$(dirname "$0")/common.sh"
shift
scale=${SCALE:-0.3} pairs=${PAIRS:-41}
options='-reorder-blocks=ext-tsp -reorder-functions=cdsort -split-functions -split-all-cold -icf=none'
failed=0

if ! [ -x /usr/lib/llvm-22/bin/llvm-bolt ] || ! [ -f /usr/lib/llvm-22/lib/libbolt_rt_instr.a ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "bolt.sh: installing bolt-22 libbolt-22-dev"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        bolt-22 libbolt-22-dev > /dev/null
fi
bolt=/usr/lib/llvm-22/bin

fail() {
    echo "FAILED: $*"
    failed=1
}

# What BOLT says of a profile; the words that the field looks at.
words_of() { # LOG
    grep -E 'mismatching disassembled|out of range traces|non-empty execution profile|invalid|stale|quality metrics' "$1" |
        sed 's/^/    /' || :
}

# Over 1% of the stretches, or any function called stale or invalid.
check_fit() { # LOG WHAT
    awk -v what="$2" '
        /mismatching disassembled/ { gsub(/[(%)]/, ""); if ($NF > 1) bad = $0 }
        /stale|invalid/ && /%/ { match($0, /[0-9.]+%/); if (substr($0, RSTART, RLENGTH - 1) + 0 > 1) bad = $0 }
        END { if (bad != "") { print "FAILED: " what ": " bad; exit 1 } }' "$1" || failed=1
}

work_of() { # NAME: of the catalogue
    case $1 in lua*) echo lua ;; *) echo "$1" ;; esac
}

command_of() { # NAME SET PROGRAM
    plain_command "$(work_of "$1")" "$dir/$1.work" "$2" "$3"
}

make_program() { # NAME
    case $1 in
    *-fixed)
        MORE_FLAGS='-fno-pie -no-pie' sh "$here/from_source.sh" "${1%-fixed}" "$dir/$1.build" > /dev/null
        cp "$dir/$1.build/${1%-fixed}" "$dir/$1" ;;
    *)
        sh "$here/from_source.sh" "$1" "$dir/$1.build" > /dev/null
        cp "$dir/$1.build/$1" "$dir/$1" ;;
    esac
}

optimize() { # NAME HOW FDATA
    if ! "$bolt/llvm-bolt" "$dir/$1" -data="$3" -o "$dir/$1.from-$2" $options > "$dir/$1.$2.log" 2>&1; then
        tail -3 "$dir/$1.$2.log"
        fail "$1: llvm-bolt refuses the profile from $2"
        return 1
    fi
    echo "  llvm-bolt, profile from $2:"
    words_of "$dir/$1.$2.log"
    check_fit "$dir/$1.$2.log" "$1, $2"
}

ratio() { # BEFORE AFTER WORDS
    status=0
    "$respin" compare --no-model -n "$pairs" "$1" "$2" > "$dir/compare" 2> "$dir/compare.err" || status=$?
    printf '  %-44s %s\n' "$3" "$(grep -E 'user time' "$dir/compare" | sed 's/^ *//' | tr -s ' ')"
    [ $status -le 1 ] || { cat "$dir/compare.err"; fail "compare ends with $status"; }
    return $status
}

bench() { # NAME
    name=$1
    echo "=== $name"
    [ -x "$dir/$name" ] || make_program "$name"
    sh "$work" setup "$(work_of "$name")" "$dir/$name.work" "$scale"
    train=$(command_of "$name" train "$dir/$name")
    sh -c "$respin profile -q -o $dir/$name.rsp -- $train" > /dev/null
    "$respin" convert "$dir/$name.rsp" --to=preagg -o "$dir/$name.preagg"
    "$respin" convert "$dir/$name.rsp" --to=fdata -o "$dir/$name.fdata"
    "$bolt/perf2bolt" -pa -p "$dir/$name.preagg" -o "$dir/$name.preagg.fdata" "$dir/$name" > "$dir/$name.p2b.log" 2>&1 ||
        fail "$name: perf2bolt refuses preagg"
    echo "  perf2bolt -pa, $(wc -l < "$dir/$name.preagg") records:"
    words_of "$dir/$name.p2b.log"
    check_fit "$dir/$name.p2b.log" "$name, preagg"
    "$bolt/llvm-bolt" "$dir/$name" -instrument -instrumentation-file="$dir/$name.instr.fdata" \
        -o "$dir/$name.instr" > "$dir/$name.instr.log" 2>&1
    sh -c "$(command_of "$name" train "$dir/$name.instr")" > /dev/null
    optimize "$name" preagg "$dir/$name.preagg.fdata" || return 0
    optimize "$name" fdata "$dir/$name.fdata" || return 0
    optimize "$name" instrumentation "$dir/$name.instr.fdata" || return 0
    before=$(command_of "$name" ref "$dir/$name")
    theirs=$(command_of "$name" ref "$dir/$name.from-instrumentation")
    ratio "$before" "$theirs" 'instrumentation against the original:' || :
    for how in preagg fdata; do
        ours=$(command_of "$name" ref "$dir/$name.from-$how")
        ratio "$before" "$ours" "$how against the original:" || :
        ratio "$theirs" "$ours" "$how against instrumentation:" ||
            fail "$name: slower from $how than from instrumentation"
    done
}

[ $# -gt 0 ] || set -- lua5.4-fixed sqlite3
for name in "$@"; do
    bench "$name"
done
[ $failed = 0 ] && echo "bolt.sh: both formats accepted; outputs at least as fast as from instrumentation"
exit $failed
