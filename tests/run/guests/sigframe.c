/*
 * sigframe.c: what a handler is given: siginfo, registers, mask, vector state, stack.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int calls;
static char alt[65536] __attribute__((aligned(16)));

static void print_mask(const char *what, const sigset_t *set)
{
    printf("%s:", what);
    for (int i = 1; i < 65; i++)
        if (sigismember(set, i) == 1)
            printf(" %d", i);
    printf("\n");
}

static void handler(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
    const uint32_t *sw = (const uint32_t *)((const char *)fp + 464);
    uint32_t magic2;
    sigset_t now;
    calls++;
    memcpy(&magic2, (const char *)fp + sw[4], 4);
    printf("signal %d code %d pid %d value %d\n", signal, info->si_code,
           info->si_code == SI_QUEUE ? info->si_pid == getpid() : -1,
           info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
    printf("flags %lx magic %x %x sizes %u %u aligned %d\n", uc->uc_flags, sw[0], magic2,
           sw[1] - sw[4], sw[4] >= 576, (int)((uintptr_t)fp & 63));
    printf("features fp+sse+avx %d xstate_bv has sse %d\n", (sw[2] & 7) == 7,
           (int)(((const uint64_t *)((const char *)fp + 512))[0] >> 1 & 1));
    print_mask("saved mask", &uc->uc_sigmask);
    sigprocmask(SIG_SETMASK, NULL, &now);
    print_mask("mask now", &now);
    printf("mxcsr saved %x now %x\n", fp->mxcsr, _mm_getcsr());
    printf("cs %x ss %x\n", (unsigned)(uc->uc_mcontext.gregs[REG_CSGSFS] & 0xffff),
           (unsigned)((uint64_t)uc->uc_mcontext.gregs[REG_CSGSFS] >> 48));
    char here;
    printf("on alt %d\n", &here > alt && &here < alt + sizeof alt);
    stack_t ss;
    sigaltstack(NULL, &ss);
    printf("altstack flags %x\n", (unsigned)ss.ss_flags);
    __m128i junk = _mm_set1_epi8(calls);
    __asm__ volatile("movdqa %0, %%xmm5\n\tmovdqa %0, %%xmm12" : : "x"(junk) : "xmm5", "xmm12");
}

static void edit(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_R12] = 4242;
    ((uint32_t *)uc->uc_mcontext.fpregs)[40 + 4 * 9] = 99; /* xmm9 */
    sigaddset(&uc->uc_sigmask, SIGUSR2);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    sigaddset(&act.sa_mask, SIGALRM);
    sigaction(SIGUSR1, &act, NULL);
    _mm_setcsr(0x9fc0);
    register uint64_t kept __asm__("rbx") = 0x1122334455667788;
    __asm__ volatile("" : "+r"(kept));
    raise(SIGUSR1);
    __asm__ volatile("" : "+r"(kept));
    printf("kept %lx mxcsr %x\n", kept, _mm_getcsr());

    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    printf("altstack %d\n", sigaltstack(&ss, NULL));
    act.sa_flags |= SA_ONSTACK | SA_NODEFER | SA_RESETHAND;
    sigaction(SIGUSR2, &act, NULL);
    sigqueue(getpid(), SIGUSR2, (union sigval){ .sival_int = 33 });
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    printf("reset %d flags %x\n", now.sa_handler == SIG_DFL, now.sa_flags);
    ss.ss_flags = (int)(1u << 31) /* SS_AUTODISARM */;
    printf("autodisarm %d\n", sigaltstack(&ss, NULL));
    sigaction(SIGUSR2, &act, NULL);
    raise(SIGUSR2);
    sigaltstack(NULL, &ss);
    printf("armed again %x\n", (unsigned)ss.ss_flags);

    act.sa_sigaction = edit;
    act.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &act, NULL);
    uint64_t r12 = 1;
    uint32_t lane[4] __attribute__((aligned(16))) = { 0 };
    pid_t self = getpid();
    __asm__ volatile("mov $1, %%r12\n\tpxor %%xmm9, %%xmm9\n\tmov $62, %%eax\n\tmov %2, %%edi\n\t"
                     "mov $10, %%esi\n\tsyscall\n\tmov %%r12, %0\n\tmovdqa %%xmm9, %1"
                     : "=r"(r12), "=m"(lane)
                     : "r"(self)
                     : "rax", "rdi", "rsi", "rcx", "r11", "r12", "xmm9", "memory");
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    printf("edited r12 %lu xmm9 %u\n", r12, lane[0]);
    print_mask("edited mask", &mask);
    printf("bad sigaction %d %d\n", sigaction(SIGKILL, &act, NULL), errno);
    return 0;
}
