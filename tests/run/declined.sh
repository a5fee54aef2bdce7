# What the VM does not give its guests is declined in a way that they know, or runs natively and is
# said so: ptrace, rseq, shadow stacks; set-user-ID programs, file capabilities, 32-bit programs.
set -u
CC=${CC:-cc}
failed=0

fail() {
    echo "$*"
    failed=1
}

cat >declined.c <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void show(const char *what, long result)
{
    printf("%s %s\n", what, result == 0 ? "done" : strerrorname_np(errno));
    fflush(stdout);
}
int main(void)
{
    static struct { uint64_t words[4]; } area __attribute__((aligned(32)));
    static uint64_t gs;
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    show("attach", ptrace(PTRACE_ATTACH, child, NULL, NULL));
    show("seize", ptrace(PTRACE_SEIZE, child, NULL, NULL));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    show("traceme", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    show("rseq", syscall(SYS_rseq, &area, sizeof area, 0, 0x53053053));
    show("shadow stack", syscall(SYS_arch_prctl, 0x5001, 1));
    show("gs", syscall(SYS_arch_prctl, 0x1004, &gs));
    puts("goes on");
    return 23;
}
C
$CC -O1 -w -o declined declined.c || exit 1
for engine in threaded auto; do
    "$RESPIN" profile --engine=$engine -o declined.rsp -- ./declined >out 2>err
    [ $? = 23 ] || fail "declined, $engine: $(cat out err)"
    printf 'attach EPERM\nseize EPERM\ntraceme EPERM\nrseq ENOSYS\nshadow stack EINVAL\ngs done\ngoes on\n' | cmp -s - out ||
        fail "declined, $engine: $(cat out)"
    [ ! -s err ] || fail "declined, $engine: $(cat err)"
done

# natively STATUS WORD PROGRAM: a child that runs without the VM, as it would anyway
cat >native.c <<'C'
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void)
{
    printf("effective user %d\n", (int)geteuid());
    return 24;
}
C
natively() { # WORDS PROGRAM
    ("$2"; echo "status $?") >native.out 2>&1
    "$RESPIN" profile -o native.rsp -- sh -c "'$2'; echo \"status \$?\"" >out 2>err
    cmp -s native.out out || fail "$1: $(cat out)"
    grep -q "runs natively, without a profile: .*$1" err || fail "$1: no word about it: $(cat err)"
    "$RESPIN" info native.rsp >/dev/null || fail "$1: the profile is not readable"
}
$CC -O1 -o native native.c || exit 1
if [ "$(id -u)" = 0 ]; then
    cp native as-other && chown 65534 as-other && chmod 4755 as-other
    natively set-user-ID "$PWD/as-other"
    # VFS_CAP_REVISION_2 with the effective bit, CAP_NET_BIND_SERVICE permitted
    cp native capable
    if python3 -c 'import os; os.setxattr("capable", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))' 2>/dev/null; then
        natively 'file capabilities' "$PWD/capable"
    fi
fi
# A 32-bit program of one instruction sequence, made without a 32-bit compiler: exit(26).
if printf '.globl _start\n_start: mov $1, %%eax\nmov $26, %%ebx\nint $0x80\n' | as --32 -o small.o - &&
    ld -m elf_i386 -o small small.o && { ./small; [ $? = 26 ]; }; then
    natively 'not a 64-bit x86 program' "$PWD/small"
fi
exit $failed
