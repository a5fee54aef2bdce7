#!/bin/sh
# servers.sh: servers and tools of everyday run under the VM to their normal end, with correct results
# and a profile that can be read.
#
#   servers.sh [postgres|redis|nginx|gdb|bash|make|stress-ng]...      all of them without a name
#
#   ENGINE=threaded   how the VM runs code (default: respin's own)
#   SECONDS_EACH=20   pgbench; SECONDS_STRESS=5 for each of STRESSORS of stress-ng
#
# RESPIN and SOURCE as tests/CMakeLists.txt sets them; without them, the release build of this folder.
# Installs what it needs (as root). Everything it starts, it stops. One line a check; exit 1 when one
# fails.
# SPDX-License-Identifier: MIT
set -u
SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
RESPIN=${RESPIN:-$SOURCE/build/rel/cli/respin}
SECONDS_EACH=${SECONDS_EACH:-20}
SECONDS_STRESS=${SECONDS_STRESS:-5}
folder=$(mktemp -d)
chmod 755 "$folder"
started=
failed=0

stop_all() {
    for pid in $started; do
        kill -TERM "$pid" 2> /dev/null && sleep 1
        kill -KILL "$pid" 2> /dev/null
    done
    rm -rf "$folder"
}
trap stop_all EXIT
trap 'exit 1' INT TERM

ok() { echo "ok   $*"; }
fail() {
    echo "FAIL $*"
    failed=1
}

# verdict STATUS WHAT [FILE]: a line, and what FILE says of a failure
verdict() {
    if [ "$1" = 0 ]; then
        ok "$2"
    else
        fail "$2"
        [ -z "${3:-}" ] || tail -n 15 "$3" | sed 's/^/     /'
    fi
}

need() { # COMMAND PACKAGE...
    [ -x "$1" ] || command -v "$1" > /dev/null && return
    shift
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" > "$folder/apt.log" 2>&1 ||
        { tail -n 5 "$folder/apt.log"; fail "cannot install $*"; return 1; }
}

# profile OUT COMMAND...
profile() {
    out=$1
    shift
    "$RESPIN" profile ${ENGINE:+--engine="$ENGINE"} -o "$out" -- "$@"
}

# launch OUT LOG COMMAND...: in the background, as $server
launch() {
    out=$1 log=$2
    shift 2
    "$RESPIN" profile ${ENGINE:+--engine="$ENGINE"} -o "$out" -- "$@" > "$log" 2>&1 &
    server=$!
    started="$started $server"
}

# readable PROFILE WHAT: whole, not empty, and nothing left beside it
readable() {
    "$RESPIN" info "$1" > "$folder/info" 2>&1 && "$RESPIN" report "$1" > "$folder/report" 2>&1 &&
        grep -q '^[1-9][0-9]* instructions in [0-9]* process' "$folder/report"
    verdict $? "$2: profile ($(sed -n 's/^\([0-9]* instructions in [0-9]* process[es]*\).*/\1/p' "$folder/report"))" "$folder/info"
    left=$(find "$(dirname "$1")" -maxdepth 1 -name "$(basename "$1").*" | wc -l)
    [ "$left" = 0 ] || fail "$2: $left files left beside the profile"
}

# wait_for SECONDS COMMAND...
wait_for() {
    tries=$(($1 * 5))
    shift
    while [ $tries -gt 0 ]; do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.2
        tries=$((tries - 1))
    done
    return 1
}

# wait_end PID: waits for its end, at most a minute; its status
wait_end() {
    wait_for 60 sh -c "! kill -0 $1" || kill -KILL "$1"
    wait "$1"
}

# ---- PostgreSQL, as its own user -------------------------------------------------------------

as_postgres() { runuser -u postgres -- "$@"; }

sql() { as_postgres "$bin/psql" -h "$data" -p 54399 -AtX -c "$1" postgres; }

