# Guests run under the VM as they run natively: same output, same errors, same exit status.
# Each guest of guests/*.c, dynamic (PIE) and static, holds one property; guests-sanitized/ are
# built with the sanitizers of both compilers.
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

# check NAME PROGRAM: natively, under the VM, and what is left behind
check() {
    run native "$2" one 'two words'
    run vm "$RESPIN" profile ${VM_ENGINE:+"--engine=$VM_ENGINE"} -o "$PWD/$1.rsp" -- "$2" one 'two words'
    same "$1"
    [ -s "$1.rsp" ] || { echo "$1: no profile"; failed=1; }
    left=$(ls | grep -c '\.rsp\.') || true
    # A guest that is killed by a signal cannot take in its children's files.
    [ "$left" = 0 ] || [ "$(cat vm.status)" -gt 128 ] || { echo "$1: $left files left over"; failed=1; }
    rm -f ./*.rsp.*
}

# Every engine runs one kind of each; the one that is named or the default runs all.
others=$("$RESPIN" profile --engine=none -o none.rsp -- true 2>&1 | sed -n 's/.*there is: //p' | tr -d ,)
[ -z "${VM_ENGINE:-}" ] || others=

for source in "$SOURCE"/tests/run/guests/*.c; do
    name=$(basename "$source" .c)
    # AddressSanitizer's runtime in respin's own last stage cannot live under the guest's limit.
    [ "$name" != address_limit ] || ! grep -q __asan_init "$RESPIN" || continue
    for kind in pie static fixed; do
        case $kind in
        pie) flags= ;;
        static) flags=-static ;;
        fixed) flags=-no-pie ;;
        esac
        program=$PWD/bin/$name.$kind
        $CC -O2 -w $flags -o "$program" "$source" -lpthread -lm || exit 1
        check "$name.$kind" "$program"
    done
    for engine in $others; do
        VM_ENGINE=$engine check "$name.pie, $engine" "$PWD/bin/$name.pie"
    done
done

for kind in gcc:address gcc:thread gcc:leak gcc:undefined clang-14:address clang-14:thread clang-14:memory; do
    program=$PWD/bin/$kind
    ${kind%:*} -g -O1 -fsanitize=${kind#*:} -o "$program" "$SOURCE/tests/run/guests-sanitized/heap.c" -lpthread || exit 1
    check "$kind" "$program"
done
exit $failed
