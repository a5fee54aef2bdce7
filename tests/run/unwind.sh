#!/bin/sh
# Unwinding out of the overlay (law 6): the same frames, catches and cleanups as in the original.
#
#   unwind.sh throw|cancel|jump|fault|frames|profile|gdb|step|tables|strip
#
# Every guest is built in each of the four kinds of program by each compiler, rewritten with every
# function placed (tests/support/force.c) in three orders, and held against its original. In part
# `profile` respin itself profiles and optimizes the guests.
# SPDX-License-Identifier: MIT
set -u
guests=$SOURCE/tests/run/guests-unwind
tools=$BUILD/tests
failed=0
ran=0
ulimit -c 0

fail() {
    echo "FAIL: $*"
    failed=$((failed + 1))
}

have() {
    command -v "$1" > /dev/null 2>&1
}

orders='original reverse random'
# kinds: what the linker is told, without spaces between words
kinds='-pie:-fPIE -no-pie:-fno-pie -static:-no-pie:-fno-pie -static-pie:-fPIE'

# build COMPILER KIND FLAGS GUEST OUT; fails where this machine cannot build that kind
build() {
    # shellcheck disable=SC2086
    "$1" $(echo "$2" | tr : ' ') $3 -w -pthread "$guests/$4" -o "$5" 2> build.txt
}

# compilers of a guest: the C or the C++ ones that are installed
compilers() {
    case $1 in
    *.cc) set -- g++ clang++-14 ;;
    *) set -- gcc clang-14 ;;
    esac
    for c in "$@"; do have "$c" && echo "$c"; done
}

# optimized IN: profiles IN and rewrites it; the names of the outputs,
# or "!" and what went wrong
optimized() {
    timeout 120 "$RESPIN" profile --quiet -o "$1.rsp" -- "./$1" > /dev/null 2>&1
    if timeout 60 "$RESPIN" optimize --quiet "$1" -p "$1.rsp" -o "$1.fast" \
        --hot=all-executed --layout=random:7 2> optimize.txt; then
        echo "$1.fast"
    else
        echo "!$1.fast:$(tr ' \n' '__' < optimize.txt)"
    fi
}

# outputs IN: rewrites IN in each of $orders; as above
outputs() {
    if [ "$orders" = profile ]; then
        optimized "$1"
        return
    fi
    for order in $orders; do
        if "$tools/force" "$1" "$1.$order" $order 7 > force.txt 2>&1; then
            echo "$1.$order"
        else
            echo "!$1.$order:$(tr ' \n' '__' < force.txt)"
        fi
    done
}

# same IN OUT [argument...]: equal output and exit status
same() {
    before=$1 after=$2
    shift 2
    timeout 60 "./$before" "$@" > before.txt 2>&1
    want=$?
    timeout 60 "./$after" "$@" > after.txt 2>&1
    got=$?
    ran=$((ran + 1))
    if [ $got != $want ] || ! cmp -s before.txt after.txt; then
        fail "$after $*: status $got, original $want"
        diff before.txt after.txt | head -n 5
    fi
}

# every GUEST FLAGS CHECK: CHECK IN OUT for each compiler, kind and order
every() {
    for compiler in $(compilers "$1"); do
        for kind in $kinds; do
            name=$(echo "$compiler$kind-${1%.*}" | tr -d :+)
            build "$compiler" "$kind" "$2" "$1" "$name" || {
                echo "$name is not built: $(head -n 1 build.txt)"
                continue
            }
            for output in $(outputs "$name"); do
                case $output in
                !*) fail "$output" ;;
                *) "$3" "$name" "$output" ;;
                esac
            done
        done
    done
}

# Link-time return addresses, the overlay's mapped back to the original's.
check_frames() {
    timeout 60 "./$1" > before.txt
    timeout 60 "./$2" > raw.txt
    "$tools/map_back" "$2" < raw.txt > after.txt
    ran=$((ran + 1))
    cmp -s before.txt after.txt || {
        fail "$2: frames differ"
        diff before.txt after.txt | head -n 4
    }
    cmp -s before.txt raw.txt && fail "$2: no frame lies in the overlay"
    grep -q 'differ' raw.txt && fail "$2: backtrace and _Unwind_Backtrace do not agree"
}

