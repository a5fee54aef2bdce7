#!/bin/sh
# From nothing to a faster program: installs what is missing, builds respin, then profiles, optimizes
# and compares the stock /usr/bin/lua5.4. On a bare Debian 12 as root or with sudo; again at no harm.
#
#   sh samples/quickstart.sh
#
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."

exec 3>&1 # commands are shown here also when their output goes to a file

say() {
    printf '\n== %s\n' "$*"
}

# Shows a command, then runs it.
show() {
    printf '$ %s\n' "$*" >&3
    "$@"
}

say "installing what is missing"
sh tests/support/install.sh build run

say "building respin (build/release)"
cmake --preset release > /dev/null
cmake --build --preset release --target respin respin-vm -- -j "$(nproc)" | tail -1

respin=build/release/cli/respin
program=$(readlink -f /usr/bin/lua5.4)
script=tests/workloads/lua/bench.lua
out=build/quickstart
rm -rf "$out"
mkdir -p "$out"

say "profile: run the program once on training input, under respin's process VM"
show "$respin" profile -o "$out/lua.rsp" -- "$program" "$script" 0.5 7 > "$out/train.txt"

say "optimize: write a faster copy of the stock file; the original is not touched"
show "$respin" optimize "$program" -p "$out/lua.rsp" -o "$out/lua5.4.fast"

say "compare: same results, how much faster, on other input than it was trained with"
show "$respin" compare "$program" "$out/lua5.4.fast" -n 41 -- "$script" 0.5 42

say "the faster program is $out/lua5.4.fast"
