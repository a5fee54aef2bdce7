#!/bin/sh
# Manual pages and completion: each verb has a page with all its options, which groff reads without a
# complaint; bash completes verbs and options; what `cmake --install` puts down works there.
#
# Wants RESPIN, BUILD. SPDX-License-Identifier: MIT
set -u
failed=0
fail() {
    failed=1
    echo "FAIL: $*"
}

verbs=$("$RESPIN" help | awk '/^  [a-z]+ / { print $1 }')
[ "$(echo "$verbs" | wc -w)" -ge 8 ] || fail "verbs: $verbs"
for verb in $verbs; do
    page=$BUILD/cli/man/respin-$verb.1
    [ -s "$page" ] || { fail "no page of $verb"; continue; }
    "$RESPIN" help "$verb" | grep -oE -- '^  ....--[a-z-]+' | grep -oE -- '--.*' > options.txt
    [ -s options.txt ] || fail "$verb has no options"
    while read -r option; do
        grep -qF -- "$(printf '%s' "$option" | sed 's/-/\\-/g')" "$page" || fail "respin-$verb.1 lacks $option"
    done < options.txt
    grep -q "respin.-$verb" "$BUILD/cli/man/respin.1" || fail "respin.1 lacks $verb"
done
"$RESPIN" --man=nothing > out.txt 2>&1 && fail "a page of no verb"
if command -v groff > /dev/null; then
    for page in "$BUILD"/cli/man/*.1; do
        groff -man -Tutf8 -ww -z "$page" > complaints.txt 2>&1
        [ ! -s complaints.txt ] || fail "$page: $(head -1 complaints.txt)"
    done
fi

complete_words() { # WORD...: what bash offers for the last one
    bash -c '. "$0" || exit 1; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _respin; echo "${COMPREPLY[*]}"' \
        "$BUILD/cli/respin.bash" "$@"
}
[ "$(complete_words respin opt)" = optimize ] || fail "completion of a verb: $(complete_words respin opt)"
[ "$(complete_words respin optimize --expl)" = --explain ] || fail "completion of an option"
[ "$(complete_words respin merge --verb)" = --verbose ] || fail "completion of an option of every verb"
[ "$(complete_words respin help merg)" = merge ] || fail "completion of help"
touch app.rsp
[ "$(complete_words respin report app.r)" = app.rsp ] || fail "completion of a file"

cmake --install "$BUILD" --prefix "$PWD/installed" > install.log 2>&1 || fail "install: $(tail -1 install.log)"
installed/bin/respin profile -q -o here.rsp -- /bin/true || fail "the installed respin finds no VM"
[ -s here.rsp ] || fail "no profile by the installed respin"
[ -s installed/share/man/man1/respin-optimize.1 ] || fail "no page was installed"

[ $failed = 0 ] || exit 1
echo "manual: every verb and option"
