# The VM core's objects: no vector register, no thread-local storage, no libc, no dynamic relocation
# but relative ones (design.md 3.1). `xsave` and `xrstor` name no register, so they may stay; so may
# `%fs:(register)`, which is how handlers reach the guest's own operands.
set -u
failed=0
vm=$BUILD/profiler/respin-vm
folders="$BUILD/profiler/CMakeFiles/vm_system.dir $BUILD/profiler/CMakeFiles/vm_interp.dir"

fail() {
    echo "$*"
    failed=1
}

n=0
for object in $(find $folders -name '*.o'); do
    n=$((n + 1))
    if objdump -d "$object" | grep -E '%[xyz]mm[0-9]|%st\b|%mm[0-7]|%fs:-?0x' | head -3 >found &&
        [ -s found ]; then
        fail "$object: $(cat found)"
    fi
    readelf -SW "$object" | grep -E '\.(tdata|tbss)' && fail "$object: thread-local storage"
done
[ $n -ge 20 ] || fail "only $n objects found"
nm -u "$vm" | grep . && fail "undefined symbols"
readelf -rW "$vm" | grep R_X86_64 | grep -v R_X86_64_RELATIVE && fail "relocations that nobody does"
readelf -lW "$vm" | grep INTERP && fail "an interpreter"
readelf -lW "$vm" | grep GNU_STACK | grep -q RWE && fail "an executable stack"
readelf -hW "$vm" | grep -q DYN || fail "not position-independent"
# A handler that calls through a record instead of jumping would grow the stack by a frame each time.
objdump -d -j interp_text "$vm" | grep -E 'call +\*' && fail "a handler that does not end in a tail call"
# `indirect` finds the next routine at the end of each, `switch` at one place for all (and where a
# few slow paths go on).
jumps() { # ENGINE
    objdump -d -j interp_text "$(find $folders -name "engine_$1.c.o")" | grep -cE 'jmp +\*'
}
[ "$(jumps indirect)" -ge 900 ] || fail "only $(jumps indirect) routines of indirect end with a jump of their own"
[ "$(jumps switch)" -le 20 ] || fail "$(jumps switch) indirect jumps in switch"
exit $failed
