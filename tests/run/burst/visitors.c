/*
 * visitors.c: threads that come, fault all the time, and go.
 *
 *   visitors ROUNDS          four at a time
 *
 * A thread is so often about to take its SIGSEGV that many are stopped just there. The SIGTRAP
 * handler is the program's own to the end. SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, FAULTS = 4000 };

static __thread sigjmp_buf out;
static volatile sig_atomic_t traps;
static volatile char *volatile nowhere = (char *)8;

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

static void on_trap(int signal)
{
    (void)signal;
    traps++;
}

static void *visit(void *argument)
{
    volatile long faults = 0;
    while (faults < FAULTS)
        if (sigsetjmp(out, 1) == 0)
            *nowhere = 1;
        else
            faults++;
    *(long *)argument += faults;
    return NULL;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1, faults[THREADS] = { 0 };
    signal(SIGSEGV, on_fault);
    signal(SIGTRAP, on_trap);
    for (long i = 0; i < rounds; i++) {
        pthread_t thread[THREADS];
        for (int j = 0; j < THREADS; j++)
            pthread_create(&thread[j], NULL, visit, &faults[j]);
        for (int j = 0; j < THREADS; j++)
            pthread_join(thread[j], NULL);
    }
    raise(SIGTRAP);
    printf("%ld %ld %ld %ld faults, %d trap\n", faults[0], faults[1], faults[2], faults[3],
           (int)traps);
    return 0;
}
