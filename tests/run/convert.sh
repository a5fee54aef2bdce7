# Profiles to and from other tools' formats, sums of profiles, and the digest.
#
# What other tools read is held against them: callgrind_annotate, and BOLT where bolt-22 is there.
set -u
CC=${CC:-cc}
failed=0

fail() {
    echo "$*"
    failed=1
}

# expect STATUS WORDS -- COMMAND…: the exit status, and words on standard error
expect() {
    wanted=$1 words=$2
    shift 3
    "$@" >out 2>err
    got=$?
    [ $got = "$wanted" ] || fail "status $got, not $wanted: $* ($(head -c 300 err))"
    grep -q -- "$words" err || fail "no \"$words\" from: $* ($(head -c 300 err))"
}

cat >app.c <<'C'
#include <stdio.h>
#include <string.h>
__attribute__((noinline)) static int leaf(int n)
{
    int s = 0;
    for (int i = 0; i < n; i++)
        s += i ^ n;
    return s;
}
__attribute__((noinline)) static int middle(int n)
{
    int s = 0;
    for (int i = 0; i < 10; i++)
        s += leaf(n + i);
    return s;
}
__attribute__((noinline)) static int depth(int n)
{
    return n == 0 ? 0 : 1 + depth(n - 1) / 2;
}
__attribute__((noinline)) static int pick(int n)
{
    switch (n % 6) {
    case 0: return n + 3;
    case 1: return n * 7;
    case 2: return n ^ 5;
    case 3: return depth(n % 9);
    case 4: return n - 1;
    default: return (int)strlen("word");
    }
}
int main(int argc, char **argv)
{
    int s = argc;
    for (int i = 0; i < 100; i++)
        s += middle(50 + s % 2) + pick(i);
    printf("%d %s\n", s, argv[0] ? "" : "none");
    return 0;
}
C
$CC -O1 -no-pie -fno-pie -Wl,-q -o app app.c || exit 1
$CC -O1 -fPIE -pie -o pie app.c || exit 1
$CC -O1 -DOTHER -no-pie -fno-pie -o other app.c -Wl,-z,now || exit 1
"$RESPIN" profile -q -o app.rsp -- ./app >native || fail "the program fails"

# ---- the digest -------------------------------------------------------------------------------
digest=$("$RESPIN" info --digest app.rsp)
"$RESPIN" profile -q -o again.rsp -- ./app >out
[ "$("$RESPIN" info --digest again.rsp)" = "$digest" ] || fail "digest: two runs differ"
setarch -R "$RESPIN" profile -q -o fixed.rsp -- ./app >out
[ "$("$RESPIN" info --digest fixed.rsp)" = "$digest" ] || fail "digest: depends on where things are mapped"
mv app apq && mkdir -p p && "$RESPIN" profile -q -o moved.rsp -- ./apq >out && mv apq app
[ "$("$RESPIN" info --digest moved.rsp)" = "$digest" ] || fail "digest: depends on the path"
"$RESPIN" profile -q -o more.rsp -- ./app 1 >out
[ "$("$RESPIN" info --digest more.rsp)" != "$digest" ] || fail "digest: another execution has the same"

# ---- text formats -----------------------------------------------------------------------------
total=$("$RESPIN" info --json app.rsp | sed -n 's/^  "instructions": \([0-9]*\).*/\1/p')
"$RESPIN" convert app.rsp --to=text | "$RESPIN" convert - --to=rsp -o back.rsp
[ "$("$RESPIN" info --digest back.rsp)" = "$digest" ] || fail "text: not the same profile when read again"

sum=$("$RESPIN" convert app.rsp --to=folded | awk '{ s += $NF } END { print s }')
[ "$sum" = "$total" ] || fail "folded: $sum instructions of $total"

