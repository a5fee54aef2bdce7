#!/bin/bash
# How many times slower than native: every engine of respin's VM with exact counts, valgrind without a
# tool, callgrind, qemu, and programs instrumented by llvm-bolt; in user time.
#
#   vm.sh BUILD [NAME...]     BUILD: a Release build; NAME: integer strings floats (small programs)
#                             sqlite3 lua perl python3 cc1 clang xz, and lua-reloc sqlite3-reloc
#                             (built from source with relocations: what llvm-bolt wants)
#   LONG="auto"               tools that run the long work (LEAST seconds native)
#   SHORT="threaded ..."      tools that run the short work
#   ROUNDS=5 SLOW_ROUNDS=1    interleaved rounds; of valgrind and qemu
#   SCALE=8 SHORT_SCALE=0.25  size of the work; SCALE is repeated until LEAST is reached. The small
#                             programs' short work is SHORT_SCALE's share of theirs at 0.25. Compilers'
#                             long work is twice SCALE: one file that takes about as long as the others
#   LEAST=10                  seconds of native time of the long work
#   CPU=N                     where everything runs (default: the last one)
#   KEEP=DIR                  keeps inputs and DIR/runs, one line a run (tests/bench/vm_table.py)
#
# Tools: ENGINE (switch indirect threaded translate auto), none, callgrind, qemu, bolt (names ending in
# -reloc). What is missing on the machine is left out and said so. At the end: which share of each
# program's instructions has a handler in the interpreters (forms-share). SPDX-License-Identifier: MIT
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: vm.sh BUILD [NAME...]}" && pwd)
shift
work=$here/../workloads/workload.sh
cpu=${CPU:-$(($(nproc) - 1))}
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$dir"' EXIT
runs=$dir/runs
export LC_ALL=C.UTF-8 PERL_HASH_SEED=0 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || set -- integer strings floats sqlite3 lua perl python3 cc1 clang xz lua-reloc sqlite3-reloc
long=${LONG-auto bolt}
short=${SHORT-threaded switch indirect translate none callgrind qemu}
bolt=$(ls /usr/lib/llvm-*/bin/llvm-bolt 2> /dev/null | tail -1)

have() { # TOOL
    case $1 in
    none | callgrind) command -v valgrind ;;
    qemu) command -v qemu-x86_64 ;;
    bolt) [ -n "$bolt" ] ;;
    *) "$build/cli/respin" profile --engine="$1" -o "$dir/try.rsp" -- /bin/true 2> /dev/null ;;
    esac > /dev/null
}

present() { # TOOL...: those that there are
    for tool in "$@"; do
        if have "$tool"; then echo "$tool"; else echo "vm.sh: no $tool here" >&2; fi
    done
}

# The shell words that run a program under a tool.
prefix_of() { # TOOL
    case $1 in
    native | bolt) ;;
    none) echo "valgrind -q --tool=none" ;;
    callgrind) echo "valgrind -q --tool=callgrind --dump-instr=yes --collect-jumps=yes --callgrind-out-file=$dir/callgrind.out" ;;
    qemu) echo qemu-x86_64 ;;
    *) echo "$build/cli/respin profile --quiet --engine=$1 -o $dir/app.rsp --" ;;
    esac
}

# Leaves a shell command in $dir/KIND-NAME.sh, to be given words in PRE; and one for bolt.
make_program() { # KIND NAME SCALE
    local rounds name program
    case $2 in
    integer | strings | floats)
        case $2 in integer) rounds=14 ;; strings) rounds=60 ;; floats) rounds=300 ;; esac
        [ "$1" = short ] && rounds=$(awk "BEGIN { n = $rounds * $3 / 0.25; print n < 1 ? 1 : int(n) }") || rounds=$((rounds * 8))
        ${CC:-cc} -O3 -o "$dir/$2" "$here/small/$2.c" -lm || return 1
        echo "exec \$PRE $dir/$2 $rounds" > "$dir/$1-$2.sh" ;;
    *)
        name=${2%-reloc}
        mkdir -p "$dir/$1-$2.work"
        sh "$work" setup "$name" "$dir/$1-$2.work" "$3" || return 1
        program=
        [ "$2" = "$name" ] || program=$(sh "$here/from_source.sh" "${name/#lua/lua5.4}" "$dir/source") || return 1
        sh "$work" command "$name" "$dir/$1-$2.work" ref ${program:+"$program"} | sed "s/^exec /exec \$PRE /" > "$dir/$1-$2.sh"
        [ -z "$program" ] || instrument "$1" "$2" "$program" ;;
    esac
}

