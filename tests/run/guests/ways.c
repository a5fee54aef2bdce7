/*
 * ways.c: paths that are left where they hardly ever are, for the code cache.
 *
 *   rare branches inside calls     taken once in 16, 100 and 1000 rounds, with calls open
 *   returns that go elsewhere      a callee moves its return address, once in 8 rounds and always
 *   flags across a way out         the way's target reads sign and carry of the compare before
 *   loop and jrcxz                 jumps without a long form
 *
 * All of it once while no other thread was ever there, and once more, in code of its own, after a
 * vfork: then jumps may be changed by single stores only. Prints sums. SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 90000 };

/* Returns behind the jump that follows its call where its argument has no bit of the mask; without
 * a jump of its own, so its return is on the path. */
__asm__(".text\n"
        "hop:\n"
        "    xor %eax, %eax\n"
        "    test %esi, %edi\n"
        "    setz %al\n"
        "    add %eax, %eax\n"
        "    add %rax, (%rsp)\n"
        "    lea 3(%rdi), %rax\n"
        "    ret\n");

/* `own` makes each part differ, or the compiler has one code for both. */
#define PARTS(name, own)                                                                           \
    static __attribute__((noinline)) uint64_t name##_inner(uint64_t i)                             \
    {                                                                                              \
        uint64_t sum = i * own;                                                                    \
        if (i % 16 == 3)                                                                           \
            sum ^= i << 4;                                                                         \
        if (i % 100 == 77)                                                                         \
            sum += 0x1234;                                                                         \
        return sum;                                                                                \
    }                                                                                              \
    static __attribute__((noinline)) uint64_t name##_outer(uint64_t i)                             \
    {                                                                                              \
        uint64_t sum = name##_inner(i) + own;                                                      \
        if (i % 1000 == 999)                                                                       \
            sum -= name##_inner(i + 1);                                                            \
        return sum ^ name##_inner(i / 3);                                                          \
    }                                                                                              \
    static __attribute__((noinline)) uint64_t name##_hop(uint64_t i, uint64_t mask)                \
    {                                                                                              \
        uint64_t result;                                                                           \
        __asm__ volatile("sub $128, %%rsp\n"                                                       \
                         "call hop\n"                                                              \
                         "jmp 1f\n" /* 2 bytes */                                                  \
                         "lea 100(%%rax), %%rax\n"                                                 \
                         "1: add $128, %%rsp\n"                                                    \
                         : "=a"(result)                                                            \
                         : "D"(i), "S"(mask)                                                       \
                         : "cc", "memory");                                                        \
        return result + own;                                                                       \
    }                                                                                              \
    static __attribute__((noinline)) uint64_t name##_flags(uint64_t i)                             \
    {                                                                                              \
        uint64_t result = 0;                                                                       \
        __asm__ volatile("cmp $17, %%cl\n"                                                         \
                         "jb 1f\n"                                                                 \
                         "adc $5, %0\n"                                                            \
                         "jmp 2f\n"                                                                \
                         "1: sets %b0\n" /* of the compare that brought us here */                 \
                         "sbb $9, %0\n"                                                            \
                         "2:\n"                                                                    \
                         : "+a"(result)                                                            \
                         : "c"(i)                                                                  \
                         : "cc");                                                                  \
        return result + own;                                                                       \
    }                                                                                              \
    static __attribute__((noinline)) uint64_t name##_short(uint64_t i)                             \
    {                                                                                              \
        uint64_t n = i % 64 == 0 ? 0 : 1 + i % 3, sum = i * own;                                   \
        __asm__ volatile("jrcxz 2f\n"                                                              \
                         "1: add $7, %0\n"                                                         \
                         "loop 1b\n"                                                               \
                         "2:\n"                                                                    \
                         : "+r"(sum), "+c"(n)                                                      \
                         :                                                                         \
                         : "cc");                                                                  \
        return sum;                                                                                \
    }                                                                                              \
    static __attribute__((noinline)) void name(void)                                               \
    {                                                                                              \
        uint64_t calls = 0, hops = 0, flags = 0, shorts = 0;                                       \
        for (uint64_t i = 0; i < ROUNDS; i++) {                                                    \
            calls = calls * (own + 2) + name##_outer(i);                                           \
            hops += name##_hop(i, i < ROUNDS / 2 ? 7 : 0);                                         \
            flags = flags * 7 + name##_flags(i);                                                   \
            shorts += name##_short(i);                                                             \
        }                                                                                          \
        printf("%llx %llx %llx %llx\n", (unsigned long long)calls, (unsigned long long)hops,       \
               (unsigned long long)flags, (unsigned long long)shorts);                             \
    }

PARTS(alone, 5)
PARTS(after, 11)

int main(void)
{
    alone();
    fflush(stdout);
    pid_t child = vfork();
    if (child == 0) { /* in the cache, too */
        uint64_t sum = 0;
        for (uint64_t i = 0; i < 1000; i++)
            sum += alone_inner(i);
        _exit(sum != 0 ? 3 : 0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 3)
        return 1;
    after();
    return 0;
}
