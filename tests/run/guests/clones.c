/*
 * clones.c: clone and clone3 without libc: threads with a TLS of their own, processes that share
 * memory, files or nothing, what the kernel writes and clears for them, and their errors.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STACK = 64 << 10,
    MANY = 300,
    THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
             CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
};

typedef struct Child {
    long (*run)(struct Child *); /* no libc in threads: they have no TLS that it knows of */
    uint64_t tls[8];
    uint64_t seen_in_tls;
    int tid_for_parent, tid_for_child;
    volatile int tid; /* as it says itself */
    char *stack;
} Child;

static volatile long together;

static long raw(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return number;
}

/* The system call, and in the child: run(child) on the new stack, then exit (or exit_group). */
static long start(long number, long a, long b, long c, long d, long e, Child *child, long last)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register Child *r12 __asm__("r12") = child;
    register long r13 __asm__("r13") = last;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "call *(%%r12)\n\t"
                     "mov %%rax, %%rdi\n\t"
                     "mov %%r13, %%rax\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    return number;
}

static Child *prepare(long (*run)(Child *))
{
    Child *child = calloc(1, sizeof *child);
    child->run = run;
    child->tls[0] = (uint64_t)child;
    child->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return child;
}

static void release(Child *child)
{
    munmap(child->stack, STACK);
    free(child);
}

static long look_around(Child *child)
{
    __asm__ volatile("mov %%fs:0, %0" : "=r"(child->seen_in_tls));
    child->tid = (int)raw(SYS_gettid, 0, 0, 0, 0, 0);
    __atomic_add_fetch(&together, 1, __ATOMIC_RELAXED);
    return 7;
}

static void wait_gone(Child *child)
{
    int tid;
    while ((tid = *(volatile int *)&child->tid_for_child) != 0)
        raw(SYS_futex, (long)&child->tid_for_child, FUTEX_WAIT, tid, 0, 0);
}

static void describe(const char *what, Child *child, long result)
{
    printf("%s: %d, tls %d, tid %d %d, cleared %d\n", what, result > 0,
           child->seen_in_tls == (uint64_t)child, child->tid == result,
           child->tid_for_parent == result, child->tid_for_child == 0);
}

static long clone_thread(Child *child)
{
    child->tid_for_child = -1;
    return start(SYS_clone, THREAD, (long)(child->stack + STACK), (long)&child->tid_for_parent,
                 (long)&child->tid_for_child, (long)child->tls, child, SYS_exit);
}

static struct clone_args args_of(Child *child, uint64_t flags, int signal)
{
    return (struct clone_args){ .flags = flags,
                                .stack = (uint64_t)child->stack,
                                .stack_size = STACK,
                                .tls = (uint64_t)child->tls,
                                .parent_tid = (uint64_t)&child->tid_for_parent,
                                .child_tid = (uint64_t)&child->tid_for_child,
                                .exit_signal = (uint64_t)signal };
}

static long clone3(struct clone_args *args, size_t size, Child *child, long last)
{
    return start(SYS_clone3, (long)args, (long)size, 0, 0, 0, child, last);
}

static void threads(void)
{
    Child *child = prepare(look_around);
    long result = clone_thread(child);
    wait_gone(child);
    describe("clone", child, result);
    release(child);

    child = prepare(look_around);
    struct clone_args args = args_of(child, THREAD, 0);
    child->tid_for_child = -1;
    result = clone3(&args, sizeof args, child, SYS_exit);
    wait_gone(child);
    describe("clone3", child, result);
    release(child);

    together = 0;
    for (int i = 0; i < MANY; i++) {
        child = prepare(look_around);
        result = clone_thread(child);
        wait_gone(child);
        if (result <= 0 || child->seen_in_tls != (uint64_t)child)
            puts("one of many failed");
        release(child);
    }
    printf("many: %ld\n", together);
}

/* ---- processes ------------------------------------------------------------------------------ */

static void wait_for(const char *what, long pid, int options)
{
    int status = -1;
    int got = waitpid((pid_t)pid, &status, options);
    printf("%s: started %d, ended %d, %s %d, together %ld\n", what, pid > 0, got == pid,
           WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), together);
}

