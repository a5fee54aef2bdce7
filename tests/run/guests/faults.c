/*
 * faults.c: handlers that mend, step over or jump out of the fault. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static char *page;
static sigjmp_buf out;
static volatile int n_faults;
static char alt[1 << 16];

static void mend(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    n_faults++;
    printf("mend signal %d code %d at page %d trap %lld err %lld\n", signal, info->si_code,
           (char *)info->si_addr - page == 100, uc->uc_mcontext.gregs[REG_TRAPNO],
           uc->uc_mcontext.gregs[REG_ERR]);
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void skip_div(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    printf("div signal %d code %d addr is pc %d rax %lld\n", signal, info->si_code,
           (long long)(intptr_t)info->si_addr == uc->uc_mcontext.gregs[REG_RIP],
           uc->uc_mcontext.gregs[REG_RAX]);
    uc->uc_mcontext.gregs[REG_RIP] += 2; /* div %ecx */
    uc->uc_mcontext.gregs[REG_RAX] = 77;
}

static void step_over(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const uint8_t *pc = (const uint8_t *)uc->uc_mcontext.gregs[REG_RIP];
    printf("signal %d code %d bytes %02x addr is pc %d\n", signal, info->si_code,
           signal == SIGTRAP ? pc[-1] : pc[0], info->si_addr == (void *)pc);
    if (signal != SIGTRAP)
        uc->uc_mcontext.gregs[REG_RIP] += 2; /* ud2 */
}

static void jump_out(int signal, siginfo_t *info, void *context)
{
    (void)context;
    n_faults++;
    siglongjmp(out, signal * 10 + info->si_code);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
    sigaction(signal, &act, NULL);
}

static int recurse(volatile int depth)
{
    volatile char big[4096];
    big[0] = (char)depth;
    return recurse(depth + 1) + big[0];
}

static void in_child(const char *what, int kind)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct sigaction by_default = { .sa_handler = SIG_DFL };
        sigaction(SIGSEGV, &by_default, NULL);
        sigaction(SIGILL, &by_default, NULL);
        if (kind == 1) {
            sigset_t set;
            handle(SIGSEGV, jump_out, 0);
            sigfillset(&set);
            sigprocmask(SIG_BLOCK, &set, NULL);
        }
        if (kind == 2)
            signal(SIGSEGV, SIG_IGN);
        if (kind == 3)
            ((void (*)(void))(uintptr_t)8)();
        if (kind == 4)
            __builtin_trap();
        *(volatile int *)8 = 1;
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%s: signal %d\n", what, WIFSIGNALED(status) ? WTERMSIG(status) : -1);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 4096);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    handle(SIGSEGV, mend, 0);
    page[100] = 5;
    printf("mended %d\n", page[100]);
    mprotect(page, 4096, PROT_NONE);
    memset(page + 100, 7, 1);
    printf("mended again %d faults %d\n", page[100], n_faults);
    mprotect(page, 4096, PROT_NONE);
    double d = 2.5;
    __asm__ volatile("movsd %1, 100(%0)" : : "r"(page), "x"(d) : "memory");
    printf("vector store %g\n", *(double *)(page + 100));

    handle(SIGFPE, skip_div, 0);
    unsigned eax = 5, zero = 0;
    __asm__ volatile("divl %%ecx" : "+a"(eax) : "c"(zero), "d"(0) : "cc");
    printf("after div %u\n", eax);
    handle(SIGILL, step_over, 0);
    handle(SIGTRAP, step_over, 0);
    __asm__ volatile("ud2");
    __asm__ volatile("int3");

    handle(SIGSEGV, jump_out, 0);
    int value = sigsetjmp(out, 1);
    if (value == 0)
        *(volatile int *)16 = 1;
    printf("jumped out %d\n", value);
    for (int i = 0; i < 1000; i++)
        if (sigsetjmp(out, 1) == 0)
            *(volatile int *)(uintptr_t)(16 + i) = 1;
    printf("faults %d\n", n_faults);
    value = sigsetjmp(out, 1);
    if (value == 0)
        ((void (*)(void))(uintptr_t)0x1234)();
    printf("jump to nowhere %d\n", value);
    value = sigsetjmp(out, 1);
    if (value == 0)
        ((void (*)(void))page)();
    printf("jump to data %d\n", value);
    value = sigsetjmp(out, 1);
    if (value == 0)
        *(volatile char *)0x8000000000000000 = 1;
    printf("non-canonical %d\n", value);

    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    sigaltstack(&ss, NULL);
    handle(SIGSEGV, jump_out, SA_ONSTACK);
    value = sigsetjmp(out, 1);
    if (value == 0)
        recurse(0);
    printf("stack overflow %d\n", value / 10);
    in_child("default", 0);
    in_child("blocked", 1);
    in_child("ignored", 2);
    in_child("bad jump", 3);
    in_child("trap", 4);
    return 0;
}
