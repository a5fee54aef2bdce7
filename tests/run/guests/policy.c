/*
 * policy.c: filters of system calls that forbid a few of them: an errno, a trap that a handler
 * answers, for all threads at once, and across fork and execve. (guests_noisy/filter.c names those
 * it allows.) SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define ON(name, action)                                                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                         \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_##action)

static volatile int traps, right;
static pthread_barrier_t before, after;

static void on_trap(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const unsigned char *pc = (const unsigned char *)uc->uc_mcontext.gregs[REG_RIP];
    traps++;
    right += signal == SIGSYS && info->si_code == 1 && info->si_syscall == SYS_getppid &&
             info->si_call_addr == (void *)pc && pc[-2] == 0x0f && pc[-1] == 0x05 &&
             uc->uc_mcontext.gregs[REG_RAX] == SYS_getppid;
    uc->uc_mcontext.gregs[REG_RAX] = 4242;
}

static void *other(void *argument)
{
    pthread_barrier_wait(&before);
    pthread_barrier_wait(&after);
    long result = mkdir("/tmp/never", 0700);
    printf("another thread: mkdir %ld %s, getppid %d\n", result, strerror(errno), getppid());
    return argument;
}

static int set(struct sock_filter *rules, unsigned short n, unsigned flags)
{
    struct sock_fprog program = { n, rules };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void report(const char *what, pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    printf("%s: exited %d signal %d\n", what, WIFEXITED(status), WTERMSIG(status));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        printf("executed: mkdir %d %s\n", mkdir("/tmp/never", 0700), strerror(EPERM));
        return 0;
    }
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc000003e, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ON(mkdir, ERRNO | EPERM),
        ON(getppid, TRAP),
        ON(sethostname, KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    setvbuf(stdout, NULL, _IOLBF, 4096);
    struct sigaction act = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
    sigaction(SIGSYS, &act, NULL);
    pthread_barrier_init(&before, NULL, 2);
    pthread_barrier_init(&after, NULL, 2);
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    pthread_barrier_wait(&before);
    printf("filter %d\n", set(rules, sizeof rules / sizeof rules[0], SECCOMP_FILTER_FLAG_TSYNC));
    long result = mkdir("/tmp/never", 0700);
    printf("mkdir %ld %s\n", result, strerror(errno));
    pthread_barrier_wait(&after);
    pthread_join(thread, NULL);
    for (int i = 0; i < 100; i++)
        right += getppid() == 4242;
    printf("traps %d right %d\n", traps, right);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        sethostname("x", 1), _exit(0);
    report("sethostname", child);
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "policy", "again", (char *)NULL);
        _exit(9);
    }
    report("execve", child);
    return 0;
}
