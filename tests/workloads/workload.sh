#!/bin/sh
# Deterministic work for stock programs: the catalogue that run tests and benches share.
#
#   workload.sh list                             names, one a line
#   workload.sh setup NAME DIR [SCALE]           makes the inputs in DIR (SCALE 2.5: at least 2 s native)
#   workload.sh run NAME DIR train|ref [PROGRAM] runs it; output and the hashes of written files go
#                                                to standard output; PRE holds words to put before
#                                                the program (respin profile …); PROGRAM replaces the
#                                                stock executable
#   workload.sh command NAME DIR train|ref [PROGRAM]   one shell command that does the main part of it
#   workload.sh program NAME                     the stock executable, resolved
#   workload.sh module NAME                      files worth optimizing, one a line
#
# `train` and `ref` use different inputs. Nothing printed depends on time, addresses or the machine.
# SPDX-License-Identifier: MIT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
libs=/usr/lib/x86_64-linux-gnu
export LC_ALL=C.UTF-8 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PERL_HASH_SEED=0 TZ=UTC

names='sqlite3 perl python3 lua xz unxz zstd unzstd gawk cc1 gxx clang gitlog gitgc openssl sort bash'

# seed and size of a set: reference inputs are larger and other
seed_of() { [ "$1" = ref ] && echo 42 || echo 7; }
scaled() { awk "BEGIN { printf \"%g\", $1 * $2 }"; }
size_of() { [ "$1" = ref ] && scaled "$2" 1 || scaled "$2" 0.6; }

program_of() {
    case $1 in
    sqlite3) p=/usr/bin/sqlite3 ;;
    perl) p=/usr/bin/perl ;;
    python3) p=/usr/bin/python3.11 ;;
    lua) p=/usr/bin/lua5.4 ;;
    xz | unxz) p=/usr/bin/xz ;;
    zstd | unzstd) p=/usr/bin/zstd ;;
    gawk) p=/usr/bin/gawk ;;
    cc1) p=$(gcc -print-prog-name=cc1) ;;
    gxx) p=/usr/bin/g++ ;;
    clang) p=/usr/bin/clang-14 ;;
    gitlog | gitgc) p=/usr/bin/git ;;
    openssl) p=/usr/bin/openssl ;;
    sort) p=/usr/bin/sort ;;
    bash) p=/bin/bash ;;
    *) echo "workload.sh: no workload $1" >&2; exit 2 ;;
    esac
    readlink -f "$p"
}

modules_of() {
    case $1 in
    sqlite3) echo $libs/libsqlite3.so.0 ;;
    clang) printf '%s\n' $libs/libLLVM-14.so.1 $libs/libclang-cpp.so.14 ;;
    xz | unxz) echo $libs/liblzma.so.5 ;;
    openssl) echo $libs/libcrypto.so.3 ;;
    sort) printf '%s\n' "$(program_of sort)" $libs/libc.so.6 ;;
    gxx) gcc -print-prog-name=cc1plus ;;
    *) program_of "$1" ;;
    esac
}

# Text with the statistics of logs: words, numbers, repetition. usage: text LINES SEED
text() {
    awk -v n="$1" -v seed="$2" 'BEGIN {
        srand(seed); split("alpha beta gamma delta error warning info request user session", w, " ")
        for (i = 0; i < n; i++)
            printf "%d %s %s id=%d host%d.example %08x %s\n", i % 977, w[1 + int(rand() * 10)],
                w[1 + int(rand() * 10)], rand() * 1e6, rand() * 50, rand() * 2147483647,
                w[1 + int(rand() * 10)] }'
}

