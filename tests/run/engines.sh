# All engines are one: the same output, the same exit status and the same profile (`respin info
# --digest`) for deterministic programs, our own and stock ones.
#
#   ENGINES="switch threaded ..."   which; without it, all that this respin has. The first is the measure.
#
# Held equal, because libc acts on it: addresses, environment, and the words behind the stack's top,
# which respin-vm's own command line is a part of: so the profile has the same name under all engines.
# Left out are programs that choose by the time or the process id (lua5.4's seed; python3's caches), or
# print it (guest startup: a process id of 4 digits is another run than one of 5), and such that ask for
# the time (xz): the loop of clock_gettime is passed once more when the kernel is just setting the clock.
set -u
CC=${CC:-cc}
failed=0
n=0
engines=${ENGINES:-$("$RESPIN" profile --engine=none -o none.rsp -- true 2>&1 | sed -n 's/.*there is: //p' | tr -d ,)}
clean="env -i PATH=/usr/bin:/bin LC_ALL=C GLIBC_TUNABLES=glibc.pthread.rseq=0 PYTHONHASHSEED=0 PERL_HASH_SEED=0"
[ "$(echo "$engines" | wc -w)" -ge 3 ] || { echo "only these engines: $engines"; exit 1; }

same() { # NAME PROGRAM ARGUMENT...
    title=$1
    shift
    n=$((n + 1))
    first=
    bad=0
    rm -f ./*.digest
    for engine in $engines; do
        $clean timeout 200 "$RESPIN" profile --fixed-addresses --engine="$engine" -o same.rsp -- "$@" \
            < /dev/null > "$engine.out" 2> "$engine.err"
        echo $? > "$engine.status"
        "$RESPIN" info --digest same.rsp > "$engine.digest" || bad=1
        rm -f same.rsp
        if [ -z "$first" ]; then
            first=$engine
            [ -s "$engine.digest" ] || bad=1
            continue
        fi
        for part in out err status digest; do
            cmp -s "$first.$part" "$engine.$part" && continue
            echo "     $part of $engine is not $first's"
            bad=1
        done
    done
    [ $bad = 0 ] || failed=1
    echo "$([ $bad = 0 ] && echo ok || echo FAIL) $title $(cat "$first.digest")"
}

for name in count_flow count_long count_four faults jit heap sigframe hello gs ways page_end; do
    source=$SOURCE/tests/run/guests/$name.c
    $CC -O2 -w -o $name.pie "$source" -lpthread -lm || exit 1
    $CC -O2 -w -static -o $name.static "$source" -lpthread -lm || exit 1
    same "$name (pie)" "$PWD/$name.pie" one 'two words'
    same "$name (static)" "$PWD/$name.static" one 'two words'
done
seq 1 3000 | sed 's/.*/& line & of some text, & times/' > text
same sort /usr/bin/sort --parallel=1 -k 3 text
same sha256sum /usr/bin/sha256sum text
same gzip /bin/gzip -6 -c text
same sed /bin/sed -E 's/([0-9]+) line (.*)text/\2\1/' text
same grep /bin/grep -E -c '(1|2)+.*7{2}' text
same perl /usr/bin/perl -e 'my %h; $h{$_ % 97} .= chr(65 + $_ % 26) for 1 .. 3000;
    my $n = () = join("", map { $h{$_} } sort keys %h) =~ /(A.C|[D-F]+G)/g; printf "%d %.6f\n", $n, sqrt 2'
same od /usr/bin/od -A x -t x1z text
[ ! -x /usr/bin/sqlite3 ] || same sqlite3 /usr/bin/sqlite3 :memory: 'create table t(a, b);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 2000) insert into t select x, x * 7919 % 997 from c;
select b, count(*), sum(a) from t group by b having sum(a) % 3 = 0 order by 2, 1 limit 5;'
echo "$n programs under: $engines"
[ $failed = 0 ] && [ $n -ge 12 ]
