#!/bin/sh
# Installs the Debian 12 packages that are missing; does nothing, and needs no rights, when none is.
#
#   install.sh build        to build respin
#   install.sh build run    … and to run samples/quickstart.sh
#   install.sh build run test   … and to run tests/run.sh and the benches
#   install.sh stress           what tests/stress/attach.sh and tests/bench/burst.sh want besides: a server
#
# As root, or with sudo.
# SPDX-License-Identifier: MIT
set -eu

build='gcc libc6-dev cmake ninja-build pkg-config libelf-dev libzydis-dev libzycore-dev
    libzydis4.0 libxxhash-dev libzstd-dev libjansson-dev libcmocka-dev uthash-dev libstb-dev'
run='lua5.4 python3'
test='g++ clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev llvm-14 make
    perl sqlite3 python3 lua5.4 gawk xz-utils zstd git openssl libclang-cpp14 libllvm14
    binutils elfutils patchelf gdb strace valgrind libc6-dbg qemu-user procps file util-linux'
stress='postgresql procps util-linux'

missing=
for set in "$@"; do
    case $set in
    build) packages=$build ;;
    run) packages=$run ;;
    test) packages=$test ;;
    stress) packages=$stress ;;
    *) echo "install.sh: no set '$set'" >&2; exit 2 ;;
    esac
    for package in $packages; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || :)
        [ "$status" = installed ] || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "install.sh: these packages are missing, and this is neither root nor is there sudo:$missing" >&2
        exit 1
    fi
    as_root='sudo'
fi
echo "install.sh: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
# shellcheck disable=SC2086 # words on purpose
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
