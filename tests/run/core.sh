#!/bin/sh
# core.sh: a guest that ends with a core file. The file is there, of the native size but for the VM's
# few pages, and shows the guest's registers, stack and siginfo, not the VM's.
# SPDX-License-Identifier: MIT
set -u
CC=${CC:-cc}
failed=0
mkdir -p work
$CC -O1 -g -w -o crash "$SOURCE/tests/run/guests-core/crash.c" -lpthread || exit 1
ulimit -c unlimited 2> ulimit.err || { echo "cores are limited here: skipped"; exit 77; }

# What gdb says of the one core file in work/, without addresses that differ from run to run.
look() {
    gdb -batch -nx -ex 'info registers rbx r12 rip' -ex 'p $xmm7.v2_int64' -ex bt \
        -ex 'p $_siginfo.si_signo' -ex 'p $_siginfo.si_code' ./crash work/core* 2> gdb.err |
        grep -vE '^(\[|warning|Core was)' | sed -E 's/0x[0-9a-f]{9,}//g; s/(threadid|argv)=[^,)]*//g'
}

for way in fault abort thread quit invalid; do
    rm -f work/*
    (cd work && timeout 60 ../crash $way > ../native.out 2>&1; echo $? > ../native.status)
    ls work/core* > core.name 2> ls.err || { echo "no core files here: skipped"; exit 77; }
    look > native.look
    native_blocks=$(stat -c %b work/core*)
    rm -f work/*
    (cd work && timeout 60 "$RESPIN" profile -o ../$way.rsp -- ../crash $way > ../vm.out 2>&1; echo $? > ../vm.status)
    cmp native.status vm.status || { echo "$way: status differs"; failed=1; }
    ls work/core* > core.name 2> ls.err || { echo "$way: no core file"; failed=1; continue; }
    look > vm.look
    case $way in
    abort | quit) sed -i '/^rbx/d' native.look vm.look ;; # a thread's number
    esac
    diff native.look vm.look || { echo "$way: the core file differs"; failed=1; }
    [ "$(stat -c %b work/core*)" -lt $((native_blocks + 4096)) ] || { echo "$way: the core file is too large"; failed=1; }
done
exit $failed
