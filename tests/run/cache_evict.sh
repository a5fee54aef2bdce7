# A code cache of two small parts: one of them is emptied all the time. Every guest runs as natively, and the
# deterministic ones, ours and stock ones, have the profile that `threaded` gives.
#
#   GUESTS="jit threads"   which; without it, all of tests/run/guests
set -u
CC=${CC:-cc}
SMALLEST=448K
failed=0
mkdir -p bin
unset RESPIN_TEST_ENV || true

profile() { # ENGINE COMMAND...: its profile vm.rsp
    engine=$1
    shift
    timeout 120 "$RESPIN" profile --fixed-addresses --engine="$engine" --cache=$SMALLEST -o "$PWD/vm.rsp" -- "$@"
}

native_is_vm() { # NAME
    for part in out err status; do
        cmp -s native.$part vm.$part && continue
        echo "FAIL $1: $part differs"
        diff native.$part vm.$part | head -5
        failed=1
    done
}

for source in "$SOURCE"/tests/run/guests/*.c; do
    name=$(basename "$source" .c)
    case " ${GUESTS:-$name} " in *" $name "*) ;; *) continue ;; esac
    # AddressSanitizer's runtime in respin's own last stage cannot live under the guest's limit.
    [ "$name" != address_limit ] || ! grep -q __asan_init "$RESPIN" || continue
    $CC -O2 -w -o "bin/$name" "$source" -lpthread -lm || exit 1
    timeout 120 "$PWD/bin/$name" one 'two words' > native.out 2> native.err < /dev/null
    echo $? > native.status
    # Code that is translated again needs further counters, which its limit on locked memory does not allow.
    [ "$name" != locked ] || continue
    engines=translate
    case $name in jit | smc | fire | threads) engines="translate auto" ;; esac
    for engine in $engines; do
        profile $engine "$PWD/bin/$name" one 'two words' > vm.out 2> vm.err < /dev/null
        echo $? > vm.status
        native_is_vm "$name, $engine"
        rm -f vm.rsp*
    done
done

# same NAME COMMAND...: the profiles of threaded, translate and auto
same() {
    title=$1
    shift
    for engine in threaded translate auto; do
        env -i PATH=/usr/bin:/bin LC_ALL=C GLIBC_TUNABLES=glibc.pthread.rseq=0 PERL_HASH_SEED=0 RESPIN="$RESPIN" \
            sh -c 'exec timeout 120 "$RESPIN" profile --fixed-addresses --engine="$0" --cache='$SMALLEST' -o vm.rsp -- "$@"' \
            $engine "$@" > /dev/null 2> vm.err < /dev/null
        "$RESPIN" info --digest vm.rsp > $engine.digest
        rm -f vm.rsp*
        [ -s $engine.digest ] && cmp -s threaded.digest $engine.digest && continue
        echo "FAIL $title: digest of $engine is $(cat $engine.digest), of threaded $(cat threaded.digest)"
        failed=1
    done
    echo "$title $(cat threaded.digest)"
}

if [ -z "${GUESTS:-}" ]; then
    for name in count_flow count_long count_four faults jit heap sigframe; do
        same $name "$PWD/bin/$name" one 'two words'
    done
    seq 1 500 | sed 's/.*/& line & of some text, & times/' > text
    same sort /usr/bin/sort --parallel=1 -k 3 text
    same gzip /bin/gzip -6 -c text
    same perl /usr/bin/perl -e 'my %h; $h{$_ % 97} .= chr(65 + $_ % 26) for 1 .. 3000; print join("", map { $h{$_} } sort keys %h)'
fi
ENGINES=auto RUNS=1 THREADS=3 ROUNDS=400 SIGNALS=300 CACHES=$SMALLEST MAZES=8 STEPS=1000000 sh "$SOURCE/tests/stress/cache.sh" || failed=1
exit $failed
