#!/bin/sh
# Everything that must hold: sets the machine up, builds with gcc (ASan, UBSan) and with clang, lints,
# runs every test. On a bare Debian 12 as root or with sudo; again at no harm.
#
#   sh tests/run.sh
#
# Exit status 0 only when all of it passed. The last lines are ctest's.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."

say() {
    echo "== $*"
}

say "installing what is missing"
sh tests/support/install.sh build run test
jobs=$(nproc)

say "building with gcc, ASan and UBSan (build/dev)"
cmake --preset dev > /dev/null
cmake --build --preset dev -- -j "$jobs"

say "building with clang (build/clang)"
cmake --preset clang > /dev/null
cmake --build --preset clang -- -j "$jobs"

status=0
say "lint"
sh tests/lint.sh || status=1

say "unit tests of the clang build"
ctest --preset clang -L unit -j "$jobs" > build/clang/unit.log 2>&1 || {
    cat build/clang/unit.log
    status=1
}

say "every test (build/dev)"
ctest --preset dev -j "$jobs" || status=1
[ $status = 0 ] || echo "== FAILED: see above"
exit $status
