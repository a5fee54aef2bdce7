# Burst mode and attach: programs do what they do natively, the profile is sampled and finds the hot
# loop, and nothing of ours stays in a process that is left.
set -u
CC=${CC:-cc}
failed=0

fail() {
    echo "$*"
    failed=1
}

# The watcher goes on a moment after the program.
settle() { # PROFILE
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        "$RESPIN" info "$1" 2> info.err | head -1 > info.line
        grep -q 'complete, sampled' info.line && return
        sleep 0.2
    done
    fail "$1: $(cat info.line info.err)"
}

# Its records say that FUNCTION has the most instructions of PROGRAM.
finds() { # PROFILE PROGRAM FUNCTION
    set -- "$1" "$2" $(nm -S "$2" | awk -v name="$3" '$4 == name { print $1, $2 }')
    "$RESPIN" report --records "$1" > records || { fail "$1: no report"; return; }
    python3 - "$3" "$4" "$(readlink -f "$2")" << 'END' || fail "$1: the hot loop is not found"
import sys

start, size, program = int(sys.argv[1], 16), int(sys.argv[2], 16), sys.argv[3]
all_, hot, inside = 0, 0, False
for line in open("records"):
    words = line.split()
    if line.startswith("module "):
        inside = line[7:].strip() == program
    elif line.startswith("block "):
        weight = int(words[3]) * int(words[4])
        all_ += weight
        if inside and start <= int(words[1], 16) < start + size:
            hot += weight
print("hot loop: %.2f of %d" % (hot / all_ if all_ else 0, all_))
sys.exit(hot < 0.6 * all_ or all_ == 0)
END
}

# What the process blocks, ignores and handles, and who traces it.
signals_of() { # PID
    grep -E 'Sig(Blk|Ign|Cgt)|TracerPid' /proc/$1/status
}

same() { # NAME STATUS WANTED: got.out against native.out
    [ "$2" = "$3" ] || fail "$1: exit status $2, not $3"
    cmp -s native.out got.out || { fail "$1: other output"; diff native.out got.out | head -5; }
}

for kind in pie static fixed; do
    case $kind in
    pie) flags= ;;
    static) flags=-static ;;
    fixed) flags=-no-pie ;;
    esac
    for name in busy family; do
        $CC -O2 -w $flags -o $name.$kind "$SOURCE/tests/run/burst/$name.c" -lpthread || exit 1
    done
    ./busy.$kind 60000 > native.out
    for clock in event timer; do
        timeout 100 "$RESPIN" profile --burst --burst-clock=$clock -o $kind.rsp -- ./busy.$kind 60000 > got.out
        same "busy ($kind, $clock)" $? 3
        settle $kind.rsp
        finds $kind.rsp ./busy.$kind hot
    done
done

# Many looks, of any length.
./busy.pie 3000 8 > native.out
for edges in 1 7 100000; do
    timeout 100 "$RESPIN" profile --burst=1000 --burst-share=1000 --burst-edges=$edges -o many.rsp -- ./busy.pie 3000 8 > got.out
    same "busy ($edges edges)" $? 3
done

# Threads that come, fault all the time and go; one that blocks the clock's signal and is seen when it
# does not; timers of the guest's own.
for name in visitors shy prof; do
    $CC -O2 -w -o $name "$SOURCE/tests/run/burst/$name.c" -lpthread || exit 1
done
./visitors 30 > native.out
for clock in event timer; do
    timeout 100 "$RESPIN" profile --burst=1000 --burst-clock=$clock -o guest.rsp -- ./visitors 30 > got.out
    same "visitors ($clock)" $? 0
done
./shy 0.01 > native.out
timeout 100 "$RESPIN" profile --burst -o shy.rsp -- ./shy 1.2 > got.out
same shy $? 4
settle shy.rsp
finds shy.rsp ./shy hot
./prof 0.5 > native.out
for clock in event timer; do
    timeout 100 "$RESPIN" profile --burst --burst-clock=$clock -o prof.rsp -- ./prof 0.5 > got.out
    same "prof ($clock)" $? 6
    settle prof.rsp
    finds prof.rsp ./prof hot
done

# The rate is what was asked for, and looks keep to their share.
for hz in 1 50 1000; do
    timeout 100 "$RESPIN" profile --burst=$hz -o rate.rsp -- ./prof 1.1 > got.out
    settle rate.rsp
    "$RESPIN" info --json rate.rsp > rate.json
    python3 - $hz << 'END' || fail "a rate of $hz: $("$RESPIN" info rate.rsp | grep bursts)"