# DIR COMPILER SCALE: real single-file libraries of Debian's libstb-dev, preprocessed
setup_c() {
    if awk "BEGIN { exit !($3 < 0.5) }"; then
        train='IMAGE_RESIZE:stb_image_resize SPRINTF:stb_sprintf' ref='TRUETYPE:stb_truetype'
    elif awk "BEGIN { exit !($3 < 1.5) }"; then
        train='TRUETYPE:stb_truetype' ref='IMAGE:stb_image SPRINTF:stb_sprintf'
    elif awk "BEGIN { exit !($3 < 4) }"; then
        train='TRUETYPE:stb_truetype IMAGE_RESIZE:stb_image_resize SPRINTF:stb_sprintf'
        ref='IMAGE:stb_image IMAGE_WRITE:stb_image_write DXT:stb_dxt'
    elif awk "BEGIN { exit !($3 < 8) }"; then
        train='TRUETYPE:stb_truetype IMAGE_RESIZE:stb_image_resize SPRINTF:stb_sprintf DS:stb_ds'
        ref='IMAGE:stb_image IMAGE_WRITE:stb_image_write DXT:stb_dxt TRUETYPE:stb_truetype SPRINTF:stb_sprintf HEXWAVE:stb_hexwave'
    else
        train='TRUETYPE:stb_truetype IMAGE_RESIZE:stb_image_resize SPRINTF:stb_sprintf DS:stb_ds'
        ref="IMAGE:stb_image IMAGE_WRITE:stb_image_write DXT:stb_dxt $train PERLIN:stb_perlin HEXWAVE:stb_hexwave"
        ref="$ref HERRINGBONE_WANG_TILE:stb_herringbone_wang_tile VORBIS:stb_vorbis"
    fi
    for set in train ref; do
        eval "parts=\$$set"
        for part in $parts; do
            printf '#define STB_%s_IMPLEMENTATION\n#include "%s.h"\n' "${part%%:*}" "${part##*:}"
        done > "$1/$set.c"
        "$2" -E -P -I/usr/include/stb "$1/$set.c" -o "$1/$set.i"
    done
}

setup_git() { # DIR: a repository with history, made with fixed dates
    for set in train ref; do
        rm -rf "$1/$set" && mkdir "$1/$set"
        python3.11 "$here/git/history.py" "$(size_of $set "$2")" "$(seed_of $set)" > "$1/$set.stream"
        git -C "$1/$set" init -q -b main
        git -C "$1/$set" fast-import --quiet < "$1/$set.stream"
    done
}

setup() {
    name=$1 dir=$2 scale=${3:-1}
    mkdir -p "$dir"
    echo "$scale" > "$dir/scale"
    for set in train ref; do
        seed=$(seed_of $set) size=$(size_of $set "$scale")
        case $name in
        sqlite3) /usr/bin/python3.11 "$here/sqlite/gen.py" "$(scaled "$size" 0.9)" "$seed" > "$dir/$set.sql" ;;
        xz | unxz) text "$(scaled "$size" 50000)" "$seed" > "$dir/$set" && xz -kf -6 "$dir/$set" ;;
        zstd | unzstd) text "$(scaled "$size" 600000)" "$seed" > "$dir/$set" && zstd -qf "$dir/$set" ;;
        gawk) text "$(scaled "$size" 150000)" "$seed" > "$dir/$set" ;;
        sort) text "$(scaled "$size" 900000)" "$seed" > "$dir/$set" ;;
        openssl) text "$(scaled "$size" 1800000)" "$seed" > "$dir/$set" ;;
        gxx) /usr/bin/python3.11 "$here/gxx/gen.py" "$size" "$seed" > "$dir/$set.cc" ;;
        esac
    done
    case $name in
    cc1) setup_c "$dir" gcc "$scale" ;;
    clang) setup_c "$dir" clang-14 "$scale" ;;
    gitlog) setup_git "$dir" "$scale" ;;
    gitgc) setup_git "$dir" "$(scaled "$scale" 2.5)" ;;
    esac
}

