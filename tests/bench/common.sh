# common.sh: what the benches of stock programs begin with.
#
#   . "$(dirname "$0")/common.sh"     with the build folder as $1
#
#   here      this folder                 build    the build folder, a Release one
#   work      workload.sh                 respin   its command
#   dir       where all files go: KEEP, or a temporary folder that goes at the end (clean_up)
#
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2034 # used by those who read this
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: $(basename "$0") BUILD [NAME...]}" && pwd)
work=$here/../workloads/workload.sh
respin=$build/cli/respin
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
export PYTHONHASHSEED=0 PERL_HASH_SEED=0 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 TZ=UTC

clean_up() {
    [ -n "${KEEP:-}" ] || rm -rf "$dir"
}
trap clean_up EXIT

# What workload.sh runs, as words that something can stand before.
plain_command() { # NAME DIR SET [PROGRAM]
    sh "$work" command "$@" | sed 's/^exec //'
}
