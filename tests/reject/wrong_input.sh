#!/bin/sh
# Inputs that do not fit each other, or are not what they should be: a clear message, the right exit
# status, and no output file, whole or half.
# SPDX-License-Identifier: MIT
set -u
failed=0

# rejects STATUS PATTERN COMMAND...
rejects() {
    status=$1 pattern=$2
    shift 2
    "$@" > log 2>&1
    got=$?
    if [ $got != "$status" ] || ! grep -qE -- "$pattern" log || [ -e out ] || ls out.* .out* 2> /dev/null; then
        failed=1
        echo "FAIL: $*: status $got, wanted $status and '$pattern'; it said:"
        cat log
    fi
    rm -f out
}

cat > one.c << 'END'
#include <stdio.h>
int main(void) { long s = 0; for (int i = 0; i < 50000; i++) s += i % ONE; printf("%ld\n", s); return 0; }
END
gcc -O2 -DONE=7 -o one one.c
gcc -O2 -DONE=9 -o other one.c
"$RESPIN" profile -o one.rsp -- ./one > /dev/null 2>&1 || { echo "FAIL: profile"; exit 1; }

# A profile of another build is refused by name: of both.
rejects 4 'it is of .*/one' "$RESPIN" optimize other -p one.rsp -o out
rejects 4 "other: .*(not-in-profile|does not know this build)" "$RESPIN" optimize other -p one.rsp -o out
cp one renamed
"$RESPIN" optimize renamed -p one.rsp -o out > log 2>&1 || { failed=1; echo "FAIL: a file is known by its key, not its name"; cat log; }
rm -f out

rejects 5 'nowhere' "$RESPIN" optimize nowhere -p one.rsp -o out
rejects 5 'nowhere.rsp' "$RESPIN" optimize one -p nowhere.rsp -o out
rejects 3 'one.c: .*not an ELF file' "$RESPIN" optimize one.c -p one.rsp -o out
rejects 3 'one.c: .*not a profile' "$RESPIN" optimize one -p one.c -o out
rejects 5 'nofolder' "$RESPIN" optimize one -p one.rsp -o nofolder/out
gcc -c -o one.o one.c -DONE=3
rejects 4 'ELF type 1' "$RESPIN" optimize one.o -p one.rsp -o out
head -c 9000 one > cut
rejects 3 'cut: .*run past the end' "$RESPIN" optimize cut -p one.rsp -o out
head -c 700 one.rsp > cut.rsp
rejects 3 'cut.rsp: ' "$RESPIN" optimize one -p cut.rsp -o out
: > empty
rejects 3 'empty: ' "$RESPIN" optimize empty -p one.rsp -o out
rejects 3 'empty: ' "$RESPIN" optimize one -p empty -o out

# profile: a program that is none, or has no end, by its name; a profile that could not be written is
# known before the run; no profile takes a program's place
chmod +x cut
rejects 4 './cut: cut short' "$RESPIN" profile -o out -- ./cut
chmod +x empty
rejects 4 './empty: not a program' "$RESPIN" profile -o out -- ./empty
printf '#!/nowhere/sh\n' > script
chmod +x script
rejects 4 '/nowhere/sh: not a program' "$RESPIN" profile -o out -- ./script
rejects 5 'nofolder/out: no file' "$RESPIN" profile -o nofolder/out -- ./one
rejects 4 './one: is a program' "$RESPIN" profile -o ./one -- ./one
rejects 4 './one: is a program' "$RESPIN" merge one.rsp -o ./one
[ -x one ] || { failed=1; echo "FAIL: the program is gone"; }

# the profile is no output of its own reading
cp one.rsp kept.rsp
rejects 2 "'kept.rsp' is the profile" "$RESPIN" optimize one -p kept.rsp -o kept.rsp
rejects 2 "'kept.rsp' is the profile" "$RESPIN" report kept.rsp --html=kept.rsp
rejects 2 "kept.rsp' is the profile" "$RESPIN" convert kept.rsp --to=json -o ./kept.rsp
cmp one.rsp kept.rsp || failed=1

# --all: the folder is made; two modules of one name do not end as one file
mkdir -p a b
cp one a/twin
cp other b/twin
printf '#!/bin/sh\na/twin && b/twin\n' > both
chmod +x both
"$RESPIN" profile -o both.rsp -- ./both > /dev/null 2>&1 || { failed=1; echo "FAIL: profile of both"; }
"$RESPIN" optimize -p both.rsp --all=every > log 2>&1 || { failed=1; echo "FAIL: --all: $(cat log)"; }
grep -q 'another module is called twin' log || { failed=1; echo "FAIL: --all said nothing of twin: $(cat log)"; }
[ -x every/twin ] || { failed=1; echo "FAIL: --all wrote no twin"; }

# report: what cannot be said of BINARY is known before anything is printed
rejects 5 '^respin: nowhere' "$RESPIN" report one.rsp nowhere
[ "$(wc -l < log)" = 1 ] || { failed=1; echo "FAIL: report printed before it failed"; }
rejects 2 'BINARY' "$RESPIN" report one.rsp one --json

# check: an output against another input, an input against itself
"$RESPIN" optimize one -p one.rsp -o fast > /dev/null 2>&1
rejects 3 'other|fast' "$RESPIN" check other fast
rejects 3 'no output of respin' "$RESPIN" check one one
cp fast spoiled
printf '\377' | dd of=spoiled bs=1 seek=64 conv=notrunc 2> /dev/null
rejects 3 'spoiled' "$RESPIN" check one spoiled

# closed descriptors: what is printed lands in no file that was opened in their place
"$RESPIN" optimize one -p one.rsp -o whole --explain <&- >&- 2>&-
[ $? = 5 ] && cmp whole fast || { failed=1; echo "FAIL: closed descriptors: the output differs"; }
rejects 5 'standard output' sh -c '"$0" compare ./one ./one -n 3 --no-model >&-' "$RESPIN"
rejects 5 'standard output' sh -c '"$0" convert one.rsp --to=text >/dev/full' "$RESPIN"

[ $failed = 0 ] || exit 1
echo "wrong input: rejected"
