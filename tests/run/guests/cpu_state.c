/*
 * cpu_state.c: state of the CPU that few programs touch themselves: FS by instruction, XCR0, the
 * forms of XSAVE, vectors of 512 bits through signals, threads and forks, what a system call
 * leaves, stores around the cache and fences, transactions.
 *
 * What this CPU does not have is not tried, and nothing is printed that depends on the CPU.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEAF_FEATURES = 7, LEAF_STATE = 13, ZMM = 32, ZMM_BYTES = 64, STATE_BYTES = 16384 };

typedef struct Has {
    int fsgsbase, avx512, rtm, clwb, clflushopt, xsavec, xsaveopt, xgetbv1, rdpid;
} Has;

static Has has;

static uint64_t xcr(uint32_t which)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(which));
    return (uint64_t)high << 32 | low;
}

static void look(void)
{
    uint32_t a, b, c, d;
    __cpuid_count(LEAF_FEATURES, 0, a, b, c, d);
    has.fsgsbase = b & 1;
    has.rtm = b >> 11 & 1;
    has.clflushopt = b >> 23 & 1;
    has.clwb = b >> 24 & 1;
    has.rdpid = c >> 22 & 1;
    has.avx512 = (b >> 16 & 1) && (b >> 30 & 1) && (xcr(0) & 0xe6) == 0xe6;
    __cpuid_count(LEAF_STATE, 1, a, b, c, d);
    has.xsaveopt = a & 1;
    has.xsavec = a >> 1 & 1;
    has.xgetbv1 = a >> 2 & 1;
}

/* ---- FS -----------------------------------------------------------------------------------------
 */

static uint64_t block[8] __attribute__((aligned(64)));
static volatile uint64_t base_in_handler;