run_postgres() {
    need /usr/lib/postgresql/15/bin/pgbench postgresql postgresql-contrib || return
    bin=/usr/lib/postgresql/15/bin data=$folder/postgres
    mkdir "$data" && chown postgres "$data"
    pg_profile() {
        out=$1
        shift
        as_postgres "$RESPIN" profile ${ENGINE:+--engine="$ENGINE"} -o "$data/$out" -- "$@"
    }
    (cd "$data" && pg_profile initdb.rsp "$bin/initdb" -D "$data/db" --no-sync > "$data/initdb.log" 2>&1)
    verdict $? "postgres: initdb" "$data/initdb.log"
    readable "$data/initdb.rsp" "postgres: initdb"
    (cd "$data" && exec runuser -u postgres -- "$RESPIN" profile ${ENGINE:+--engine="$ENGINE"} -o "$data/server.rsp" -- \
        "$bin/postgres" -D "$data/db" -k "$data" -p 54399 -c listen_addresses= > "$data/server.log" 2>&1) &
    server=$!
    started="$started $server"
    wait_for 120 as_postgres "$bin/pg_isready" -h "$data" -p 54399
    verdict $? "postgres: server starts" "$data/server.log"
    (cd "$data" && as_postgres "$bin/pgbench" -h "$data" -p 54399 -i -s 2 postgres > "$data/init.log" 2>&1)
    verdict $? "postgres: pgbench -i" "$data/init.log"
    (cd "$data" && as_postgres "$bin/pgbench" -h "$data" -p 54399 -c 4 -T "$SECONDS_EACH" postgres > "$data/bench.log" 2>&1)
    grep -q 'number of failed transactions: 0 ' "$data/bench.log"
    verdict $? "postgres: pgbench -c 4 ($(sed -n 's/^number of transactions actually processed: //p' "$data/bench.log") transactions)" "$data/bench.log"
    (cd "$data" && pg_profile pgbench.rsp "$bin/pgbench" -h "$data" -p 54399 -n -c 4 -j 2 -t 200 postgres > "$data/bench.log" 2>&1)
    grep -q 'number of failed transactions: 0 ' "$data/bench.log"
    verdict $? "postgres: pgbench itself under the VM" "$data/bench.log"
    readable "$data/pgbench.rsp" "postgres: pgbench"
    sums=$(sql 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
        and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)
        and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)')
    [ "$sums" = t ]
    verdict $? "postgres: the sums agree ($sums)"
    sql 'set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
        set min_parallel_table_scan_size = 0; select count(*), sum(aid), max(md5(aid::text)) from pgbench_accounts' > "$data/query"
    tail -n 1 "$data/query" | grep -q '^200000|20000100000|ffff'
    verdict $? "postgres: a parallel query" "$data/query"
    as_postgres "$bin/pg_ctl" -D "$data/db" -m fast -t 120 stop > "$data/stop.log" 2>&1
    verdict $? "postgres: clean stop" "$data/stop.log"
    wait_end $server
    verdict $? "postgres: the server's status" "$data/server.log"
    ! grep -E 'terminated by signal|PANIC|FATAL|respin:' "$data/server.log" > "$folder/bad"
    verdict $? "postgres: nothing bad in its log" "$folder/bad"
    readable "$data/server.rsp" "postgres: server"
}

# ---- redis -----------------------------------------------------------------------------------

redis_cli() { timeout 60 redis-cli -s "$folder/redis.sock" "$@"; }

redis_start() {
    launch "$folder/$1.rsp" "$folder/$1.log" redis-server --port 0 --unixsocket "$folder/redis.sock" --dir "$folder" \
        --save '' --appendonly no
    wait_for 60 sh -c "redis-cli -s '$folder/redis.sock' ping | grep -q PONG"
    verdict $? "redis: $1" "$folder/$1.log"
}

run_redis() {
    need redis-server redis-server redis-tools || return
    redis_start redis-first
    timeout 300 redis-benchmark -s "$folder/redis.sock" -n 20000 -c 20 -r 1000 -P 4 -q > "$folder/redis.bench" 2>&1
    verdict $? "redis: redis-benchmark ($(grep -c 'requests per second' "$folder/redis.bench") tests)" "$folder/redis.bench"
    [ "$(redis_cli eval 'local s = 0; for i = 1, 1000 do redis.call("set", "n" .. i, i); s = s + redis.call("get", "n" .. i) end; return s' 0)" = 500500 ]
    verdict $? "redis: a script"
    size=$(redis_cli dbsize)
    redis_cli bgsave > /dev/null # a child writes the file
    wait_for 60 sh -c "redis-cli -s '$folder/redis.sock' info persistence | grep -q 'rdb_bgsave_in_progress:0'"
    redis_cli info persistence | grep -q 'rdb_last_bgsave_status:ok'
    verdict $? "redis: bgsave"
    redis_cli shutdown save > /dev/null
    wait_end $server
    verdict $? "redis: status" "$folder/redis-first.log"
    readable "$folder/redis-first.rsp" redis
    redis_start redis-again
    [ "$(redis_cli dbsize)" = "$size" ]
    verdict $? "redis: $size keys are there again"
    kill -TERM $server
    wait_end $server
    verdict $? "redis: stopped by SIGTERM" "$folder/redis-again.log"
    readable "$folder/redis-again.rsp" "redis, again"
}