"$RESPIN" convert app.rsp --to=json -o app.json
sum=$(python3 -c 'import json; p = json.load(open("app.json"))
print(sum(b[2] * b[3] for m in p["modules"] for b in m["blocks"]), p["digest"])')
[ "$sum" = "$total $digest" ] || fail "json: $sum, not $total $digest"

# callgrind_annotate's own reading: totals, and costs along calls, next to what valgrind counts.
"$RESPIN" convert app.rsp --to=callgrind -o ours.out
callgrind_annotate --threshold=100 ours.out >ours.txt 2>&1 || fail "callgrind_annotate refuses ours"
sum=$(sed -n 's/^ *\([0-9,]*\) .*PROGRAM TOTALS.*/\1/p' ours.txt | tr -d ,)
[ "$sum" = "$total" ] || fail "callgrind: totals of $sum, not $total"
sum=$(sed -n 's/^ *\([0-9,]*\) ([ 0-9.]*%)  [^ ]*:.*/\1/p' ours.txt | tr -d , | awk '{ s += $1 } END { print s }')
[ "$sum" = "$total" ] || fail "callgrind: functions of $sum in all, not $total"
valgrind -q --tool=callgrind --callgrind-out-file=theirs.out ./app >/dev/null 2>valgrind.err ||
    fail "valgrind fails: $(head -1 valgrind.err)"
cost() { # FILE NAME INCLUSIVE
    callgrind_annotate --threshold=100 --inclusive=$3 "$1" 2>/dev/null | sed -n "s/^ *\([0-9,]*\) .*:$2 \[.*/\1/p"
}
for what in 'leaf no' 'middle no' 'leaf yes' 'middle yes'; do
    ours=$(cost ours.out $what) theirs=$(cost theirs.out $what)
    [ -n "$ours" ] && [ "$ours" = "$theirs" ] ||
        fail "callgrind: ${what% *} costs '$ours', valgrind counts '$theirs' (inclusive: ${what#* })"
done

# ---- BOLT's formats, and back ----------------------------------------------------------------
records() { # PROFILE: blocks and edges of the module of the program
    "$RESPIN" report --records "$1" | awk -v name="/$2\$" '
        $1 == "module" { inside = $2 ~ name || $2 == "./'"$2"'" }
        inside && ($1 == "block" || $1 == "edge") {
            if ($1 == "edge" && $4 ~ /:/) $4 = "outside"
            if ($1 == "block" || $NF != 0) print }' | sort
}
"$RESPIN" profile -q -o pie.rsp -- ./pie >/dev/null
for name in app pie; do
    "$RESPIN" convert $name.rsp --to=preagg -o $name.preagg || fail "preagg of $name"
    "$RESPIN" convert $name.preagg --to=rsp -o $name.back.rsp ./$name || fail "preagg of $name, back"
    records $name.rsp $name >records.1
    records $name.back.rsp $name >records.2
    grep -v ' ret ' records.1 | cmp -s - records.2 || fail "preagg: $name comes back changed: $(diff records.1 records.2 | head -3)"
    "$RESPIN" convert $name.rsp --to=fdata -o $name.fdata || fail "fdata of $name"
    "$RESPIN" convert $name.fdata --to=rsp -o $name.back.rsp ./$name || fail "fdata of $name, back"
    records $name.back.rsp $name | grep edge >records.2
    grep -E '^edge (taken|call|jump)' records.1 | sort | comm -23 - records.2 >lost
    [ ! -s lost ] || fail "fdata: $name lost edges: $(head -3 lost)"
done
grep -q '^1 leaf/app.c/1 ' app.fdata || fail "fdata: local functions are not named name/file/number"
"$RESPIN" convert app.rsp --to=preagg --module=libc.so.6 | grep -q '^B [0-9a-f]*:[0-9a-f]* ' ||
    fail "preagg: addresses of a shared object bear no build id"

cat >throw.cc <<'C'
#include <cstdio>
#include <stdexcept>
#include <string>
struct Guard {
    int *n;
    ~Guard() { ++*n; }
};
static int parse(const std::string &s, int *n)
{
    Guard g{n};
    if (s.size() % 3 == 0)
        throw std::runtime_error("bad " + s);
    return (int)s.size();
}
static int outer(int i, int *n)
{
    Guard g{n};
    std::string s(i % 7 + 1, 'x');
    try {
        return parse(s, n);
    } catch (const std::exception &e) {
        return (int)std::string(e.what()).size();
    }
}
int main()
{
    int n = 0, t = 0;
    for (int i = 0; i < 500; i++)
        t += outer(i, &n) + (int)std::to_string(t).size();
    printf("%d %d\n", n, t);
}
C
${CXX:-c++} -O2 -no-pie -fno-pie -Wl,-q -o throw throw.cc || exit 1
"$RESPIN" profile -q -o throw.rsp -- ./throw >/dev/null

bolt=$(command -v perf2bolt || ls /usr/lib/llvm-22/bin/perf2bolt 2>/dev/null)
if [ -n "$bolt" ]; then
    for name in app pie throw; do
        "$RESPIN" convert $name.rsp --to=preagg -o $name.preagg
        "$RESPIN" convert $name.rsp --to=fdata -o $name.fdata
        "$bolt" -pa -p $name.preagg -o theirs.fdata ./$name >bolt.out 2>&1 || fail "perf2bolt refuses preagg of $name"
        grep -q 'mismatching disassembled function contents: 0 ' bolt.out ||
            fail "preagg of $name: $(grep mismatching bolt.out)"
        "$(dirname "$bolt")/llvm-bolt" ./$name -data=$name.fdata -o $name.bolt >bolt.out 2>&1 ||
            fail "llvm-bolt refuses fdata of $name"
        grep -iE 'stale|invalid' bolt.out && fail "fdata of $name: BOLT calls it stale"
        # the same records as BOLT makes from preagg; it names local functions without their file
        sed -E 's#([^ /]+)/[^ /]+/1 #\1/1 #g' $name.fdata | sort >ours.fdata
        sort theirs.fdata | comm -3 - ours.fdata >differ
        [ ! -s differ ] || fail "fdata of $name: not what BOLT makes: $(head -5 differ)"
        [ "$(./$name.bolt)" = "$(./$name)" ] || fail "$name: the program that BOLT wrote differs"
    done
else
    echo "bolt-22 is not installed: its reading of preagg and fdata is not tested"
fi

# Branch stacks with the mappings that perf prints: three steps of the loop in main.
"$RESPIN" report --records pie.rsp | awk '/^module .*\/pie$/ { inside = 1 }
    inside && /^edge taken/ && $NF > 90 { print $3, $4; exit }' >step
read -r from to <step
{
    echo ' 7 PERF_RECORD_MMAP2 7/7: [0x555500001000(0x1000) @ 0x1000 fe:00 7 8]: r-xp /where/ever/pie'
    for pid in 7 8; do
        printf ' %d  0x%x/0x%x/P/-/-/0  0x%x/0x%x/M/-/-/0\n' $pid $((from + 0x555500000000)) $((to + 0x555500000000)) \
            $((from + 0x555500000000)) $((to + 0x555500000000))
    done
} >pie.perf
"$RESPIN" convert pie.perf --to=rsp -o perf.rsp ./pie || fail "perf script"
"$RESPIN" report --records perf.rsp | grep -q "^edge taken $from $to 4$" || fail "perf script: the branch is not there 4 times"
"$RESPIN" convert perf.rsp --to=preagg | grep -q "^B ${from#0x} ${to#0x} 4 0$" || fail "perf script: not its own main executable"
"$RESPIN" optimize -q pie -p perf.rsp -o pie.fast --hot=all-executed && [ "$(./pie.fast)" = "$(./pie)" ] ||
    fail "perf script: nothing can be optimized from it"

# ---- sums -------------------------------------------------------------------------------------
"$RESPIN" merge -q app.rsp more.rsp -o 1.rsp
"$RESPIN" merge -q 1.rsp pie.rsp -o left.rsp
"$RESPIN" merge -q pie.rsp more.rsp -o 2.rsp
"$RESPIN" merge -q 2.rsp app.rsp -o right.rsp
cmp -s left.rsp right.rsp || fail "merge: the order matters"
printf '%s\n' more.rsp pie.rsp app.rsp | "$RESPIN" merge -q --list - -o listed.rsp
cmp -s left.rsp listed.rsp || fail "merge: a list gives another sum"
"$RESPIN" merge -q - more.rsp pie.rsp -o piped.rsp <app.rsp
cmp -s left.rsp piped.rsp || fail "merge: standard input gives another sum"
"$RESPIN" merge -q app.rsp app.rsp app.rsp more.rsp -o three.rsp
"$RESPIN" merge -q --weighted-input=3,app.rsp more.rsp -o weight.rsp
[ "$("$RESPIN" info --digest three.rsp)" = "$("$RESPIN" info --digest weight.rsp)" ] ||
    fail "merge: three times is not weight 3"
i=0
while [ $i -lt 600 ]; do
    printf 'respin-profile-text 1\nmodule /bin/x\nbuild-id 01\nblock 0x%x 4 1 1 4\n' $((i % 50 * 4)) >part.$i
    i=$((i + 1))
done
ls | grep '^part\.' | "$RESPIN" merge -q --list - -o many.rsp || fail "merge of 600"
[ "$("$RESPIN" report --records many.rsp | grep -c '^block .* 12 4$')" = 50 ] || fail "merge: 600 profiles do not add up"

cp app app.first && cp other app
"$RESPIN" profile -q -o rebuilt.rsp -- ./app >/dev/null
expect 4 'app is build .* here and build .* in app.rsp' -- "$RESPIN" merge app.rsp rebuilt.rsp -o mixed.rsp
[ ! -e mixed.rsp ] || fail "merge: a refused sum was written"
"$RESPIN" merge -q --mixed app.rsp rebuilt.rsp -o mixed.rsp || fail "merge --mixed"
[ "$("$RESPIN" info mixed.rsp | grep -c '%.*/app$')" = 2 ] || fail "merge --mixed: not both builds"
"$RESPIN" convert mixed.rsp --to=preagg ./app.first | cmp -s - app.preagg || fail "BINARY does not pick its build"
expect 4 'is not the file that ran any more' -- "$RESPIN" convert app.rsp --to=preagg --module=app
expect 4 'which app.rsp holds no counts of' -- "$RESPIN" convert app.rsp --to=preagg ./app
mv app.first app

# ---- what is wrong is said --------------------------------------------------------------------
cp app bare && strip bare
"$RESPIN" profile -q -o bare.rsp -- ./bare >/dev/null
expect 4 'is stripped, and fdata names functions' -- "$RESPIN" convert bare.rsp --to=fdata
"$RESPIN" convert bare.rsp --to=preagg >/dev/null || fail "preagg of a stripped file"
printf 'B 401000 401010 x 0\n' >bad.preagg
expect 3 'bad.preagg: offset 0x0: line 1: "x" is not a count' -- "$RESPIN" convert bad.preagg --to=text ./app
printf '1 main 0 1 main 4 0 7\n1 main zz 1 main 4 0 7\n' >bad.fdata
expect 3 'bad.fdata: offset 0x16: line 2: "zz" is not an offset' -- "$RESPIN" convert bad.fdata --to=text ./app
printf 'something else\n' >bad.txt
expect 3 'not a profile' -- "$RESPIN" convert bad.txt --to=text
printf 'PERFILE2 and more' >perf.data
expect 4 'perf script -F pid,brstack' -- "$RESPIN" convert perf.data --to=text ./app
expect 2 'which BINARY' -- "$RESPIN" convert app.preagg --to=text
expect 2 'is none of' -- "$RESPIN" convert app.rsp --to=pdf
expect 2 '-o OUT is missing' -- "$RESPIN" convert app.rsp --to=rsp
expect 5 'cannot be opened' -- "$RESPIN" convert none.rsp --to=text
expect 5 'no file can be made' -- "$RESPIN" convert app.rsp --to=text -o nowhere/out

# What is no file is written to, not replaced.
mkfifo pipe
for what in "convert app.rsp --to=text -o pipe" "merge -q app.rsp -o pipe" "optimize -q app -p app.rsp -o pipe"; do
    timeout 60 cat pipe >through &
    "$RESPIN" $what 2>err || fail "$what: $(cat err)"
    wait $!
    [ -p pipe ] && [ -s through ] || fail "$what: the pipe was replaced, or nothing came"
done
[ $failed = 0 ] && echo "convert: everything as it should be"
exit $failed
