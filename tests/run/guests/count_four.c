/*
 * Threads whose work does not depend on how they take turns: each has its own data, none looks at
 * another, and the first waits for each by one futex call, which goes on the same way whether the
 * thread is gone or not. Made with clone itself, since what libc does to start and to join a thread
 * depends on the timing. So every run executes the
 * same instructions, whatever the engine: the counts must be equal (engines.sh).
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 40000, STACK = 1 << 16 };

typedef uint64_t Step(uint64_t);

static uint64_t result[THREADS];
static int alive[THREADS]; /* thread ids; the kernel clears them */

static uint64_t one(uint64_t x)
{
    return x * 3 + 1;
}
static uint64_t two(uint64_t x)
{
    return x ^ x >> 7;
}
static uint64_t three(uint64_t x)
{
    return (x & 1) != 0 ? x + 5 : x / 2;
}
static Step *const steps[] = { one, two, three, one };

static __attribute__((noinline)) uint64_t depth(uint64_t x)
{
    return x % 7 == 0 ? x : depth(x + 1) + 1;
}

static long call(long number, long a, long b, long c)
{
    register long timeout __asm__("r10") = 0;
    long back;
    __asm__ volatile("syscall"
                     : "=a"(back)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(timeout)
                     : "rcx", "r11", "memory");
    return back;
}

static void work(uint64_t number)
{
    uint64_t x = number * 77 + 1;
    for (uint64_t i = 0; i < ROUNDS * (number + 1); i++) {
        x = steps[(x + i) & 3](x);
        if (i % 16 == number)
            x += depth(x & 0xffff);
    }
    result[number] = x;
    call(SYS_exit, 0, 0, 0);
}

static long start(uint64_t number, char *stack)
{
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    uint64_t *top = (uint64_t *)(stack + STACK) - 3; /* as calls want it */
    register long cleared __asm__("r10") = (long)&alive[number];
    long id;
    top[0] = number;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "pop %%rdi\n\t"
                     "call *%[work]\n"
                     "1:"
                     : "=a"(id)
                     : "a"(SYS_clone), "D"(flags), "S"(top), "d"(&alive[number]),
                       "r"(cleared), [work] "r"(work)
                     : "rcx", "r11", "memory");
    return id;
}

int main(void)
{
    long id[THREADS];
    for (uint64_t i = 0; i < THREADS; i++)
        id[i] =
            start(i, mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (unsigned i = 0; i < THREADS; i++)
        call(SYS_futex, (long)&alive[i], FUTEX_WAIT, id[i]);
    for (unsigned i = 0; i < THREADS; i++)
        printf("%u %llu\n", i, (unsigned long long)result[i]);
    return 0;
}