# Backtraces at ten places of the overlay that are executed, and at the same places of the original.
gdb_frames() {
    {
        echo 'set confirm off'
        echo 'set width 0'
        echo 'set print frame-arguments none'
        echo 'set backtrace past-main on'
        echo 'starti > /dev/null'
        while read -r new old; do
            [ "$2" = new ] && at=$new || at=$old
            echo "tbreak *($3 + $at)"
        done < places.txt
        i=0
        while [ $i -lt 40 ]; do
            echo 'continue'
            echo 'backtrace'
            i=$((i + 1))
        done
    } > script.gdb
    timeout 120 gdb -nx -batch -x script.gdb "./$1" 2> /dev/null |
        sed -n 's/^#\([0-9]*\) *0x[0-9a-f]* in /#\1 /; s/ \[clone \.hot\]//; s/\[hot\]//; s/\.hot//
                s/ from .*//; /^#/p'
}

check_gdb() {
    base=0
    readelf -h "$1" | grep -q 'DYN' && base=0x555555554000
    "$tools/map_back" "$2" 40 "$seed" > places.txt
    gdb_frames "$1" old $base > before.txt
    gdb_frames "$2" new $base > after.txt
    ran=$((ran + 1))
    stops=$(grep -c '^#0 ' after.txt)
    [ "$stops" -ge 10 ] || fail "$2: only $stops of the places were reached"
    cmp -s before.txt after.txt || {
        fail "$2: gdb's frames differ (seed $seed)"
        diff before.txt after.txt | head -n 8
    }
}

# The CFA and the return address at each instruction executed, by the calls and returns made.
check_step() {
    timeout 250 "$tools/cfa_step" "./$2" "$rounds" > step.txt 2>&1
    status=$?
    ran=$((ran + 1))
    tail -n 1 step.txt
    [ $status = 0 ] || {
        fail "$2: rows at some instruction are wrong (status $status)"
        tail -n 4 step.txt
    }
    grep -qE 'judged, [1-9][0-9]{2,} of the overlay, 0 wrong' step.txt ||
        fail "$2: too few instructions judged"
}

# Other readers of the tables have nothing to say against them.
check_tables() {
    ran=$((ran + 1))
    readelf --debug-dump=frames "$2" 2>&1 > frames.txt | grep . && fail "$2: readelf complains"
    readelf -SlW "$2" 2>&1 > /dev/null | grep . && fail "$2: readelf complains of headers"
    [ "$(grep -c ' FDE ' frames.txt)" -ge "$(readelf --debug-dump=frames "$1" | grep -c ' FDE ')" ] ||
        fail "$2: entries are missing"
    have eu-readelf || return 0
    eu-readelf --debug-dump=frames "$2" 2>&1 > /dev/null | grep . && fail "$2: eu-readelf complains"
    return 0
}

check_strip() {
    for tool in 'strip' 'objcopy --strip-debug' 'eu-strip' 'patchelf --set-rpath /nowhere'; do
        have "${tool%% *}" || continue
        case "$tool:$2" in patchelf*static*) continue ;; esac
        cp "$2" stripped
        # shellcheck disable=SC2086
        $tool stripped 2> strip.txt || fail "$tool $2: $(cat strip.txt)"
        same "$1" stripped
    done
}

case $1 in
throw)
    every throw.cc '-std=c++14 -O2' same
    orders=random
    every throw.cc '-std=c++17 -O0' same
    ;;
cancel) every cancel.c '-O2 -fexceptions -fasynchronous-unwind-tables' same ;;
jump) every jump.c '-O2' same ;;
fault) # clang has no non-call exceptions: there the run time must terminate
    every fault.cc '-O2 -fnon-call-exceptions -fasynchronous-unwind-tables' same
    ;;
frames) every frames.cc '-O2' check_frames ;;
profile)
    orders=profile
    every throw.cc '-std=c++14 -O2' same
    every frames.cc '-O2' check_frames
    every jump.c '-O2' same
    every cancel.c '-O2 -fexceptions -fasynchronous-unwind-tables' same
    ;;
gdb)
    have gdb || exit 77
    seed=1
    kinds='-pie:-fPIE -no-pie:-fno-pie' # static ones hold too much code for random places to be hit
    every frames.cc '-O1' check_gdb
    ;;
step)
    kinds='-pie:-fPIE'
    orders=random
    rounds=60
    every jump.c '-O2' check_step
    rounds=1
    every throw.cc '-std=c++14 -O2' check_step
    ;;
tables)
    orders=random
    every throw.cc '-std=c++14 -O2' check_tables
    ;;
strip)
    orders=reverse
    every throw.cc '-std=c++14 -O2' check_strip
    ;;
*) fail "no part '$1'" ;;
esac
echo "$ran runs, $failed failed"
[ $ran -gt 0 ] && [ $failed = 0 ]
