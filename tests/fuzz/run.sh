#!/bin/sh
# Builds the fuzz targets and runs each for some time, from seeds made of stock files.
#
#   run.sh [SECONDS [TARGET…]]      60 seconds each, all targets
#
# New inputs stay in build/fuzz/corpus. Exit status 1 when a target crashed; the input is named.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# = 0 ] || shift
targets=${*:-elf profile convert eh_frame lsda program insn}

cmake --preset fuzz > /dev/null
for target in $targets; do
    cmake --build --preset fuzz -- "fuzz_$target" | tail -1
done
corpus=build/fuzz/corpus
for target in elf profile convert eh_frame lsda program insn; do mkdir -p "$corpus/$target"; done

section() { # FILE SECTION OUT
    objcopy -O binary --only-section="$2" --set-section-flags "$2=alloc" "$1" "$3" 2> /dev/null || :
}
cp /bin/true /bin/sync "$corpus/elf/" 2> /dev/null || :
section /bin/true .eh_frame "$corpus/eh_frame/true"
section /usr/bin/ld.bfd .eh_frame "$corpus/eh_frame/ld"
section /usr/lib/x86_64-linux-gnu/libstdc++.so.6 .gcc_except_table "$corpus/lsda/libstdcxx"
section /bin/true .text "$corpus/insn/true"
find tests/golden/convert -name "from-*" ! -name "*.expect" -exec cp {} "$corpus/convert/" \;
printf 'B 100d 1006 2 0\nF 1000 1006 1\nr 100b 100d 3\nT 1006 1018 101c 3\n' > "$corpus/convert/preagg"
printf ' 1  0x100d/0x1006/P/-/-/0  0x1006/0x1018/P/-/-/0\n' > "$corpus/convert/perf"
find tests -name '*.rsp' -size -64k -exec cp {} "$corpus/profile/" \;
printf 'func 0x1139 "main" count 100 calls 1\nA 0x1139 count 100 hot root:\n    0x1139 push rbp | 55\n    0x113a ret | c3\nlayout A\n' \
    > "$corpus/program/main"

status=0
for target in $targets; do
    echo "== fuzz_$target, $seconds seconds"
    "build/fuzz/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$corpus/$target-" -print_final_stats=1 "$corpus/$target" \
        > "build/fuzz/$target.log" 2>&1 || { status=1; tail -40 "build/fuzz/$target.log"; }
    grep -E 'stat::number_of_executed_units|Test unit written' "build/fuzz/$target.log" || :
done
exit $status
