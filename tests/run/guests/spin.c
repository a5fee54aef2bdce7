/*
 * Loops that do nothing at all, left only by a handler: one jump to itself, jumps in a ring, no
 * operations.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

enum { TURNS = 4, MICROSECONDS = 15000 };

static sigjmp_buf out;

static void leave(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

static void spin(int way)
{
    if (way == 0)
        __asm__ volatile("1: jmp 1b");
    if (way == 1)
        __asm__ volatile("1: jmp 3f\n\t2: jmp 1b\n\t3: jmp 2b");
    __asm__ volatile("1: nop\n\tnop\n\tjmp 1b");
}

int main(void)
{
    signal(SIGALRM, leave);
    for (int i = 0; i < 3 * TURNS; i++) {
        struct itimerval once = { { 0, 0 }, { 0, MICROSECONDS } };
        if (sigsetjmp(out, 1) == 0) {
            setitimer(ITIMER_REAL, &once, NULL);
            spin(i % 3);
        }
        printf("left %d\n", i);
    }
    return 3;
}
