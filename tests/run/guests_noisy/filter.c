/* filter.c: a program that filters its own system calls, and then uses signals.
 * SPDX-License-Identifier: MIT */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALLOW(name)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                         \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static volatile int handled;
static char alt[1 << 16];

static void handler(int signal)
{
    char here;
    handled = signal * 10 + (&here > alt && &here < alt + sizeof alt);
}

int main(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(write),
        ALLOW(exit_group),
        ALLOW(rt_sigreturn),
        ALLOW(getpid),
        ALLOW(gettid),
        ALLOW(tgkill),
        ALLOW(brk),
        ALLOW(rt_sigprocmask),
        ALLOW(newfstatat),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof rules / sizeof rules[0], rules };
    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    struct sigaction act = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
    sigaltstack(&ss, NULL);
    sigaction(SIGUSR1, &act, NULL);
    printf("before\n");
    fflush(stdout);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 1;
    raise(SIGUSR1);
    char *memory = malloc(1000);
    memset(memory, 1, 1000);
    printf("handled %d\n", handled);
    return 17;
}
