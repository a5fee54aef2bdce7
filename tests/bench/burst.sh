#!/bin/bash
# Burst mode against the exact profile: what it costs, what it finds, what an optimization makes of it.
#
#   burst.sh BUILD [NAME...]   BUILD: a Release build; NAME: sqlite3 python3 clang (and any other of
#                              tests/workloads/workload.sh), postgres
#   LEAST=60                   seconds of CPU time under burst mode, for each program
#   SCALE=1 SMALL=0.25         size of the work; of the work that the front-end model runs
#   TRANSACTIONS=4000          of each of 4 pgbench clients in a run (postgres)
#   KEEP=DIR                   keeps inputs, profiles and DIR/NAME/pairs (native and burst CPU seconds)
#
# Three figures a program, by tests/bench/burst_table.py:
#   cost      CPU time of interleaved pairs, burst to native: median with its 95% interval (limit 1.05)
#   coverage  executed instructions in the hot code by burst mode's ranking, to those in the same amount
#             of hot code by the exact profile's, down to 90% of all (limit 0.90)
#   gain      taken branches saved by an optimization from bursts, to those saved from exact counts
#             (limit 0.90); front-end model, `respin compare`
# SPDX-License-Identifier: MIT
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: burst.sh BUILD [NAME...]}" && pwd)
shift
work=$here/../workloads/workload.sh
respin=$build/cli/respin
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
server=
least=${LEAST:-60} scale=${SCALE:-1} small=${SMALL:-0.25}
export PYTHONHASHSEED=0 PERL_HASH_SEED=0 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 TZ=UTC

end() {
    [ -z "$server" ] || kill -INT "$server" 2> /dev/null
    rm -f "${fast:-}"
    [ -n "${KEEP:-}" ] || rm -rf "$dir"
}
trap end EXIT

# The watcher goes on a moment after the program: until the profile is whole.
settle() { # PROFILE
    for _ in $(seq 100); do
        "$respin" info "$1" 2> /dev/null | head -1 | grep -q ' complete' && return
        sleep 0.1
    done
    echo "burst.sh: $1 is not complete" >&2
}

# ---- programs of the catalogue ----

run_catalogue() { # NAME KIND N: CPU seconds of one run
    local line pre=
    [ "$2" = native ] || pre="$respin profile --burst -o $dir/$1/burst.$3.rsp --"
    line=$(sh "$work" command "$1" "$dir/$1" ref | sed "s|^exec |exec $pre |")
    python3 "$here/measure.py" "$dir/$1/times" "$2" 1 "$dir/$1/out.$2" sh -c "$line"
    tail -1 "$dir/$1/times" | awk '{ print $2 + $3 }'
}

exact_catalogue() { # NAME
    sh -c "$(sh "$work" command "$1" "$dir/$1" ref | sed "s|^exec |exec $respin profile -o $dir/$1/exact.rsp -- |")" > /dev/null
}

# What the model says of the small work, before and with the modules in DIR.
gain_catalogue() { # NAME DIR
    local program before after libraries=
    program=$(sh "$work" program "$1")
    for module in $(sh "$work" module "$1"); do
        case $module in *.so.*) libraries=1 ;; *) program=$2/$(basename "$module") ;; esac
    done
    before=$(sh "$work" command "$1" "$dir/$1.small" train | sed 's/^exec //')
    after=$(sh "$work" command "$1" "$dir/$1.small" train "$program" | sed 's/^exec //')
    [ -z "$libraries" ] || after="LD_LIBRARY_PATH=$2 $after"
    "$respin" compare "$before" "$after" -n 2
}

# ---- PostgreSQL under pgbench ----

bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1)
port=54397

as_postgres() { (cd / && setpriv --reuid postgres --regid postgres --init-groups "$@"); }
pgbench() { as_postgres "$bin/pgbench" -h "$dir/postgres" -p $port "$@" bench; }

setup_postgres() {
    chmod 711 "$dir"
    chown postgres "$dir/postgres"
    as_postgres "$bin/initdb" -D "$dir/postgres/data" -A trust > "$dir/postgres.log" || return 1
    start_postgres native
    as_postgres "$bin/createdb" -h "$dir/postgres" -p $port bench
    pgbench -i -s 5 -q > /dev/null 2>&1
    stop_postgres
}

