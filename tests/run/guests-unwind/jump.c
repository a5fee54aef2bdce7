/*
 * longjmp and siglongjmp out of hot code, several frames up, in loops; values kept in registers and
 * on the stack must be the right ones afterwards. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#define HOT __attribute__((noinline))

static jmp_buf out;
static sigjmp_buf from_signal;
static volatile unsigned long sink;

HOT static unsigned long deep(unsigned long n, int depth)
{
    unsigned long keep[6] = { n, n * 3, n ^ 9, n + 1, n - 1, n << 2 };
    if (depth == 0 && n % 3 == 0)
        longjmp(out, (int)(n % 1000) + 1);
    unsigned long below = depth > 0 ? deep(n + keep[2], depth - 1) : n;
    for (int i = 0; i < 6; i++)
        below = below * 31 + keep[i];
    return below;
}

HOT static unsigned long attempt(unsigned long n)
{
    volatile unsigned long before = n * 7;
    int jumped = setjmp(out);
    if (jumped != 0)
        return before + (unsigned long)jumped;
    return deep(n, (int)(n % 8));
}

static void on_alarm(int number)
{
    siglongjmp(from_signal, number);
}

HOT static unsigned long forever(unsigned long n)
{
    for (;;) {
        n = n * 6364136223846793005u + 1442695040888963407u;
        if ((n >> 60) == 5)
            sink ^= n;
    }
}

HOT static int interrupted(int rounds)
{
    volatile int count = 0;
    struct itimerval timer = { { 0, 0 }, { 0, 2000 } };
    signal(SIGALRM, on_alarm);
    while (count < rounds) {
        if (sigsetjmp(from_signal, 1) == 0) {
            setitimer(ITIMER_REAL, &timer, NULL);
            forever(sink);
        }
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 20000;
    unsigned long sum = 0;
    for (long n = 0; n < rounds; n++)
        sum = sum * 5 + attempt((unsigned long)n);
    printf("sum %lx\n", sum);
    printf("interrupted %d\n", interrupted(rounds < 1000 ? 0 : 20));
    return 0;
}
