#!/bin/bash
# Burst mode against the exact profile: what it costs, what it finds, what an optimization makes of it.
#
#   burst.sh BUILD [NAME...]   BUILD: a Release build; NAME: sqlite3 python3 clang (and any other of
#                              tests/workloads/workload.sh), postgres; without names, these four
#   LEAST=60                   seconds of CPU time under burst mode, for each program
#   SCALE=1 SMALL=0.1          size of the work (runs of 3 s); of the work that the front-end model runs
#   TRANSACTIONS=10000         of each of 4 pgbench clients in a run (postgres)
#   BURST="--burst"            how respin profile is asked
#   CPU=N                      where everything runs, the watcher too (default: the last one)
#   KEEP=DIR                   keeps inputs, profiles and DIR/NAME/pairs; the table by itself:
#                              burst_table.py DIR NAME...
#
# What is printed, and its limits (exit status 1 when one is missed):
#   cost      interleaved pairs, burst to native, median with its 95% interval, whose upper end is to be
#             below 1.05: CPU time of the program (of a server, with its children, for as many
#             transactions), and the time until it ends (pgbench: time a transaction)
#   bursts    CPU time in bursts, as the profile says it, to user time; of the watcher, until the profile
#             is written, to the program's
#   coverage  executed instructions in the hot code by burst mode's ranking, to those in the same amount
#             of hot code by the exact profile's, down to 90% of all: at least 0.90
#   kept      taken branches saved by an optimization from bursts, to those saved from exact counts: at
#             least 0.90 (front-end model, `respin compare`)
# As root, for postgres. SPDX-License-Identifier: MIT
set -u
. "$(dirname "$0")/common.sh"
shift
cpu=${CPU:-$(($(nproc) - 1))}
least=${LEAST:-60} scale=${SCALE:-1} small=${SMALL:-0.1}
server=

end() {
    [ -z "$server" ] || stop_postgres
    clean_up
}
trap end EXIT
trap 'exit 1' INT TERM

measured() { # NAME LABEL OUTPUT COMMAND...
    local name=$1 label=$2 output=$3
    shift 3
    python3 "$here/burst_run.py" "$dir/$name/runs" "$label" "$cpu" "$output" "$@"
}

# The words that stand before the program.
profiled() { # NAME KIND N
    case $2 in
    native) ;;
    exact) echo "$respin profile -o $dir/$1/exact.rsp --" ;;
    burst) echo "$respin profile ${BURST:---burst} -o $dir/$1/burst.$3.rsp --" ;;
    esac
}

# ---- programs of the catalogue ----

setup_catalogue() { # NAME
    sh "$work" setup "$1" "$dir/$1" "$scale" && sh "$work" setup "$1" "$dir/$1.small" "$small"
}

run_catalogue() { # NAME KIND N
    measured "$1" "$2" "$dir/$1/out.$2" sh -c "exec $(profiled "$@") $(plain_command "$1" "$dir/$1" ref)" ||
        return 1
    [ "$3$2" = 1native ] || cmp -s "$dir/$1/out.native" "$dir/$1/out.$2"
}

modules_catalogue() { # NAME
    sh "$work" module "$1"
}

# What the model says of the small work, before and with the modules in DIR.
compare_catalogue() { # NAME DIR
    local program before after libraries=
    program=$(sh "$work" program "$1")
    for module in $(sh "$work" module "$1"); do
        case $module in *.so.*) libraries=1 ;; *) program=$2/$(basename "$module") ;; esac
    done
    before=$(plain_command "$1" "$dir/$1.small" train)
    after=$(plain_command "$1" "$dir/$1.small" train "$program")
    [ -z "$libraries" ] || after="LD_LIBRARY_PATH=$2 $after"
    "$respin" compare "$before" "$after" -n 0
}

# ---- PostgreSQL under pgbench ----

bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1)
port=54397
identity="setpriv --reuid postgres --regid postgres --init-groups"

as_postgres() { (cd / && exec taskset -c "$cpu" $identity "$@"); }
pgbench() { as_postgres "$bin/pgbench" -h "$dir/postgres" -p $port "$@" bench; }

setup_postgres() {
    chmod 711 "$dir"
    mkdir -p "$dir/postgres"
    chown postgres "$dir/postgres"
    as_postgres "$bin/initdb" -D "$dir/postgres/data" -A trust > "$dir/postgres.log" || return 1
    start_postgres setup || return 1
    as_postgres "$bin/createdb" -h "$dir/postgres" -p $port bench
    pgbench -i -s 5 -q > "$dir/postgres.log" 2>&1 || { cat "$dir/postgres.log" >&2; return 1; }
    stop_postgres
}