static long die(Child *child)
{
    (void)child;
    together++;
    raw(SYS_kill, raw(SYS_getpid, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0);
    return 0;
}

/* A process that shares memory starts a thread; the one ends the other by exit_group. */
static long wait_for_ever(Child *child)
{
    __atomic_add_fetch(&together, 1, __ATOMIC_RELAXED);
    for (;;)
        raw(SYS_pause, 0, 0, 0, 0, 0);
}

static Child *inner;

static long with_a_thread(Child *child)
{
    clone_thread(inner);
    while (together < 1)
        raw(SYS_sched_yield, 0, 0, 0, 0, 0);
    return 12;
}

static void sharing(void)
{
    Child *child = prepare(look_around);
    together = 0;
    wait_for("shared memory",
             start(SYS_clone, CLONE_VM | SIGCHLD, (long)(child->stack + STACK), 0, 0, 0, child,
                   SYS_exit_group),
             0);
    wait_for("with files and no signal",
             start(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED,
                   (long)(child->stack + STACK), 0, 0, 0, child, SYS_exit),
             __WCLONE);
    wait_for("vfork by clone",
             start(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, (long)(child->stack + STACK), 0, 0,
                   0, child, SYS_exit),
             0);
    child->run = die;
    wait_for("killed",
             start(SYS_clone, CLONE_VM | SIGCHLD, (long)(child->stack + STACK), 0, 0, 0, child,
                   SYS_exit),
             0);
    together = 0;
    child->run = with_a_thread;
    inner = prepare(wait_for_ever);
    wait_for("with a thread",
             start(SYS_clone, CLONE_VM | SIGCHLD, (long)(child->stack + STACK), 0, 0, 0, child,
                   SYS_exit_group),
             0);
    release(child);
}

static long action_of_usr1(Child *child)
{
    struct {
        uint64_t handler, flags, restorer, mask;
    } action;
    raw(SYS_rt_sigaction, SIGUSR1, 0, (long)&action, 8, 0);
    return action.handler == 0 ? 20 : 21;
}

static void nothing(int signal)
{
    (void)signal;
}

static void apart(void)
{
    Child *child = prepare(action_of_usr1);
    int pidfd = -1;
    struct clone_args args = args_of(child, CLONE_CLEAR_SIGHAND | CLONE_PIDFD, SIGCHLD);
    args.pidfd = (uint64_t)&pidfd;
    together = 0;
    signal(SIGUSR1, nothing);
    long pid = clone3(&args, sizeof args, child, SYS_exit);
    struct pollfd poll_for = { pidfd, POLLIN, 0 };
    printf("descriptor of a process: %d\n", poll(&poll_for, 1, 10000));
    wait_for("cleared handlers", pid, 0);
    close(pidfd);
    args.flags = CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND;
    wait_for("the same, sharing memory", clone3(&args, sizeof args, child, SYS_exit), 0);
    args.flags = 0;
    wait_for("a fork", clone3(&args, sizeof args, child, SYS_exit), 0);
    args.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID;
    child->run = look_around;
    pid = clone3(&args, sizeof args, child, SYS_exit);
    printf("parent has the number: %d\n", child->tid_for_parent == pid);
    wait_for("a fork with numbers", pid, 0);
    release(child);
}

static void *fork_again(void *argument)
{
    return argument;
}

static void nested(void)
{
    static volatile int deepest;
    pid_t outer = vfork();
    if (outer == 0) {
        pid_t middle = vfork();
        if (middle == 0) {
            deepest = 2;
            _exit(1);
        }
        _exit(middle > 0 ? 5 : 6);
    }
    printf("vfork in vfork wrote %d\n", deepest);
    wait_for("vfork in vfork", outer, 0);
}

/* ---- errors ------------------------------------------------------------------------------------
 */

static void show(const char *what, long result)
{
    printf("%s: %s\n", what, result < 0 ? strerrorname_np((int)-result) : "done");
}

static void errors(void)
{
    struct clone_args args = { 0 };
    struct {
        struct clone_args args;
        uint64_t more[4];
    } larger = { { 0 }, { 0, 0, 1, 0 } };
    show("handlers without memory", raw(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));
    show("a thread without handlers", raw(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0));
    show("clone3, too small", raw(SYS_clone3, (long)&args, 8, 0, 0, 0));
    show("clone3, too large", raw(SYS_clone3, (long)&larger, sizeof larger, 0, 0, 0));
    show("clone3, nowhere", raw(SYS_clone3, 16, sizeof args, 0, 0, 0));
    args.stack_size = STACK;
    show("clone3, a stack without place", raw(SYS_clone3, (long)&args, sizeof args, 0, 0, 0));
    args = (struct clone_args){ .flags = CLONE_DETACHED };
    show("clone3, an old flag", raw(SYS_clone3, (long)&args, sizeof args, 0, 0, 0));
    args = (struct clone_args){ .exit_signal = 1000 };
    show("clone3, no such signal", raw(SYS_clone3, (long)&args, sizeof args, 0, 0, 0));
    args = (struct clone_args){ .set_tid = (uint64_t)&args, .set_tid_size = 1000 };
    show("clone3, too many numbers", raw(SYS_clone3, (long)&args, sizeof args, 0, 0, 0));
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    threads();
    sharing();
    apart();
    nested();
    errors();
    return 0;
}
