#!/bin/sh
# Stock programs under the VM, and optimized from their own profile.
#
#   stock.sh BUILD [NAME…]      BUILD: folder with cli/respin; NAMEs of tests/workloads/workload.sh
#   SCALE=0.1                   size of the work (2.5: at least 2 s native each)
#   ENGINE=auto                 the VM's engine (default: respin's)
#   LEAST=0                     seconds of native time that a training run has to take
#   VARIANTS="default …"        of: default all reverse random1 random2 random3; empty: VM only
#   KEEP=dir                    keeps inputs, profiles and outputs there
#
# For each: standard output and exit status under `respin profile` equal the native ones on the
# training input; every hot module, optimized, gives the native result on the reference input, and
# `respin check` accepts it. Prints one line a check and a summary; exit 1 if anything differs.
# SPDX-License-Identifier: MIT
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: stock.sh BUILD [NAME...]}" && pwd)
shift
work=$here/../workloads/workload.sh
respin=$build/cli/respin
scale=${SCALE:-0.1}
least=${LEAST:-0}
variants=${VARIANTS-default all reverse random1 random2 random3}
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$dir"' EXIT
passed=0 failed=0 refused=0

verdict() { # NAME WHAT OK?
    if [ "$3" = 0 ]; then passed=$((passed + 1)); echo "ok   $1: $2"
    else failed=$((failed + 1)); echo "FAIL $1: $2"; fi
}

# Runs a set of a workload; the exit status goes to the end of the output file.
run_to() { # FILE NAME SET [PROGRAM]
    file=$1
    shift
    timeout "${LIMIT:-900}" sh "$work" run "$1" "$dir/$1" "$2" ${3:+"$3"} > "$file" 2> "$file.err"
    echo "status $?" >> "$file"
}

options_of() {
    case $1 in
    default) ;;
    all) echo --hot=all-executed ;;
    reverse) echo --hot=all-executed --layout=reverse --regions=reverse ;;
    random*) echo "--hot=all-executed --layout=random:${1#random} --regions=random:${1#random}" ;;
    esac
}

# Each start of the program gets a profile of its own; they are merged afterwards.
profiling_prefix() { # NAME
    cat > "$dir/$1/prefix" <<EOF
#!/bin/sh
n=0
while ! mkdir "$dir/$1/slot.\$n" 2>/dev/null; do n=\$((n + 1)); done
exec "$respin" profile ${ENGINE:+--engine=$ENGINE} -o "$dir/$1/run.\$n.rsp" -- "\$@"
EOF
    chmod +x "$dir/$1/prefix"
    echo "$dir/$1/prefix"
}

# User and system time of a workload's native run, its children's included.
native_time() { # NAME
    ( run_to "$dir/$1/native.train" "$1" train; times > "$dir/$1/times" )
    tail -1 "$dir/$1/times" | awk '{ split($1, u, /[ms]/); split($2, k, /[ms]/)
        printf "%.2f", 60 * (u[1] + k[1]) + u[2] + k[2] }'
}

profile_one() { # NAME
    name=$1
    rm -rf "$dir/$name"/slot.* "$dir/$name"/*.rsp
    time=$(native_time "$name")
    awk "BEGIN { exit !($time >= $least) }"
    verdict "$name" "$time s native, at least $least" $?
    PRE=$(profiling_prefix "$name") run_to "$dir/$name/vm.train" "$name" train
    cmp -s "$dir/$name/native.train" "$dir/$name/vm.train"
    verdict "$name" "same output and status under the VM" $?
    "$respin" merge -o "$dir/$name/all.rsp" "$dir/$name"/run.*.rsp 2> "$dir/$name/merge.err"
    verdict "$name" "profile is whole" $?
}

# How a rewritten module gets used: as the program, as a library on the path, as a compiler proper.
run_with() { # OUTFILE NAME MODULE NEW
    base=$(basename "$3")
    case $base in
    *.so.*)
        rm -rf "$dir/$2/lib" && mkdir "$dir/$2/lib" && cp "$4" "$dir/$2/lib/$base"
        PRE="env LD_LIBRARY_PATH=$dir/$2/lib" run_to "$1" "$2" ref ;;
    cc1plus)
        rm -rf "$dir/$2/lib" && mkdir "$dir/$2/lib" && cp "$4" "$dir/$2/lib/$base"
        PRE="env COMPILER_PATH=$dir/$2/lib" run_to "$1" "$2" ref ;;
    *) run_to "$1" "$2" ref "$4" ;;
    esac
}

optimize_one() { # NAME MODULE VARIANT
    name=$1 module=$2 variant=$3
    out=$dir/$name/$(basename "$module").$variant
    log=$out.log
    # shellcheck disable=SC2046
    "$respin" optimize "$(readlink -f "$module")" -p "$dir/$name/all.rsp" -o "$out" --explain $(options_of "$variant") > "$log" 2>&1
    status=$?
    if [ $status = 4 ]; then
        refused=$((refused + 1)); echo "none $name: $(basename "$module") $variant refused: $(tail -1 "$log")"
        return
    fi
    verdict "$name" "$(basename "$module") $variant optimized" $status
    [ $status = 0 ] || return
    "$respin" check "$(readlink -f "$module")" "$out" > "$out.check" 2>&1
    verdict "$name" "$(basename "$module") $variant checked" $?
    run_with "$out.ref" "$name" "$module" "$out"
    cmp -s "$dir/$name/native.ref" "$out.ref"
    verdict "$name" "$(basename "$module") $variant same results" $?
}

[ $# -gt 0 ] || set -- $(sh "$work" list)
for name in "$@"; do
    mkdir -p "$dir/$name"
    sh "$work" setup "$name" "$dir/$name" "$scale" || { verdict "$name" "set up" 1; continue; }
    profile_one "$name"
    [ -n "$variants" ] || continue
    run_to "$dir/$name/native.ref" "$name" ref
    for module in $(sh "$work" module "$name"); do
        for variant in $variants; do optimize_one "$name" "$module" "$variant"; done
    done
done
echo "$passed passed, $failed failed, $refused refused"
[ $failed = 0 ]