import json, sys

bursts, hz = json.load(open("rate.json"))["bursts"], int(sys.argv[1])
print("%d a second: %d in %d moments" % (hz, bursts["taken"], bursts["moments"]))
dearest = 10e6 # ns that one look may take on a machine with other work
sys.exit(not (0.5 * hz <= bursts["moments"] <= 1.2 * hz + 1 and
              bursts["time_ns"] == bursts["moments"] * 10**9 // hz and
              0 < bursts["taken"] <= bursts["moments"] and
              bursts["spent_ns"] <= 0.02 * bursts["time_ns"] + dearest))
END
done

# Code that is written and mapped anew all the time; vector state; signals from all sides.
$CC -O2 -w -o rewrite "$SOURCE/tests/run/burst/rewrite.c" || exit 1
for name in vectors fire; do
    $CC -O2 -w -o $name "$SOURCE/tests/run/guests/$name.c" -lpthread -lm || exit 1
done
for name in rewrite vectors fire; do
    ./$name 200000 > native.out 2> native.err
    wanted=$?
    timeout 60 "$RESPIN" profile --burst=1000 --burst-share=1000 -o guest.rsp -- ./$name 200000 > got.out 2> got.err
    same "$name" $? $wanted
    cmp -s native.err got.err || fail "$name: other errors: $(cat got.err)"
done

# Children: forked ones and executed ones.
./family.pie 400000 > native.out
timeout 100 "$RESPIN" profile --burst -o family.rsp -- ./family.pie 400000 > got.out
same family $? 5
settle family.rsp
grep -q 'profile of 3 processes' info.line || fail "family: $(cat info.line)"
finds family.rsp ./family.pie hot
timeout 100 "$RESPIN" profile --burst --no-follow -o family.rsp -- ./family.pie 400000 > got.out
same 'family, not followed' $? 5
settle family.rsp
grep -q 'profile of 1 process' info.line || fail "family, not followed: $(cat info.line)"

# Attach: a busy process and one that sleeps go on as if nothing had been.
./busy.pie 400000 > native.out
for clock in event timer; do
    ./busy.pie 400000 > got.out &
    pid=$!
    sleep 0.3
    signals_of $pid > status.before
    timeout 60 "$RESPIN" profile --attach $pid --seconds 1 --burst-clock=$clock -o attach.rsp || fail "attach: $?"
    grep -E '^7e[8-e][0-9a-f]{9}-' /proc/$pid/maps && fail "attach ($clock): maps of ours are left"
    signals_of $pid | diff status.before - || fail "attach ($clock): another signal state"
    [ -s /proc/$pid/timers ] && grep -q 'signal: 6' /proc/$pid/timers && fail "attach ($clock): timers are left"
    wait $pid
    same "attach ($clock)" $? 3
    settle attach.rsp
    finds attach.rsp ./busy.pie hot
done
sleep 3 > got.out &
pid=$!
/bin/sleep 0.3
cp /proc/$pid/maps maps.before
timeout 60 "$RESPIN" profile --attach $pid --seconds 1 -o sleep.rsp || fail "attach to a sleeper: $?"
cmp maps.before /proc/$pid/maps || fail "a sleeper's maps changed"
wait $pid || fail "a sleeper ended with $?"

# What cannot be: said, with its status.
mkdir -p folder
"$RESPIN" profile --burst -o folder -- true 2> err
[ $? = 5 ] || fail "a profile in the place of a folder: $(cat err)"
"$RESPIN" profile --attach 2147483000 -o no.rsp 2> err && fail "attached to nobody"
grep -q 'there is no process' err || fail "$(cat err)"
for hz in 0 1001 often; do
    "$RESPIN" profile --burst=$hz -- true 2> err
    [ $? = 2 ] || fail "a rate of $hz: $(cat err)"
done
"$RESPIN" profile --burst -o no.rsp -- ./is-not-there 2> err
[ $? = 5 ] || fail "no program: $(cat err)"
mkdir -p closed
"$RESPIN" profile --burst -o closed/not/there.rsp -- ./family.pie 1 > got.out 2> err
[ $? = 5 ] || fail "a profile without a folder is an error: $(cat err)"
grep -q 'closed/not/there.rsp: no file can be made' err || fail "nothing said: $(cat err)"
[ ! -s got.out ] || fail "the program ran, and its profile had no place"
exit $failed
