/*
 * Every way in which control passes from one instruction to the next, few times each: for counting
 * by single steps. Prints sums that do not depend on time or place.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int depth_of(int n) /* deeper than any prediction of returns */
{
    return n == 0 ? 0 : 1 + depth_of(n - 1);
}

static int apply(int (*function)(int), int value)
{
    return function(value);
}

static int twice(int value)
{
    return 2 * value;
}

static int choose(int value) /* a jump table */
{
    switch (value % 9) {
    case 0:
        return 3;
    case 1:
        return value + 1;
    case 2:
        return value * 7;
    case 3:
        return value ^ 5;
    case 4:
        return value - 11;
    case 5:
        return value << 2;
    case 6:
        return value >> 1;
    case 7:
        return ~value;
    }
    return 0;
}

static int interpret(const unsigned char *code) /* computed goto */
{
    static const void *const labels[] = { &&push, &&add, &&dup, &&stop };
    int stack[16];
    int n = 0;
    goto *labels[*code++];
push:
    stack[n++] = *code++;
    goto *labels[*code++];
add:
    n--;
    stack[n - 1] += stack[n];
    goto *labels[*code++];
dup:
    stack[n] = stack[n - 1];
    n++;
    goto *labels[*code++];
stop:
    return stack[n - 1];
}

static jmp_buf back;

static void jump_out(int levels)
{
    if (levels == 0)
        longjmp(back, 42);
    jump_out(levels - 1);
    __asm__ volatile("");
}

static int leave_by_jump(void)
{
    int got = setjmp(back);
    if (got == 0)
        jump_out(7);
    return got;
}

static uint64_t string_instructions(void)
{
    static char from[256], to[256];
    uint64_t count;
    memset(from, 'x', 200);
    const char *source = from;
    char *target = to;
    uint64_t n = 200;
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(n)::"memory");
    n = 0;
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(n) : "a"(0) : "memory");
    target = to;
    n = 256;
    __asm__ volatile("repne scasb" : "+D"(target), "+c"(n) : "a"(0) : "cc", "memory");
    count = n;
    source = from;
    target = to;
    n = 256;
    __asm__ volatile("repe cmpsb" : "+S"(source), "+D"(target), "+c"(n)::"cc", "memory");
    return count * 1000 + n;
}

static uint64_t odd_jumps(void)
{
    uint64_t sum = 0;
    for (uint64_t round = 0; round < 6; round++) {
        uint64_t n = 3 + round, value = round;
        uint32_t eax = 0, word = 0;
        __asm__ volatile("1: add $2, %1\n loop 1b" : "+c"(n), "+r"(value)::"cc");
        /* a jump behind a lock prefix: two decodings of the same bytes */
        __asm__ volatile("test $1, %2\n"
                         "jz 1f + 1\n"
                         "1: lock cmpxchg %3, %1\n"
                         : "+a"(eax), "+m"(word)
                         : "r"((uint32_t)round), "r"((uint32_t)value)
                         : "cc", "memory");
        /* a call that is popped, and a return that no call made */
        __asm__ volatile("sub $128, %%rsp\n"
                         "call 1f\n"
                         "1: pop %%rcx\n"
                         "lea 2f - 1b(%%rcx), %%rcx\n"
                         "push %%rcx\n"
                         "ret\n"
                         "2: add $128, %%rsp\n"
                         : "+r"(value)::"rcx", "cc", "memory");
        __asm__ volatile("jrcxz 1f\n inc %1\n 1:" : "+c"(round), "+r"(value)::"cc");
        sum += value + word;
    }
    return sum;
}

static int compare(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

static double floats(void)
{
    double sum = 0;
    for (int i = 1; i < 40; i++)
        sum += 1.0 / i + (double)(float)(i * 0.25f);
    return sum;
}

int main(void)
{
    static const unsigned char code[] = { 0, 3, 2, 1, 0, 4, 1, 2, 1, 3 };
    int numbers[32];
    int sum = 0;
    for (int i = 0; i < 32; i++)
        numbers[i] = (i * 37) % 32;
    qsort(numbers, 32, sizeof numbers[0], compare);
    for (int i = 0; i < 32; i++)
        sum += choose(i) + apply(i % 3 != 0 ? twice : depth_of, numbers[i]);
    printf("%d %d %d %d\n", sum, depth_of(300), interpret(code), leave_by_jump());
    printf("%lu %lu %.6f\n", (unsigned long)string_instructions(), (unsigned long)odd_jumps(),
           floats());
    return 7;
}
