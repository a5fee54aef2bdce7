#!/bin/sh
# What a block costs in memory (docs/vm.md): a program that executes 400,000 blocks once, and 40 times,
# under auto, against itself; and the end of the run, which is another program in the same process.
#
# Peak: the largest resident set, of respin, its VM and `respin finish`. SPDX-License-Identifier: MIT
set -u
CC=${CC:-cc}
BLOCKS=400000
cat > blocks.s << END
        .globl _start
_start: mov (%rsp), %ecx        # as often as there are arguments
        .balign 16
again:
        .rept $BLOCKS
        add \$3, %rax
        test \$7, %al
        jnz 1f
        inc %rdx
1:
        .endr
        dec %ecx
        jnz again
        mov \$231, %eax
        xor %edi, %edi
        syscall
END
$CC -nostdlib -static -o blocks blocks.s || exit 1

peak() { # ARGUMENT...
    python3 -c 'import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if status == 0 else "failed")' "$@"
}

check() { # NAME BYTES WORD...: at most so many bytes a block
    name=$1 most=$2
    shift 2
    native=$(peak ./blocks "$@")
    vm=$(peak "$RESPIN" profile --quiet --engine=auto -o blocks.rsp -- ./blocks "$@")
    bytes=$(((vm - native) * 1024 / BLOCKS))
    echo "$name: $native KiB native, $vm KiB under auto: $bytes bytes a block (at most $most)"
    [ "$bytes" -le "$most" ]
}

failed=0
once=235 often=350
if nm "$RESPIN" | grep -q __asan_init; then once=300; fi # the end of the run is sanitized, too
check once $once || failed=1
# shellcheck disable=SC2046 # words
check often $often $(seq 40) || failed=1
exit $failed