# measure.py waits for the server and all its children, so their time is counted.
start_postgres() { # native | WORDS before the program
    [ "$1" = native ] && set --
    (cd / && exec python3 "$here/measure.py" "$dir/postgres/times" server 1 "$dir/postgres/server.out" \
        setpriv --reuid postgres --regid postgres --init-groups "$@" \
        "$bin/postgres" -D "$dir/postgres/data" -p $port -k "$dir/postgres" -c fsync=off -c listen_addresses=) &
    measured=$!
    for _ in $(seq 600); do
        as_postgres "$bin/pg_isready" -q -h "$dir/postgres" -p $port && break
        sleep 0.1
    done
    server=$(head -1 "$dir/postgres/data/postmaster.pid")
}

stop_postgres() {
    kill -INT "$server"
    wait "$measured"
    server=
}

run_postgres() { # NAME KIND N
    touch "$dir/postgres/times"
    if [ "$2" = native ]; then
        start_postgres native
    else
        start_postgres "$respin" profile --burst -o "$dir/postgres/burst.$3.rsp" --
    fi
    pgbench -n -c 4 -t "${TRANSACTIONS:-4000}" > "$dir/postgres/pgbench.$2" 2>&1
    grep -q 'failed transactions: 0 ' "$dir/postgres/pgbench.$2" || echo "burst.sh: $(cat "$dir/postgres/pgbench.$2")" >&2
    stop_postgres
    tail -1 "$dir/postgres/times" | awk '{ print $2 + $3 }'
}

exact_postgres() {
    start_postgres "$respin" profile -o "$dir/postgres/exact.rsp" --
    pgbench -n -c 4 -t $((${TRANSACTIONS:-4000} / 8)) > /dev/null 2>&1
    stop_postgres
    settle "$dir/postgres/exact.rsp"
}

# One backend by itself, with queries that do not depend on the runs before. The server finds its
# files by its own place, so the optimized one has to lie beside it for that time.
gain_postgres() { # NAME DIR
    local queries=$dir/postgres/queries data="-D $dir/postgres/data bench"
    fast=$bin/postgres.burst-bench
    cp "$2/postgres" "$fast" && chmod 755 "$fast"
    for i in $(seq 300); do
        echo "select count(*), sum(abalance) from pgbench_accounts where aid between $((i * 97)) and $((i * 97 + 200))"
        echo "select bbalance * 0 from pgbench_branches where bid = $((i % 5 + 1))"
    done > "$queries"
    local run="setpriv --reuid postgres --regid postgres --init-groups"
    "$respin" compare "$run $bin/postgres --single $data < $queries" "$run $fast --single $data < $queries" -n 2
    rm -f "$fast"
}

# ---- one program ----

part_of() { # NAME
    [ "$1" = postgres ] && echo postgres || echo catalogue
}

optimize() { # NAME PROFILE DIR
    mkdir -p "$3"
    local modules
    [ "$1" = postgres ] && modules=$bin/postgres || modules=$(sh "$work" module "$1")
    for module in $modules; do
        "$respin" optimize "$(readlink -f "$module")" -p "$2" -o "$3/$(basename "$module")" > "$3.log" 2>&1 ||
            echo "burst.sh: $(cat "$3.log")" >&2
    done
}

bench() { # NAME
    local part spent=0 n=0
    part=$(part_of "$1")
    mkdir -p "$dir/$1" "$dir/$1.small"
    if [ "$part" = postgres ]; then
        setup_postgres || return 1
    else
        sh "$work" setup "$1" "$dir/$1" "$scale" && sh "$work" setup "$1" "$dir/$1.small" "$small" || return 1
    fi
    : > "$dir/$1/pairs"
    while awk "BEGIN { exit !($spent < $least) }"; do
        n=$((n + 1))
        native=$(run_$part "$1" native $n)
        burst=$(run_$part "$1" burst $n)
        echo "$native $burst" >> "$dir/$1/pairs"
        settle "$dir/$1/burst.$n.rsp"
        spent=$(awk "BEGIN { print $spent + $burst }")
    done
    "$respin" merge "$dir/$1"/burst.*.rsp -o "$dir/$1/bursts" > /dev/null || return 1
    exact_$part "$1"
    for kind in exact bursts; do
        local profile=$dir/$1/$kind
        [ $kind = bursts ] || profile=$profile.rsp
        "$respin" report --records "$profile" > "$dir/$1/$kind.records"
        optimize "$1" "$profile" "$dir/$1/$kind.new"
        gain_$part "$1" "$dir/$1/$kind.new" > "$dir/$1/$kind.compare" 2>&1
    done
}

[ $# -gt 0 ] || set -- sqlite3 python3 clang postgres
for name in "$@"; do
    bench "$name" || echo "burst.sh: $name failed" >&2
    python3 "$here/burst_table.py" "$dir" "$name"
done