run() {
    name=$1 dir=$2 set=$3
    program=${4:-$(program_of "$name")}
    pre=${PRE:-}
    scale=$(cat "$dir/scale") seed=$(seed_of "$set")
    size=$(size_of "$set" "$scale")
    out=$dir/out.$$
    case $name in
    sqlite3) $pre "$program" :memory: < "$dir/$set.sql" ;;
    perl) $pre "$program" "$here/perl/bench.pl" "$(scaled "$size" 1.8)" "$seed" ;;
    python3) $pre "$program" "$here/python/bench.py" "$(scaled "$size" 4)" "$seed" ;;
    lua) $pre "$program" "$here/lua/bench.lua" "$(scaled "$size" 2)" "$seed" ;;
    xz) $pre "$program" -6 -c < "$dir/$set" | sha256sum ;;
    unxz) for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do $pre "$program" -dc < "$dir/$set.xz" | sha256sum; done ;;
    zstd) $pre "$program" -T2 -12 -c -q < "$dir/$set" | sha256sum ;;
    unzstd) for i in 1 2 3 4 5 6 7 8 9 10 11 12; do $pre "$program" -dc -q < "$dir/$set.zst" | sha256sum; done ;;
    gawk) $pre "$program" -f "$here/gawk/bench.awk" "$dir/$set" ;;
    cc1) $pre "$program" -quiet -O2 "$dir/$set.i" -o "$out" -dumpbase "$set" && sha256sum < "$out" ;;
    gxx) (cd "$dir" && $pre "$program" -O2 "$set.cc" -o "$out" && sha256sum < "$out" && "$out") ;;
    clang) $pre "$program" -O2 -w -c "$dir/$set.i" -o "$out" && sha256sum < "$out" ;;
    gitlog) $pre "$program" -C "$dir/$set" --no-pager log -p --stat -M main ;;
    gitgc) rm -rf "$out" && cp -r "$dir/$set" "$out" &&
        $pre "$program" -C "$out" -c pack.threads=2 -c gc.auto=0 gc -q --prune=now && git -C "$out" fsck --full &&
        git -C "$out" rev-list --objects --all | sha256sum ;;
    openssl) for hash in sha256 sha1 sha512 md5 blake2b512; do $pre "$program" dgst -$hash < "$dir/$set"; done
        $pre "$program" enc -aes-256-ctr -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff \
            -iv 000102030405060708090a0b0c0d0e0f < "$dir/$set" | sha256sum
        $pre "$program" enc -chacha20 -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff \
            -iv 000102030405060708090a0b0c0d0e0f < "$dir/$set" | sha256sum ;;
    sort) $pre "$program" --parallel=2 -S 64M -k2,2 -k4n "$dir/$set" | sha256sum ;;
    bash) $pre "$program" "$here/bash/bench.sh" "$size" "$seed" ;;
    *) echo "workload.sh: no workload $name" >&2; exit 2 ;;
    esac
    status=$?
    rm -rf "$out"
    return $status
}

# For benches: one process, no hashing; empty where the work is made of several.
command_of() {
    name=$1 dir=$2 set=$3
    program=${4:-$(program_of "$name")}
    seed=$(seed_of "$set") size=$(size_of "$set" "$(cat "$dir/scale")")
    case $name in
    sqlite3) echo "exec $program :memory: < $dir/$set.sql" ;;
    perl) echo "exec $program $here/perl/bench.pl $(scaled "$size" 1.8) $seed" ;;
    python3) echo "exec $program $here/python/bench.py $(scaled "$size" 4) $seed" ;;
    lua) echo "exec $program $here/lua/bench.lua $(scaled "$size" 2) $seed" ;;
    cc1) echo "exec $program -quiet -O2 $dir/$set.i -o /dev/null" ;;
    clang) echo "exec $program -O2 -w -c $dir/$set.i -o /dev/null" ;;
    xz) echo "exec $program -6 -c < $dir/$set > /dev/null" ;;
    gawk) echo "exec $program -f $here/gawk/bench.awk $dir/$set" ;;
    esac
}

case ${1:-} in
list) printf '%s\n' $names ;;
setup) shift; setup "$@" ;;
run) shift; run "$@" ;;
command) shift; command_of "$@" ;;
program) program_of "$2" ;;
module) modules_of "$2" ;;
*) sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
