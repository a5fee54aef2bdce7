# Guests run under the VM as they run natively: same output, same errors, same exit status.
# Each guest of guests/*.c, dynamic (PIE) and static, holds one property.
# VM_ENGINE names the engine; without it, the default one.
set -u
CC=${CC:-cc}
failed=0
mkdir -p bin native vm
unset RESPIN_TEST_ENV || true

# run FOLDER EXPECTED-COMMAND...: output, errors and status into FOLDER.*
run() {
    folder=$1
    shift
    (cd "$folder" && TEST_A=1 TEST_B='two words' timeout 120 "$@" >"../$folder.out" 2>"../$folder.err")
    echo $? >"$folder.status"
}

same() {
    for part in out err status; do
        cmp -s native.$part vm.$part && continue
        echo "$1: $part differs"
        diff native.$part vm.$part | head -10
        failed=1
    done
}

for source in "$SOURCE"/tests/run/guests/*.c; do
    name=$(basename "$source" .c)
    for kind in pie static fixed; do
        case $kind in
        pie) flags= ;;
        static) flags=-static ;;
        fixed) flags=-no-pie ;;
        esac
        program=$PWD/bin/$name.$kind
        $CC -O2 -w $flags -o "$program" "$source" -lpthread -lm || exit 1
        run native "$program" one 'two words'
        run vm "$RESPIN" profile ${VM_ENGINE:+"--engine=$VM_ENGINE"} -o "$PWD/$name.$kind.rsp" -- "$program" one 'two words'
        same "$name ($kind)"
        [ -s "$name.$kind.rsp" ] || { echo "$name ($kind): no profile"; failed=1; }
        left=$(ls | grep -c '\.rsp\.') || true
        # A guest that is killed by a signal cannot take in its children's files.
        [ "$left" = 0 ] || [ "$(cat vm.status)" -gt 128 ] || { echo "$name ($kind): $left files left over"; failed=1; }
        rm -f ./*.rsp.*
    done
done

# The same under fire, by every engine, with counts held to those of a run without signals.
RUNS=2 SIGNALS=12000 sh "$SOURCE/tests/stress/signals.sh" || failed=1
exit $failed
