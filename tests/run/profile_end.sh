# However and whenever the guest ends, its profile is whole: killed by SIGKILL, by a fault in a thread,
# by abort, from inside and (SIGKILL) from outside, at MOMENTS random moments each, with threads and a
# child alive, under every engine.
#
#   ENGINES="threaded" MOMENTS=20 SEED=17 sh profile_end.sh      SEED: the moments of an earlier run
set -u
CC=${CC:-cc}
ENGINES=${ENGINES:-$("$RESPIN" help profile | sed -n 's/.*how the VM runs code: //p' | tr ',' ' ')}
MOMENTS=${MOMENTS:-20}
SEED=${SEED:-$(date +%s)}
failed=0
echo "SEED=$SEED"

fail() {
    echo "$*"
    failed=1
}

# moments SEED LIMIT: MOMENTS random numbers below LIMIT, small ones as likely as large ones
moments() {
    awk -v seed="$1" -v n="$MOMENTS" -v limit="$2" \
        'BEGIN { srand(seed); for (i = 0; i < n; i++) print int(i % 2 ? rand() * limit : exp(rand() * log(limit))) }'
}

# whole PROFILE WHAT: info and report read it, and it knows what ran
whole() {
    "$RESPIN" info "$1" >info.out 2>info.err && "$RESPIN" report "$1" >report.out 2>report.err ||
        { fail "$2: not readable: $(cat info.err report.err)"; return; }
    grep -q 'instructions  *[1-9]' info.out || fail "$2: nothing was counted"
    ! grep -qE 'left out|damaged|cut' info.out info.err || fail "$2: $(cat info.out info.err)"
}

# inside ENGINE HOW STATUS: the guest meets its end by its own doing
inside() {
    for moment in $(moments "$SEED$3" 80000); do
        what="$1, $2 after $moment us"
        "$RESPIN" profile --engine="$1" -o end.rsp -- ./life "$2" "$moment" >end.out 2>end.err
        status=$?
        [ $status = "$3" ] || fail "$what: status $status: $(cat end.err)"
        whole end.rsp "$what"
        grep -q 'profile of 2 processes' info.out || fail "$what: $(head -n 1 info.out)"
        rm -f end.rsp*
    done 2>/dev/null
}

# outside ENGINE: from its first instruction on; before its file is there, nothing has been counted
outside() {
    for moment in $(moments "${SEED}9" 60); do
        what="$1, killed after $moment ms"
        "$RESPIN" profile --engine="$1" -o end.rsp -- ./life abort 500000 >end.out 2>end.err &
        guest=$!
        sleep "$(printf '0.%03d' "$moment")"
        kill -KILL $guest
        wait $guest
        [ $? = 137 ] || fail "$what: it ended by itself: $(cat end.err)"
        [ ! -e end.rsp ] || "$RESPIN" info end.rsp >info.out 2>&1 || fail "$what: $(cat info.out)"
        rm -f end.rsp*
    done 2>/dev/null
}

$CC -O1 -w -o life "$SOURCE/tests/support/life.c" -lpthread || exit 1
for engine in $ENGINES; do
    inside "$engine" kill 137
    inside "$engine" fault 139
    inside "$engine" abort 134
    outside "$engine"
    echo "$engine: 4 ends at $MOMENTS moments each"
done
exit $failed