instrument() { # KIND NAME PROGRAM
    [ -n "$bolt" ] || return 0
    "$bolt" -instrument "$3" -o "$dir/$2.instrumented" -instrumentation-file="$dir/$2.fdata" > "$dir/$2.bolt.log" 2>&1 || return 0
    sed "s#$3#$dir/$2.instrumented#" "$dir/$1-$2.sh" > "$dir/$1-$2.bolt.sh"
}

run() { # KIND NAME TOOL REPEAT
    local script=$dir/$1-$2.sh
    [ "$3" != bolt ] || script=$dir/$1-$2.bolt.sh
    [ -e "$script" ] || return 0
    PRE=$(prefix_of "$3") taskset -c "$cpu" python3 "$here/measure.py" "$runs" "$1 $2 $3" "$4" "$dir/out.$3" sh "$script"
    [ "$3" = native ] || cmp -s "$dir/out.native" "$dir/out.$3" || echo "vm.sh: $2: other output under $3"
}

# Of the profile that an engine has just left.
forms() { # NAME TOOL
    case $2 in
    native | none | callgrind | qemu | bolt) return 0 ;;
    esac
    [ -z "$(grep -s "^$1:" "$dir/forms")" ] && [ -x "$build/tests/forms-share" ] || return 0
    echo "$1: $("$build/tests/forms-share" "$dir/app.rsp" 3 | sed 1d | tr -s ' \n' ' ')" >> "$dir/forms"
}

# How often the native program must run to take LEAST seconds.
repeats() { # NAME
    python3 "$here/measure.py" "$dir/probe" probe 1 "$dir/out.probe" sh "$dir/long-$1.sh"
    awk -v least="${LEAST:-10}" 'END { n = least / ($2 + 0.001); m = int(n); if (n > m) m++; print m }' "$dir/probe"
}

long_scale() { # NAME
    case $1 in
    cc1 | clang) awk "BEGIN { print 2 * ${SCALE:-8} }" ;;
    *) echo "${SCALE:-8}" ;;
    esac
}

bench() { # KIND NAME ROUNDS SCALE TOOL...
    local kind=$1 name=$2 rounds=$3 scale=$4 repeat=1 round tool
    shift 4
    [ $# -gt 0 ] || return 0
    make_program "$kind" "$name" "$scale" || { echo "vm.sh: $name cannot be made"; return 0; }
    [ "$kind" = short ] || repeat=$(PRE='' repeats "$name")
    for round in $(seq "$rounds"); do
        for tool in native "$@"; do
            case $tool in
            none | callgrind | qemu) [ "$round" -gt "${SLOW_ROUNDS:-1}" ] && continue ;;
            esac
            run "$kind" "$name" "$tool" "$repeat"
            forms "$name" "$tool"
        done
    done
}

: > "$runs"
: > "$dir/forms"
long=$(present $long) short=$(present $short)
for name in "$@"; do
    bench long "$name" "${ROUNDS:-5}" "$(long_scale "$name")" $long
    case $name in *-reloc) ;; *) bench short "$name" "${ROUNDS:-5}" "${SHORT_SCALE:-0.25}" $short ;; esac
done
python3 "$here/vm_table.py" "$runs"
[ ! -s "$dir/forms" ] || { printf '\nexecuted instructions with a handler, and by thunks\n'; "$build/tests/forms-share"; cat "$dir/forms"; }
