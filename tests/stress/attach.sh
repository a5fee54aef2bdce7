# Attach to a PostgreSQL server under pgbench, three times: no transaction fails, no process of it keeps
# anything of ours, and it serves on. Then burst mode from the server's start.
#
#   SECONDS_EACH=5 PORT=54393
#
# RESPIN and SOURCE as tests/CMakeLists.txt sets them: then it is skipped where PostgreSQL is missing.
# Without them, the release build of this folder, and PostgreSQL is installed. As root.
# SPDX-License-Identifier: MIT
set -u
SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
failed=0
port=${PORT:-54393}
each=${SECONDS_EACH:-5}
[ "$(id -u)" = 0 ] || { echo "skipped: wants root"; exit 77; }
[ -n "${RESPIN:-}" ] || sh "$SOURCE/tests/support/install.sh" stress || exit 1
RESPIN=${RESPIN:-$SOURCE/build/rel/cli/respin}
bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1)
[ -n "$bin" ] || { echo "skipped: no PostgreSQL here; sh tests/stress/attach.sh installs it"; exit 77; }

fail() {
    echo "$*"
    failed=1
}

as_postgres() { (cd / && setpriv --reuid postgres --regid postgres --init-groups "$@"); }
pgbench() { as_postgres "$bin/pgbench" -h "$dir" -p "$port" "$@" bench; }

start() { # WORDS before the program
    (cd / && exec setpriv --reuid postgres --regid postgres --init-groups "$@" "$bin/postgres" \
        -D "$dir/data" -p "$port" -k "$dir" -c fsync=off -c listen_addresses= > "$dir/log" 2>&1) &
    job=$!
    for _ in $(seq 300); do
        as_postgres "$bin/pg_isready" -q -h "$dir" -p "$port" && break
        sleep 0.1
    done
    server=$(head -1 "$dir/data/postmaster.pid")
}

stop() {
    kill -INT "$server"
    wait "$job" || fail "the server ended with $?"
    server=
}

clean() {
    [ -z "${server:-}" ] || stop
    rm -rf "$dir"
}

# The server and all its children hold no map of ours and no handler for a real-time signal.
is_clean() {
    for pid in $server $(pgrep -P "$server"); do
        grep -E '^7e[8-e][0-9a-f]{9}-' "/proc/$pid/maps" && fail "process $pid has maps of ours"
        caught=$(awk '/SigCgt/ { print substr($2, 1, 8) }' "/proc/$pid/status")
        [ "$caught" = 00000000 ] || fail "process $pid handles real-time signals: $caught"
        grep -q 'TracerPid:.0$' "/proc/$pid/status" || fail "process $pid is traced"
    done
}

served() { # FILE: what pgbench said
    grep -q 'number of failed transactions: 0 ' "$1" || fail "$1: $(cat "$1")"
    grep 'transactions actually' "$1"
    grep -E 'PANIC|FATAL|crash|was terminated' "$dir/log" | grep -v 'starting up' && fail "the server complains"
}

dir=$(mktemp -d) # where its user can come
trap clean EXIT
trap 'exit 1' INT TERM
cd "$dir" || exit 1
chown postgres "$dir"
as_postgres "$bin/initdb" -D "$dir/data" -A trust > initdb.log || { cat initdb.log; exit 1; }
start
as_postgres "$bin/createdb" -h "$dir" -p "$port" bench
pgbench -i -s 2 -q > /dev/null 2>&1

pgbench -n -c 4 -T $((3 * each + 12)) > load 2>&1 &
load=$!
sleep 2
for clock in event timer event; do
    timeout 100 "$RESPIN" profile --attach "$server" --seconds "$each" --burst-clock=$clock -o "$dir/attach.rsp" ||
        fail "attach ($clock): $?"
    is_clean
    "$RESPIN" info "$dir/attach.rsp" | head -1
    "$RESPIN" info "$dir/attach.rsp" | grep -q 'bin/postgres$' || fail "nothing was seen of the server ($clock)"
done
wait $load || fail "pgbench ended with $?"
served load
pgbench -n -c 2 -t 200 > after 2>&1
served after
stop

start "$RESPIN" profile --burst -o "$dir/start.rsp" --
pgbench -n -c 4 -T "$each" > whole 2>&1
served whole
stop
for _ in $(seq 50); do
    "$RESPIN" info "$dir/start.rsp" | head -1 > line
    grep -q 'complete, sampled' line && break
    sleep 0.1
done
grep -q 'profile of [4-9] processes, complete, sampled' line || fail "burst mode from the start: $(cat line)"
exit $failed
