/* A program that uses the GS register for itself. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static uint64_t table[64] __attribute__((aligned(64)));

static long set_gs(const void *base)
{
    return syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}

static uint64_t get_gs(void)
{
    uint64_t base = 1;
    long result = syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
    return result == 0 ? base : 2;
}

static void fill(void)
{
    for (unsigned i = 0; i < 64; i++)
        table[i] = i * 0x0102030405060708 + 0x80;
}

static uint64_t target(void)
{
    return 4711;
}

#define SHOW(text, value) printf("%-16s %llx\n", text, (unsigned long long)(value))

static void integer_forms(void)
{
    uint64_t a, b = 3, flags;
    int64_t s;
    __asm__("mov %%gs:8, %0" : "=r"(a));
    SHOW("mov", a);
    __asm__("mov %%gs:16(,%1,8), %0" : "=r"(a) : "r"(b));
    SHOW("index", a);
    __asm__("mov %%gs:-8(%1,%1,2), %0" : "=r"(a) : "r"(b + 5));
    SHOW("base index", a);
    __asm__("movsbq %%gs:1(%1), %0" : "=r"(s) : "r"(b));
    SHOW("movsx", s);
    __asm__("movabs %%gs:40, %0" : "=a"(a));
    SHOW("moffs", a);
    __asm__("addr32 mov %%gs:(%k1), %0" : "=r"(a) : "r"((uint64_t)-1 << 32 | 48));
    SHOW("addr32", a);
    __asm__("addr32 movbe %%gs:8(%k1,%k1,4), %0" : "=r"(a) : "r"((uint64_t)16));
    SHOW("addr32 movbe", a);
    __asm__ volatile("mov %0, %%gs:56\n\taddl $5, %%gs:56\n\tincb %%gs:57" : : "r"(b) : "memory");
    SHOW("store", table[7]);
    __asm__ volatile("lock xaddq %0, %%gs:56" : "+r"(b) : : "memory");
    SHOW("xadd", table[7] + b);
    __asm__("mov $8, %%r13d\n\tcmpq %%gs:16(%%r13), %1\n\tsetc %b0\n\tmovzbl %b0, %k0"
            : "=&q"(a)
            : "r"(b)
            : "r13");
    SHOW("compare", a);
    __asm__("xor %k0, %k0\n\tcmpl $0x80, %%gs:0\n\tje 1f\n\tmov $1, %k0\n1:" : "=&r"(a));
    SHOW("fused", a);
    __asm__("xor %k0, %k0\n\tbtq %1, %%gs:0\n\tsbb %0, %0" : "=&r"(a) : "r"((uint64_t)67));
    SHOW("bt", a);
    __asm__ volatile("pushq %%gs:24\n\tpopq %0" : "=r"(a) : : "memory");
    SHOW("push", a);
    __asm__ volatile("push $77\n\tpopq %%gs:64" : : : "memory");
    SHOW("pop", table[8]);
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tneg %1\n\tcall *%%gs:72\n\tlea 128(%%rsp), %%rsp"
                     : "=a"(a), "=r"(b)
                     : "1"(b)
                     : "memory", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
    SHOW("call", a);
    __asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, %%gs:80\n\tjmp *%%gs:80\n\tud2\n1:"
                     :
                     :
                     : "rax", "memory");
    __asm__("divq %%gs:8" : "=a"(a), "=d"(b) : "a"(UINT64_MAX), "d"(UINT64_C(5)));
    SHOW("div", a ^ b);
    __asm__ volatile("stc\n\tadcq $0, %%gs:88\n\tpushf\n\tpop %0" : "=r"(flags) : : "memory");
    SHOW("adc", table[11] + (flags & 0x8d5));
}

static void vector_forms(void)
{
    uint64_t a, base = 32;
    __asm__("movdqu %%gs:8(%1), %%xmm3\n\tpaddq %%gs:48, %%xmm3\n\tmovq %%xmm3, %0"
            : "=r"(a)
            : "r"(base)
            : "xmm3");
    SHOW("paddq", a);
    __asm__ volatile(
        "movq %1, %%xmm9\n\tmov $16, %%r12d\n\tmovups %%xmm9, %%gs:112(%%r12,%%r12)\n\t"
        "movq %%gs:144, %0"
        : "=r"(a)
        : "r"(base)
        : "xmm9", "r12", "memory");
    SHOW("movups", a);
    if (__builtin_cpu_supports("avx2")) {
        __asm__("mov $64, %%r14d\n\tvpbroadcastq %%gs:(%%r14), %%ymm5\n\tvpaddq %%gs:0, %%ymm5, "
                "%%ymm5\n\t"
                "vmovq %%xmm5, %0\n\tvzeroupper"
                : "=r"(a)
                :
                : "xmm5", "r14");
        SHOW("avx", a);
    } else {
        SHOW("avx", table[8] + table[0]);
    }
    double x;
    table[20] = 0x4008000000000000;
    __asm__("cvtsi2sdq %%gs:8, %0\n\tmulsd %%gs:160, %0" : "=&x"(x));
    printf("%-16s %.17g\n", "mulsd", x);
    long double y;
    __asm__("fldl %%gs:160" : "=t"(y));
    printf("%-16s %.17Lg\n", "fld", y);
}

static void base_registers(void)
{
    enum { FSGSBASE = 2 };
    uint64_t a, b;
    if ((getauxval(AT_HWCAP2) & FSGSBASE) == 0) {
        puts("no fsgsbase");
        return;
    }
    __asm__ volatile("rdgsbase %0" : "=r"(a));
    __asm__ volatile("wrgsbase %2\n\tmov %%gs:8, %0\n\twrgsbase %1"
                     : "=&r"(b)
                     : "r"(a), "r"(a + 16));
    printf("%-16s %d %d\n", "wrgsbase", a == (uint64_t)table, b == table[3]);
    __asm__ volatile("mov $-1, %0\n\trdgsbase %k0" : "=&r"(b));
    printf("%-16s %d\n", "rdgsbase 32", b == (uint32_t)a);
    __asm__ volatile("wrgsbase %k1\n\trdgsbase %0\n\twrgsbase %2"
                     : "=&r"(b)
                     : "r"((uint64_t)-2), "r"(a));
    SHOW("wrgsbase 32", b);
}

static void *in_thread(void *argument)
{
    uint64_t a;
    printf("%-16s %d\n", "thread inherits", get_gs() == (uint64_t)table);
    set_gs(argument);
    __asm__("mov %%gs:0, %0" : "=r"(a));
    SHOW("thread's own", a);
    return NULL;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    printf("%-16s %d %d %lx %llx %llx\n", "fault", signal, info->si_code,
           (unsigned long)info->si_addr, uc->uc_mcontext.gregs[REG_RBX],
           uc->uc_mcontext.gregs[REG_R15]);
    uc->uc_mcontext.gregs[REG_RBX] = 64;
    uc->uc_mcontext.gregs[REG_R15] = 0;
}

static void on_fault_fix(int signal, siginfo_t *info, void *context)
{
    on_fault(signal, info, context);
    set_gs(table);
}

int main(void)
{
    pthread_t thread;
    static uint64_t other[2] = { 0xabcdef };
    fill();
    table[9] = (uint64_t)target;
    printf("%-16s %d\n", "at the start", get_gs() == 0);
    errno = 0;
    printf("%-16s %ld", "beyond", set_gs((void *)((uint64_t)1 << 47)));
    printf(" %s\n", strerror(errno));
    printf("%-16s %ld\n", "to nowhere", syscall(SYS_arch_prctl, ARCH_GET_GS, 8));
    set_gs(table);
    printf("%-16s %d\n", "set", get_gs() == (uint64_t)table);
    integer_forms();
    vector_forms();
    base_registers();
    fflush(stdout);
    if (fork() == 0) {
        printf("%-16s %d\n", "child inherits", get_gs() == (uint64_t)table);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    pthread_create(&thread, NULL, in_thread, other);
    sleep(1); /* joined when it has ended: no run waits, and all count the same (engines.sh) */
    pthread_join(thread, NULL);
    printf("%-16s %d\n", "unchanged", get_gs() == (uint64_t)table);
    struct sigaction action = { .sa_sigaction = on_fault_fix, .sa_flags = SA_SIGINFO };
    sigaction(SIGSEGV, &action, NULL);
    set_gs((void *)0x1000);
    uint64_t a;
    __asm__ volatile("mov $0x40, %%ebx\n\tmov $2, %%r15d\n\tmov %%gs:(%%rbx,%%r15,8), %0"
                     : "=r"(a)
                     :
                     : "rbx", "r15");
    SHOW("fixed", a);
    return 0;
}
