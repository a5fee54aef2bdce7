#!/bin/sh
# What the compiler does not check: format, clang-tidy, and rules of the style that grep can see.
#
#   lint.sh            all of it
#   lint.sh quick      without clang-tidy (seconds)
#
# Prints one line a finding and "lint: N findings"; exit 1 when there is one.
# SPDX-License-Identifier: MIT
set -u
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT

sources() { # [PATHSPEC…]
    git ls-files -- "${@:-*.[ch]}"
}

# rule TEXT PATTERN PATHSPEC…: no line of these files may match
rule() {
    text=$1 pattern=$2
    shift 2
    git grep -nE "$pattern" -- "$@" | sed "s|^|$text: |" >> "$out"
}

rule 'malloc and free only in arena.c' '\b(malloc|calloc|realloc|free|strdup|strndup|asprintf)\(' \
    'core/*.c' 'optimizer/*.c' 'rewriter/*.c' 'profiler/*.c' 'cli/*.c' ':!core/arena.c'
rule 'only cli prints' '\b(f?printf|puts|putchar|perror|fputs)\(' \
    'core/*.c' 'optimizer/*.c' 'rewriter/*.c' ':!core/arena.c'
rule 'only cli/main.c prints errors' '\bstderr\b' \
    'core/*.c' 'optimizer/*.c' 'rewriter/*.c' 'cli/*.c' ':!core/arena.c' ':!cli/main.c' \
    ':!cli/progress.c'
rule 'only cli/main.c exits' '\b(exit|_exit|abort)\(' \
    'core/*.c' 'optimizer/*.c' 'rewriter/*.c' 'cli/*.c' ':!core/arena.c' ':!cli/main.c' \
    ':!cli/compare_run.c'
rule 'unfinished work' '\b(TODO|FIXME|XXX|HACK)\b|not implemented' '*.[chS]' '*.sh' '*.txt' ':!tests/lint.sh'
rule 'a path of one machine' '(^|[ "=(])/(work|home)/' '*.[chS]' '*.sh' '*.txt' '*.md' '*.json' ':!tests/lint.sh'
rule 'another word stands in docs/glossary.md' '\b(freq|frequency|bail|bailout)\b' \
    'core/*.[ch]' 'optimizer/*.[ch]' 'rewriter/*.[ch]' 'cli/*.[ch]'
rule 'zydis stays behind core/insn.c' 'Zydis/' 'optimizer/*.[ch]' 'rewriter/*.[ch]' 'cli/*.[ch]'
rule 'tabs' "$(printf '\t')" '*.[chS]'
rule 'blanks at the end' ' +$' '*.[chS]' '*.sh'

# Stages include core/ and each other's public header only.
rule 'core knows no stage' '#include "(profiler|optimizer|rewriter|cli)/' 'core/*.[ch]'
rule 'the optimizer knows no later stage' '#include "(profiler|rewriter|cli)/' 'optimizer/*.[ch]'
rule 'one public header a stage' \
    '#include "optimizer/(passes|facts|liveness|patch_sites|ext_tsp|cdsort)\.h' \
    'rewriter/*.[ch]' 'cli/*.[ch]' 'core/*.[ch]'

for file in $(sources '*.[chS]'); do
    grep -q 'SPDX-License-Identifier: MIT' "$file" || echo "$file: no licence line" >> "$out"
done

# 600 lines a source file, 300 a header; a file whose table is exempt says so: "lint: table".
for file in $(sources '*.[chS]' '*.sh' '*.bash' '*.py'); do
    lines=$(wc -l < "$file")
    limit=600
    case $file in *.h) limit=300 ;; esac
    if [ "$lines" -gt $limit ] && ! grep -q 'lint: table' "$file"; then
        echo "$file: $lines lines, at most $limit" >> "$out"
    fi
done

# 60 lines a function, between its braces.
sources '*.c' '*.h' '*.sh' '*.bash' | xargs awk '
    /^[a-z_]+\(\) *\{$/ { name = $1; start = FNR }
    /^[A-Za-z_].*\(/ && !/;$/ { name = $0 }
    /^\{$/ { start = FNR }
    /^\}/ {
        if (start > 0 && FNR - start - 1 > 60)
            print FILENAME ":" start ": " FNR - start - 1 " lines, at most 60: " name
        start = 0
    }' >> "$out"

clang_format=$(command -v clang-format-14 || command -v clang-format)
for file in $(sources '*.[ch]' ':!tests/workloads/*'); do
    "$clang_format" --dry-run -Werror "$file" > /dev/null 2>&1 || echo "$file: not formatted" >> "$out"
done

if [ "${1:-all}" = all ]; then
    [ -f build/clang/compile_commands.json ] || cmake --preset clang > /dev/null
    # Not the programs that are run, nor what is a part of an engine's source.
    sources '*.c' ':!tests/run/*' ':!tests/stress/guests/*' ':!tests/bench/*' ':!tests/workloads/*' \
        ':!samples/*' ':!profiler/handlers_step.c' |
        xargs -P "$(nproc)" -n 1 clang-tidy-14 --quiet -p build/clang --extra-arg=-UNDEBUG 2> /dev/null |
        grep -E 'warning:|error:' | sed "s|$PWD/||" | sort -u >> "$out"
fi

cat "$out"
findings=$(wc -l < "$out")
echo "lint: $findings findings"
[ "$findings" = 0 ]