static uint64_t fs_base(void)
{
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static void note_base(int signal)
{
    base_in_handler = fs_base();
}

/* A word at FS:0 of another block, before and behind a signal that comes meanwhile. */
static void change_fs(const char *who)
{
    uint64_t old = fs_base();
    uint64_t before, after, kept;
    pid_t pid = getpid();
    pid_t tid = (pid_t)syscall(SYS_gettid);
    long result = SYS_tgkill;
    block[0] = 0x1122334455667788;
    base_in_handler = 0;
    __asm__ volatile("wrfsbase %[block]\n\t"
                     "mov %%fs:0, %[before]\n\t"
                     "syscall\n\t"
                     "mov %%fs:0, %[after]\n\t"
                     "rdfsbase %[kept]\n\t"
                     "wrfsbase %[old]\n\t"
                     : [before] "=&r"(before), [after] "=&r"(after), [kept] "=&r"(kept),
                       "+a"(result)
                     : [block] "r"(block), [old] "r"(old), "D"(pid), "S"(tid), "d"(SIGUSR1)
                     : "rcx", "r11", "memory");
    printf("%s: fs %d %d %d %d %ld\n", who, before == block[0], after == block[0],
           kept == (uint64_t)block, base_in_handler == (uint64_t)block, result);
}

static void *change_in_thread(void *argument)
{
    change_fs("thread");
    return argument;
}

static void fs_by_instruction(void)
{
    uint64_t by_call = 0;
    pthread_t thread;
    if (!has.fsgsbase)
        return;
    signal(SIGUSR1, note_base);
    syscall(SYS_arch_prctl, ARCH_GET_FS, &by_call);
    if (by_call != fs_base())
        puts("FS has two bases");
    change_fs("main");
    pthread_create(&thread, NULL, change_in_thread, NULL);
    pthread_join(thread, NULL);
    fflush(stdout);
    if (fork() == 0) {
        change_fs("child");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

/* ---- XCR0 and XSAVE
 * ------------------------------------------------------------------------------ */

static uint8_t state[STATE_BYTES] __attribute__((aligned(64)));

#define SAVED_AND_BACK(save, restore)                                                              \
    static int save##_and_back(void)                                                               \
    {                                                                                              \
        uint64_t in[4] = { 1, 2, 3, 4 }, out[4] = { 0 };                                           \
        uint16_t control = 0x027f, after = 0;                                                      \
        memset(state, 0, sizeof state);                                                            \
        __asm__ volatile(                                                                          \
            "fldcw %3\n\tvmovdqu %2, %%ymm7\n\tmov $7, %%eax\n\txor %%edx, %%edx\n\t" #save        \
            " %4\n\tvpxor %%ymm7, %%ymm7, %%ymm7\n\tfninit\n\t"                                    \
            "mov $7, %%eax\n\txor %%edx, %%edx\n\t" #restore " %4\n\t"                             \
            "vmovdqu %%ymm7, %0\n\tfnstcw %1\n\tfninit\n\tvzeroupper"                              \
            : "=m"(out), "=m"(after)                                                               \
            : "m"(in), "m"(control), "m"(state)                                                    \
            : "rax", "rdx", "xmm7", "memory");                                                     \
        return memcmp(in, out, sizeof in) == 0 && after == control;                                \
    }

SAVED_AND_BACK(xsave, xrstor)
SAVED_AND_BACK(xsave64, xrstor64)
SAVED_AND_BACK(xsaveopt, xrstor)
SAVED_AND_BACK(xsavec, xrstor)

static void whole_state(void)
{
    uint32_t a, b, c, d;
    __cpuid_count(LEAF_STATE, 0, a, b, c, d);
    printf("xcr0 %d\n", xcr(0) == ((uint64_t)d << 32 | a));
    if (has.xgetbv1 && (xcr(1) & ~xcr(0)) != 0)
        puts("state in use that is not enabled");
    printf("xsave %d %d\n", xsave_and_back(), xsave64_and_back());
    if (has.xsaveopt && !xsaveopt_and_back())
        puts("xsaveopt differs");
    if (has.xsavec && !xsavec_and_back())
        puts("xsavec differs");
}

/* ---- 512 bits
 * ------------------------------------------------------------------------------------ */

static uint8_t given[ZMM][ZMM_BYTES] __attribute__((aligned(64)));

/* clang-format off */
#define EACH_ZMM(X)                                                                                \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)          \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
/* clang-format on */
#define LOAD_ZMM(n) "vmovdqu64 64*" #n "(%[from]), %%zmm" #n "\n\t"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%[to])\n\t"
#define CLEAR_ZMM(n) "vpternlogd $255, %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define EACH_MASK(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LOAD_MASK(n) "kmovq 64*" #n "(%[from]), %%k" #n "\n\t"
#define STORE_MASK(n) "kmovq %%k" #n ", 8*" #n "(%[masks])\n\t"
#define CLEAR_MASK(n) "kxorq %%k" #n ", %%k" #n ", %%k" #n "\n\t"

static volatile int spoiled;

static void spoil(int signal)
{
    if (has.avx512)
        __asm__ volatile(EACH_ZMM(CLEAR_ZMM) EACH_MASK(CLEAR_MASK)::: "memory");
    spoiled++;
}

/* All registers are loaded, a loop turns `rounds` times with a system call in it, and all are the
 * same: though handlers and others fill theirs. */
static int keeps_all(long rounds, int number)
{
    static _Thread_local uint8_t got[ZMM][ZMM_BYTES] __attribute__((aligned(64)));
    static _Thread_local uint64_t masks[8];
    __asm__ volatile(EACH_ZMM(LOAD_ZMM) EACH_MASK(LOAD_MASK) "1: mov %[number], %%eax\n\t"
                                                             "syscall\n\t"
                                                             "mov $3000, %%ecx\n\t"
                                                             "2: dec %%ecx\n\t"
                                                             "jnz 2b\n\t"
                                                             "dec %[rounds]\n\t"
                                                             "jnz 1b\n\t" EACH_ZMM(STORE_ZMM)
                                                                 EACH_MASK(STORE_MASK) "vzeroupper"
                     : [rounds] "+r"(rounds)
                     : [from] "r"(given), [to] "r"(got), [masks] "r"(masks), [number] "r"(number)
                     : "rax", "rcx", "r11", "memory");
    int same = memcmp(got, given, sizeof got) == 0;
    for (int i = 1; i < 8; i++)
        same &= memcmp(&masks[i], given[i], sizeof masks[i]) == 0;
    return same;
}

static void *keeps_in_thread(void *argument)
{
    return (void *)(long)keeps_all(2000, SYS_getppid);
}

static void wide_vectors(void)
{
    pthread_t thread[2];
    int kept = 1;
    struct itimerval timer = { { 0, 300 }, { 0, 300 } }, none = { { 0, 0 }, { 0, 0 } };
    if (!has.avx512)
        return;
    for (int i = 0; i < ZMM * ZMM_BYTES; i++)
        given[i / ZMM_BYTES][i % ZMM_BYTES] = (uint8_t)(i * 7 + i / 251);
    signal(SIGALRM, spoil);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, keeps_in_thread, NULL);
    do
        kept &= keeps_all(500, SYS_sched_yield);
    while (spoiled < 20);
    for (int i = 0; i < 2; i++) {
        void *result;
        pthread_join(thread[i], &result);
        kept &= result != NULL;
    }
    setitimer(ITIMER_REAL, &none, NULL);
    if (fork() == 0)
        _exit(keeps_all(100, SYS_getpid));
    int status;
    wait(&status);
    if (!kept || WEXITSTATUS(status) != 1)
        printf("512 bits: kept %d, in a child %d\n", kept, WEXITSTATUS(status));
}

/* ---- small things
 * -------------------------------------------------------------------------------- */

static void after_a_call(void)
{
    uint64_t rcx, r11, next, flags, rax;
    __asm__ volatile("mov $39, %%eax\n\t" /* getpid */
                     "stc\n\t"
                     "pushf\n\t"
                     "pop %[flags]\n\t"
                     "lea 1f(%%rip), %[next]\n\t"
                     "syscall\n\t"
                     "1:"
                     : "=c"(rcx), "=a"(rax), [flags] "=&r"(flags), [next] "=&r"(next)
                     :
                     : "r11", "memory", "cc");
    __asm__ volatile("mov $39, %%eax\n\tsyscall\n\tmov %%r11, %0" : "=r"(r11)::"rax", "rcx", "r11");
    printf("after syscall: rcx %d r11 %d\n", rcx == next, (r11 & ~UINT64_C(0x8d5)) == 0x202);
    if ((flags & 1) == 0)
        puts("no carry");
}

static struct {
    uint32_t words[256];
    volatile int ready;
} message __attribute__((aligned(64)));

static void *around_the_cache(void *argument)
{
    uint64_t zero = 0;
    for (int i = 0; i < 64; i++)
        __asm__ volatile("movnti %1, %0" : "=m"(message.words[i]) : "r"(i));
    for (int i = 64; i < 256; i += 4) {
        uint32_t four[4] = { i, i + 1, i + 2, i + 3 };
        __asm__ volatile("movdqu %1, %%xmm0\n\tmovntdq %%xmm0, %0"
                         : "=m"(message.words[i])
                         : "m"(four)
                         : "xmm0", "memory");
    }
    if (has.clflushopt)
        __asm__ volatile("clflushopt %0" : "+m"(message.words[0]));
    if (has.clwb)
        __asm__ volatile("clwb %0" : "+m"(message.words[64]));
    __asm__ volatile("clflush %0\n\tprefetcht0 %0\n\tprefetchw %0\n\tsfence"
                     : "+m"(message.words[128]));
    message.ready = 1;
    return argument;
}

static void fences(void)
{
    pthread_t thread;
    uint32_t sum = 0, first[4];
    pthread_create(&thread, NULL, around_the_cache, NULL);
    while (!message.ready)
        __asm__ volatile("pause\n\tlfence");
    __asm__ volatile("mfence\n\tmovntdqa %1, %%xmm1\n\tmovdqu %%xmm1, %0"
                     : "=m"(first)
                     : "m"(message.words[64])
                     : "xmm1", "memory");
    for (int i = 0; i < 256; i++)
        sum += message.words[i];
    pthread_join(thread, NULL);
    printf("around the cache: %u, %u\n", sum, first[3]);
}

static void which_cpu(void)
{
    uint32_t low, high, by_time, cpu, node;
    uint64_t by_id;
    cpu_set_t one;
    getcpu(&cpu, &node);
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    getcpu(&cpu, &node);
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(by_time));
    printf("rdtscp %d\n", (by_time & 0xfff) == cpu);
    if (!has.rdpid)
        return;
    __asm__ volatile("rdpid %0" : "=r"(by_id));
    if ((by_id & 0xfff) != cpu)
        puts("rdpid differs");
}

/* With a lock to fall back to, as every user of transactions has: the sum is right in any case. */
static void transactions(void)
{
    static volatile long sum;
    for (int i = 0; i < 1000; i++) {
        int status = -1;
        if (has.rtm)
            __asm__ volatile("xbegin 1f\n1:" : "+a"(status)::"memory");
        sum++;
        if (has.rtm && status == -1)
            __asm__ volatile("xend" ::: "memory");
    }
    printf("transactions: %ld\n", sum);
}

int main(void)
{
    look();
    fs_by_instruction();
    whole_state();
    wide_vectors();
    after_a_call();
    fences();
    which_cpu();
    transactions();
    return 0;
}