# ---- nginx -----------------------------------------------------------------------------------

nginx_config() {
    cat << END
worker_processes 2;
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.error notice;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $folder/t1; proxy_temp_path $folder/t2; fastcgi_temp_path $folder/t3;
    uwsgi_temp_path $folder/t4; scgi_temp_path $folder/t5;
    gzip on; gzip_types *; gzip_min_length 1;
    server { listen 127.0.0.1:18099; root $folder/www; location /sum { return 200 "the sum\n"; } }
}
END
}

run_nginx() {
    need /usr/sbin/nginx nginx-light && need wrk wrk && need curl curl || return
    mkdir "$folder/www"
    seq 1 5000 > "$folder/www/numbers"
    chmod 755 "$folder/www"
    nginx_config > "$folder/nginx.conf"
    launch "$folder/nginx.rsp" "$folder/nginx.log" /usr/sbin/nginx -c "$folder/nginx.conf"
    wait_for 60 curl -s http://127.0.0.1:18099/sum
    verdict $? "nginx: two workers" "$folder/nginx.log"
    for path in numbers sum; do
        timeout 60 wrk -t 2 -c 20 -d 5s "http://127.0.0.1:18099/$path" > "$folder/wrk" 2>&1 &&
            grep -q 'requests in' "$folder/wrk" && ! grep -qE 'Socket errors|Non-2xx' "$folder/wrk"
        verdict $? "nginx: wrk of $path ($(sed -n 's/^ *\([0-9]* requests\) in.*/\1/p' "$folder/wrk"))" "$folder/wrk"
    done
    curl -s --compressed http://127.0.0.1:18099/numbers | cmp -s - "$folder/www/numbers"
    verdict $? "nginx: a file, compressed"
    kill -HUP "$(cat "$folder/nginx.pid")"
    wait_for 60 sh -c "grep -q 'gracefully shutting down' '$folder/nginx.error' && curl -s http://127.0.0.1:18099/sum"
    verdict $? "nginx: new workers by SIGHUP" "$folder/nginx.error"
    kill -QUIT "$(cat "$folder/nginx.pid")"
    wait_end $server
    verdict $? "nginx: status" "$folder/nginx.log"
    ! grep -E 'exited on signal|\[(alert|crit|emerg)\]' "$folder/nginx.error" > "$folder/bad"
    verdict $? "nginx: nothing bad in its log" "$folder/bad"
    readable "$folder/nginx.rsp" nginx
}

# ---- tools -----------------------------------------------------------------------------------

run_gdb() {
    need gdb gdb || return
    gdb -nx -batch -ex 'info functions' /bin/bash > "$folder/gdb.native" 2>&1
    profile "$folder/gdb.rsp" gdb -nx -batch -ex 'info functions' /bin/bash > "$folder/gdb.out" 2>&1
    verdict $? "gdb: status" "$folder/gdb.out"
    cmp -s "$folder/gdb.native" "$folder/gdb.out"
    verdict $? "gdb: info functions ($(wc -l < "$folder/gdb.out") lines)"
    readable "$folder/gdb.rsp" gdb
    profile "$folder/gdb-run.rsp" timeout 60 gdb -nx -batch -ex run /bin/true > "$folder/gdb.out" 2>&1
    grep -qi 'ptrace' "$folder/gdb.out"
    verdict $? "gdb: run ends with its own ptrace error ($(grep -i -m 1 ptrace "$folder/gdb.out"))" "$folder/gdb.out"
}

# The guest's terminal is script's: job control needs one of its own.
run_bash() {
    for where in native vm; do
        mkdir "$folder/bash.$where"
        command="bash $SOURCE/tests/stress/jobs.bash"
        [ $where = native ] || command="$RESPIN profile ${ENGINE:+--engine=$ENGINE} -o $folder/bash.rsp -- $command"
        (cd "$folder/bash.$where" && timeout 300 script -q -e -c "$command" /dev/null < /dev/null > "$folder/bash.$where.out" 2>&1)
        [ $? = 33 ]
        verdict $? "bash: $(wc -l < "$SOURCE/tests/stress/jobs.bash") lines with traps and job control, $where" "$folder/bash.$where.out"
    done
    diff "$folder/bash.native.out" "$folder/bash.vm.out" > "$folder/bash.diff"
    verdict $? "bash: the same output ($(wc -l < "$folder/bash.vm.out") lines)" "$folder/bash.diff"
    readable "$folder/bash.rsp" bash
}

