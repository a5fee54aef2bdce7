#!/bin/bash
# How many times slower than native: respin's VM with exact counts, valgrind without a tool, callgrind,
# qemu; in user time, on three small programs and on three real ones.
#
#   vm.sh BUILD [NAME...]     BUILD: a Release build; NAME: integer strings floats sqlite3 lua perl
#   ROUNDS=3                  interleaved rounds; the median counts (callgrind runs in the first only)
#   SCALE=0.25                size of the real programs' work (1: about 2 s native)
#   CPU=N                     where everything runs (default: the last one)
#   TOOLS="native respin …"   of: native respin none callgrind qemu
#
# Prints one line a program and the geometric means of both groups. What is missing on the machine is
# left out and said so. SPDX-License-Identifier: MIT
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: vm.sh BUILD [NAME...]}" && pwd)
shift
work=$here/../workloads/workload.sh
rounds=${ROUNDS:-3}
scale=${SCALE:-0.25}
cpu=${CPU:-$(($(nproc) - 1))}
small='integer strings floats'
real='sqlite3 lua perl'
[ $# -gt 0 ] || set -- $small $real
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export LC_ALL=C.UTF-8 PERL_HASH_SEED=0

tools=
for tool in ${TOOLS:-native respin none callgrind qemu}; do
    case $tool in
    none | callgrind) command -v valgrind > /dev/null || { echo "valgrind is not installed: no $tool"; continue; } ;;
    qemu) command -v qemu-x86_64 > /dev/null || { echo "qemu-x86_64 is not installed: no qemu"; continue; } ;;
    esac
    tools="$tools $tool"
done

# The shell words that run a program under a tool.
prefix_of() { # TOOL
    case $1 in
    native) ;;
    respin) echo "$build/cli/respin profile --quiet -o $dir/app.rsp --" ;;
    none) echo "valgrind -q --tool=none" ;;
    callgrind) echo "valgrind -q --tool=callgrind --callgrind-out-file=$dir/callgrind.out" ;;
    qemu) echo qemu-x86_64 ;;
    esac
}

make_program() { # NAME: leaves a shell command in $dir/NAME.sh, to be given words in PRE
    case $1 in
    integer | strings | floats)
        ${CC:-cc} -O3 -o "$dir/$1" "$here/small/$1.c" -lm || exit 1
        echo "exec \$PRE $dir/$1" > "$dir/$1.sh" ;;
    *)
        mkdir -p "$dir/$1.work"
        sh "$work" setup "$1" "$dir/$1.work" "$scale" || exit 1
        sh "$work" command "$1" "$dir/$1.work" ref | sed "s/^exec /exec \$PRE /" > "$dir/$1.sh" ;;
    esac
}

# One run; its user seconds, of it and its children, go to the file.
run() { # NAME TOOL ROUND
    local TIMEFORMAT=%U
    { time PRE=$(prefix_of "$2") taskset -c "$cpu" sh "$dir/$1.sh" > "$dir/out.$2" 2> "$dir/err.$2"; } 2>> "$dir/$1.$2"
    [ "$2" = native ] || cmp -s "$dir/out.native" "$dir/out.$2" || echo "$1: other output under $2"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

for name in "$@"; do
    make_program "$name"
    for round in $(seq "$rounds"); do
        for tool in $tools; do
            [ "$tool" = callgrind ] && [ "$round" != 1 ] && continue
            run "$name" "$tool" "$round"
        done
    done
done

group() { # TITLE NAME...
    title=$1
    shift
    for name in "$@"; do
        [ -e "$dir/$name.native" ] || continue
        line=$(printf '%-18s %8.3f' "$name" "$(median "$dir/$name.native")")
        for tool in $tools; do
            [ "$tool" = native ] && continue
            ratio=$(awk "BEGIN { print $(median "$dir/$name.$tool") / $(median "$dir/$name.native") }")
            echo "$ratio" >> "$dir/$title.$tool"
            line="$line $(printf '%10.2f' "$ratio")"
        done
        echo "$line"
    done
    line=$(printf '%-18s %8s' "geometric mean" "")
    for tool in $tools; do
        [ "$tool" = native ] || [ ! -e "$dir/$title.$tool" ] ||
            line="$line $(awk '{ s += log($1) } END { printf "%10.2f", exp(s / NR) }' "$dir/$title.$tool")"
    done
    [ ! -e "$dir/$title.respin" ] || printf '%s   (%s)\n\n' "$line" "$title"
}

printf '%-18s %8s' 'user time' 'native s'
for tool in $tools; do [ "$tool" = native ] || printf ' %10s' "$tool"; done
echo
group small $small
group real $real
