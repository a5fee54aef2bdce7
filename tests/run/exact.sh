#!/bin/sh
# Counts are exact: `respin profile` and an independent count agree on every instruction and edge.
#
#   exact.sh [steps|callgrind|sums]...     RESPIN, BUILD, SOURCE as tests/CMakeLists.txt sets them
#
# steps      short runs against tests/support/stepper.c (ptrace, one instruction at a time): static and
#            dynamic programs of our own, one with threads, and stock ones, with all their libraries.
# callgrind  longer runs against valgrind --tool=callgrind --dump-instr=yes: each instruction of the
#            executable itself. Instructions with a repeat prefix are left out: callgrind counts rounds.
# sums       on larger runs, what enters a block leaves it (tests/support/check_flow.py): all but the
#            starts of the program and of its threads, which no edge leads to.
#
# Held equal on both sides, because libc acts on it: environment, auxiliary stack layout, no address
# space randomisation, glibc.pthread.rseq=0 (the VM answers rseq with ENOSYS; design.md 3.1). And
# where libraries are: ld.so searches its cache by halves, so a package that is installed meanwhile
# makes for another branch or two.
# SPDX-License-Identifier: MIT
set -u
CC=${CC:-cc}
vm=${VM:-$BUILD/profiler/respin-vm}
stepper=$BUILD/tests/stepper
python=$(command -v python3.11 || command -v python3)
clean="env -i PATH=/usr/bin:/bin LC_ALL=C LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu GLIBC_TUNABLES=glibc.pthread.rseq=0"
failed=0

verdict() { # NAME OK?
    if [ "$2" = 0 ]; then echo "ok   $1"; else echo "FAIL $1"; failed=1; fi
}

# The size of the VM's own words on the stack, without the program's name that ends them.
measure_vm() {
    set -- $($clean "$RESPIN" profile --fixed-addresses -o x.rsp -- ./vm_words)
    vm_bytes=$(($1 - 11)) vm_words=$2
}

compare_steps() { # PROGRAM ARGUMENT...
    $clean "$RESPIN" profile --fixed-addresses -o x.rsp -- "$@" > vm.out 2> vm.err
    vm_status=$?
    $clean "$stepper" -l ${#vm} -b $((vm_bytes + ${#1} + 1)) -w $vm_words steps.txt -- "$@" > steps.out 2> steps.err
    steps_status=$?
    "$RESPIN" report --records x.rsp > vm.txt
    "$python" "$SOURCE/tests/support/compare_counts.py" vm.txt steps.txt > compare.txt
    equal=$?
    sed "s/^/     /" compare.txt
    [ $equal = 0 ] && [ $vm_status = $steps_status ] && cmp -s vm.out steps.out
}

stepped() { # NAME PROGRAM ARGUMENT...
    name=$1
    shift
    compare_steps "$@"
    verdict "$name: stepped" $?
}

# A thread that the machine kept from ending in time makes pthread_join wait: such a run says nothing.
stepped_threads() { # NAME PROGRAM ARGUMENT...
    name=$1
    shift
    compare_steps "$@" || compare_steps "$@" || compare_steps "$@"
    verdict "$name: stepped" $?
}

# Programs whose own code decides everything: libc's choices under valgrind are others.
ground() { # NAME FUNCTIONS PROGRAM ARGUMENT...    FUNCTIONS "": all of .text
    name=$1 functions=$2
    shift 2
    $clean "$RESPIN" profile -o x.rsp -- "$@" > vm.out 2> vm.err
    vm_status=$?
    $clean valgrind -q --tool=callgrind --dump-instr=yes --dump-line=no --compress-pos=no --compress-strings=no --skip-plt=no \
        --callgrind-out-file=callgrind.out "$@" > grind.out 2> grind.err
    grind_status=$?
    "$RESPIN" report --records x.rsp > vm.txt
    "$python" "$SOURCE/tests/support/compare_callgrind.py" vm.txt callgrind.out "$(readlink -f "$1")" $functions > compare.txt
    equal=$?
    sed "s/^/     /" compare.txt
    [ $equal = 0 ] && [ $vm_status = $grind_status ] && cmp -s vm.out grind.out
    verdict "$name: callgrind" $?
}

make_guests() {
    for name in count_flow count_threads count_long; do
        source=$SOURCE/tests/run/guests/$name.c
        $CC -O2 -w -o $name.pie "$source" -lpthread -lm &&
            $CC -O1 -w -static -o $name.static "$source" -lpthread -lm &&
            $CC -O2 -w -no-pie -o $name.fixed "$source" -lpthread -lm || exit 1
    done
    $CC -O2 -w -o vm_words "$SOURCE/tests/support/vm_words.c" || exit 1
    printf 'delta\nalpha\ncharlie\nbravo\n' > words
    seq 1 40000 > numbers
}

steps() {
    if ! "$stepper" x.txt -- /bin/true; then
        echo "single-stepping is not possible here: left out"
        return
    fi
    measure_vm
    for kind in static pie fixed; do stepped "count_flow ($kind)" ./count_flow.$kind; done
    for kind in static pie; do stepped_threads "count_threads ($kind)" ./count_threads.$kind; done
    stepped true /bin/true
    stepped factor /usr/bin/factor 600851475143
    stepped sort /usr/bin/sort --parallel=1 words
    stepped expr /usr/bin/expr 6 '*' 7
}

callgrind() {
    own='main sort next ackermann step'
    for kind in static pie fixed; do ground "count_long ($kind)" "$own" ./count_long.$kind; done
    ground gzip "" /bin/gzip -9 -c numbers
    ground sort "" /usr/bin/sort --parallel=1 -n -r numbers
}

summed() { # NAME STARTS PROGRAM ARGUMENT...
    name=$1 starts=$2
    shift 2
    $clean "$RESPIN" profile -o x.rsp -- "$@" > vm.out 2> vm.err &&
        "$RESPIN" report --records x.rsp > vm.txt &&
        "$python" "$SOURCE/tests/support/check_flow.py" vm.txt "$starts" > compare.txt
    equal=$?
    sed "s/^/     /" compare.txt
    verdict "$name: sums" $equal
}

sums() {
    workloads=$SOURCE/tests/workloads
    [ ! -x /usr/bin/lua5.4 ] || summed lua 1 /usr/bin/lua5.4 "$workloads/lua/bench.lua" 0.02 7
    summed perl 1 /usr/bin/perl -e 'my %h; $h{$_ % 977} .= chr(65 + $_ % 26) for 1 .. 60000;
        my $n = () = join("", map { $h{$_} } sort keys %h) =~ /(A.C|[D-F]+G)/g; printf "%d\n", $n'
    [ ! -x /usr/bin/python3.11 ] || summed python 1 /usr/bin/python3.11 -S -c 'import json, re
d = {str(i): [i, {"x": i * 0.5}] for i in range(3000)}
print(len(json.dumps(json.loads(json.dumps(d)))), len(re.findall(r"\d+\.5", str(d))))'
    summed count_threads 2 ./count_threads.pie
}

make_guests
[ $# -gt 0 ] || set -- steps callgrind sums
for part in "$@"; do $part; done
exit $failed
