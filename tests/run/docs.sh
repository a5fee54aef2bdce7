#!/bin/sh
# The lists in docs/ say what the code's tables say (respin --list-…), and links between pages lead
# somewhere.
# SPDX-License-Identifier: MIT
set -u
docs=$SOURCE/docs
failed=0

same() { # WHAT GOT WANT
    if ! diff "$2" "$3" > diff.txt; then
        failed=1
        echo "FAIL: $1 (< documentation, > code):"
        cat diff.txt
    fi
}

# docs/refusals.md: per reason a section that begins "*Scope: sentence.*"
"$RESPIN" --list-refusals | awk -F '\t' '{ print $1 "\t" tolower($2) "\t" tolower($3) }' > code.txt
awk '/^## / { name = substr($0, 4); getline; line = $0
              while (line !~ /\.\*/ && (getline more) > 0 && more != "") line = line " " more
              sub(/\.\*.*/, "", line); sub(/^\*/, "", line)
              at = index(line, ": ")
              print name "\t" tolower(substr(line, 1, at - 1)) "\t" tolower(substr(line, at + 2)) }' \
    "$docs/refusals.md" | sed 's/\tsite\t/\tpatch site\t/' > page.txt
same docs/refusals.md page.txt code.txt

# Tables: the rows' first columns, backquotes left out
rows() { # FILE COLUMNS
    sed -n 's/^| `/| /p' "$1" | tr -d '`' |
        awk -F ' *[|] *' -v n="$2" '{ line = $2; for (i = 3; i <= n + 1; i++) line = line "\t" $i; print line }'
}
"$RESPIN" --list-passes > code.txt
rows "$docs/passes.md" 4 > page.txt
same docs/passes.md page.txt code.txt
"$RESPIN" --list-forms > code.txt
rows "$docs/forms.md" 3 > page.txt
same docs/forms.md page.txt code.txt

# Each form's proof is a case of the test.
"$RESPIN" --list-forms | cut -f 3 | while read -r proof; do
    grep -q "\"$proof\"\|\\b$proof\\b" "$SOURCE/tests/unit/test_move.c" || echo "no case $proof in test_move.c"
done > missing.txt
[ ! -s missing.txt ] || { cat missing.txt; failed=1; }

# docs/modules.md names every module, and none that is gone.
python3 "$SOURCE/tests/support/modules.py" "$SOURCE" --names > code.txt
awk '/^## / { sub("/:", "", $2); folder = $2 } /^\| `/ { print folder " " $2 }' "$docs/modules.md" |
    tr -d '`' > page.txt
same "docs/modules.md (tests/support/modules.py . > docs/modules.md)" page.txt code.txt

# Links
for page in "$SOURCE"/*.md "$docs"/*.md "$docs"/*/*.md; do
    grep -oE '\]\([^)#:]+' "$page" | sed 's/](//' | while read -r link; do
        [ -e "$(dirname "$page")/$link" ] || echo "$page: no $link"
    done
done > missing.txt
[ ! -s missing.txt ] || { cat missing.txt; failed=1; }

[ $failed = 0 ] || exit 1
echo "docs: as the code says"