# Nothing that happens by the clock: the same work in every run.
start_postgres() { # LABEL WORDS before the program
    local label=$1
    shift
    (cd / && exec python3 "$here/burst_run.py" "$dir/postgres/runs" "$label" "$cpu" "$dir/postgres/server.out" \
        $identity "$@" "$bin/postgres" -D "$dir/postgres/data" -p $port -k "$dir/postgres" -c fsync=off \
        -c listen_addresses= -c autovacuum=off -c checkpoint_timeout=1h -c max_wal_size=8GB) &
    measured=$!
    for _ in $(seq 600); do
        as_postgres "$bin/pg_isready" -q -h "$dir/postgres" -p $port && break
        sleep 0.1
    done
    server=$(head -1 "$dir/postgres/data/postmaster.pid")
    [ -n "$server" ]
}

stop_postgres() {
    kill -INT "$server"
    wait "$measured"
    server=
}

run_postgres() { # NAME KIND N
    local said=$dir/postgres/pgbench.$2 n=${TRANSACTIONS:-10000}
    [ "$2" != exact ] || n=$((n / 4))
    # shellcheck disable=SC2046 # words
    start_postgres "$2" $(profiled "$@") || return 1
    pgbench --random-seed=1 -c 4 -t "$n" > "$said" 2>&1
    stop_postgres
    grep -q 'failed transactions: 0 ' "$said" || {
        echo "burst.sh: $(cat "$said")" >&2
        return 1
    }
    # For the time of a server that waits: that of its transactions.
    awk -v said="$said" '
        BEGIN { while ((getline line < said) > 0) if (line ~ /^tps/) { split(line, words, " "); tps = words[3] } }
        { last = $1 " " $2 " " 1000 / tps " " $4; if (NR > 1) print before; before = $0 }
        END { print last }' "$dir/postgres/runs" > "$dir/postgres/runs.new"
    cat "$dir/postgres/runs.new" > "$dir/postgres/runs"
}

modules_postgres() {
    echo "$bin/postgres"
}

# One backend by itself, with queries that do not depend on the runs before. The server finds its files
# by its own place, so the optimized one lies in a tree like the stock one's.
compare_postgres() { # NAME DIR
    local queries=$dir/postgres/queries data="-D $dir/postgres/data bench" tree=$2/tree
    mkdir -p "$tree$bin"
    cp "$2/postgres" "$tree$bin/postgres"
    ln -sfn /usr/share "$tree/usr/share"
    ln -sfn "${bin%/bin}/lib" "$tree${bin%/bin}/lib"
    chmod -R a+rX "$2"
    for i in $(seq 100); do
        echo "select count(*), sum(abalance) from pgbench_accounts where aid between $((i * 97)) and $((i * 97 + 200))"
        echo "select bbalance * 0 from pgbench_branches where bid = $((i % 5 + 1))"
    done > "$queries"
    (cd "$dir/postgres" && TMPDIR=$dir/postgres $identity "$respin" compare -n 0 \
        "$bin/postgres --single $data < $queries" "$tree$bin/postgres --single $data < $queries")
}

# ---- one program ----

optimize() { # NAME PROFILE DIR
    mkdir -p "$3"
    for module in $(modules_$part "$1"); do
        "$respin" optimize "$(readlink -f "$module")" -p "$2" -o "$3/$(basename "$module")" > "$3.log" 2>&1 ||
            echo "burst.sh: $(cat "$3.log")" >&2
    done
}

# Each pair in the other order than the one before, until there is enough.
run_pairs() { # NAME
    local n=0
    : > "$dir/$1/runs"
    while awk -v least="$least" '$1 == "burst" { spent += $2 } END { exit spent >= least }' "$dir/$1/runs"; do
        n=$((n + 1))
        if [ $((n % 2)) = 1 ]; then
            run_$part "$1" native $n && run_$part "$1" burst $n || return 1
        else
            run_$part "$1" burst $n && run_$part "$1" native $n || return 1
        fi
    done
    cp "$dir/$1/runs" "$dir/$1/pairs"
    "$respin" merge "$dir/$1"/burst.*.rsp -o "$dir/$1/burst.rsp" > /dev/null &&
        "$respin" info --json "$dir/$1/burst.rsp" > "$dir/$1/burst.json"
}

bench() { # NAME
    local part=catalogue
    [ "$1" != postgres ] || part=postgres
    mkdir -p "$dir/$1" "$dir/$1.small"
    setup_$part "$1" && run_pairs "$1" && run_$part "$1" exact 1 || return 1
    for kind in exact burst; do
        "$respin" report --records "$dir/$1/$kind.rsp" > "$dir/$1/$kind.records"
        optimize "$1" "$dir/$1/$kind.rsp" "$dir/$1/$kind.new"
        compare_$part "$1" "$dir/$1/$kind.new" > "$dir/$1/$kind.compare" 2>&1 &
        [ $part = catalogue ] || wait $! # one server at a time
    done
    wait # the model's figures do not depend on what else runs
}

[ $# -gt 0 ] || set -- sqlite3 python3 clang postgres
for name in "$@"; do
    echo "burst.sh: $(date +%T) $name" >&2
    bench "$name" || echo "burst.sh: $name: a run failed, or gave other output" >&2
done
python3 "$here/burst_table.py" "$dir" "$@"