make_project() { # FOLDER
    mkdir "$1"
    for i in $(seq 12); do
        printf '#include "all.h"\n#include <stdio.h>\nint part%d(int x)\n{\n    static int table[%d];\n    for (int i = 0; i < %d; i++)\n        table[i] += x * i;\n    return table[x %% %d] + snprintf(NULL, 0, "%%d", x);\n}\n' \
            "$i" $((i * 3)) $((i * 3)) $((i * 3)) > "$1/part$i.c"
        echo "int part$i(int x);" >> "$1/all.h"
    done
    {
        printf '#include "all.h"\n#include <stdio.h>\nint main(void)\n{\n    int s = 0;\n'
        seq 12 | sed 's/.*/    s += part&(&);/'
        printf '    printf("%%d\\n", s);\n    return 0;\n}\n'
    } > "$1/main.c"
    printf 'parts := $(patsubst %%.c,%%.o,$(sort $(wildcard *.c)))\nCFLAGS := -O2 -Wall\nall: sum.txt\nsum: $(parts)\n\t$(CC) -o $@ $^\nlibparts.a: $(parts)\n\tar rcs $@ $^\nsum.txt: sum libparts.a\n\t./sum > $@\n%%.o: %%.c all.h\n\t$(CC) $(CFLAGS) -c -o $@ $<\n' > "$1/Makefile"
}

run_make() {
    need make make gcc || return
    make_project "$folder/make.native"
    make_project "$folder/make.vm"
    (cd "$folder/make.native" && make -j2 > "$folder/make.log" 2>&1) || fail "make: natively"
    (cd "$folder/make.vm" && profile "$folder/make.rsp" make -j2 > "$folder/make.log" 2>&1)
    verdict $? "make -j2: status" "$folder/make.log"
    for file in sum.txt sum part7.o; do
        cmp -s "$folder/make.native/$file" "$folder/make.vm/$file"
        verdict $? "make -j2: $file"
    done
    readable "$folder/make.rsp" "make -j2"
    profile "$folder/make-again.rsp" make -q -C "$folder/make.vm" all > "$folder/make.log" 2>&1
    verdict $? "make: nothing is left to do" "$folder/make.log"
}

# Not as root: some stressors refuse that. Left out of the class fork: forkheavy, which natively fills
# memory and disk with thousands of processes; and what traces others (vm-segv, ptrace): they are refused.
stressor() { # SECONDS COMMAND...
    seconds=$1
    shift
    (cd "$folder/stress" && timeout $((seconds * 6 + 60)) runuser -u nobody -- "$@" --timeout "$seconds" --verify --metrics \
        > "$folder/stress.log" 2>&1) && ! grep -q 'skipping the stressor' "$folder/stress.log"
}

run_stress_ng() {
    need stress-ng stress-ng || return
    mkdir "$folder/stress" && chown nobody "$folder/stress"
    for name in ${STRESSORS:-sigabrt sigchld sigfd sigfpe sigio signal signest sigpending sigpipe sigq sigrt sigsuspend sigtrap \
        sigsegv pthread mmap mmapaddr mmapfixed mmapfork mmaphuge mmapmany mremap fork vfork vforkmany clone exec spawn}; do
        stressor 1 stress-ng --$name 2 || { echo "left out: stress-ng $name fails natively"; continue; }
        stressor "$SECONDS_STRESS" "$RESPIN" profile ${ENGINE:+--engine="$ENGINE"} -o "$folder/stress/p.rsp" -- \
            stress-ng --$name 2
        verdict $? "stress-ng $name ($(awk -v n=$name '$4 == n && $5 ~ /^[0-9]+$/ { print $5 " operations" }' "$folder/stress.log"))" "$folder/stress.log"
        readable "$folder/stress/p.rsp" "stress-ng $name"
        rm -f "$folder"/stress/p.rsp*
    done
}

[ $# -gt 0 ] || set -- postgres redis nginx gdb bash make stress-ng
for name in "$@"; do
    case $name in
    postgres | redis | nginx | gdb | bash | make) run_$name ;;
    stress-ng) run_stress_ng ;;
    *) echo "servers.sh: no guest '$name'" >&2; exit 2 ;;
    esac
done
exit $failed
