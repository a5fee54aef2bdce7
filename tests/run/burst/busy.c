/*
 * busy.c: threads that compute, fault and are interrupted, with a result that does not depend on
 * it.
 *
 *   busy ROUNDS [THREADS]
 *
 * Each thread mixes integer and floating-point work with calls into libc, and now and then stores
 * to an address that is not mapped: the SIGSEGV handler jumps out. A timer interrupts all of it.
 * Prints one line a thread. SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { THREADS_MAX = 16 };

static volatile sig_atomic_t alarms;
static __thread sigjmp_buf out;
static __thread long faults;
static long rounds;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    faults++;
    siglongjmp(out, 1);
}

/* The loop that a profile has to find. */
__attribute__((noinline)) double hot(uint64_t *seed, double sum, long n)
{
    for (long i = 0; i < n; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1;
        if ((*seed >> 60 & 1) != 0)
            sum += (double)(*seed >> 40) * 1e-9;
        else
            sum -= (double)(*seed >> 44) * 1e-9;
    }
    return sum;
}

static double work(long id)
{
    uint64_t seed = (uint64_t)id + 1;
    double sum = (double)id;
    for (long i = 0; i < rounds; i++) {
        char text[64];
        sum = hot(&seed, sum, 1000);
        snprintf(text, sizeof text, "%.4f %lu", sum, seed >> 50);
        sum += (double)strlen(text);
        if (i % 64 == 0 && sigsetjmp(out, 1) == 0)
            *(volatile char *)(uintptr_t)(8 + id) = 1;
    }
    return sum;
}

static void *run(void *argument)
{
    double *result = malloc(sizeof *result);
    *result = work((long)(intptr_t)argument) + (double)faults;
    return result;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    rounds = argc > 1 ? atol(argv[1]) : 1000;
    long n = argc > 2 ? atol(argv[2]) : 3;
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaction(SIGSEGV, &action, NULL);
    signal(SIGALRM, on_alarm);
    const struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
    setitimer(ITIMER_REAL, &often, NULL);
    for (long i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i);
    for (long i = 0; i < n; i++) {
        void *result;
        pthread_join(threads[i], &result);
        printf("%ld %.6f\n", i, *(double *)result);
        free(result);
    }
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    printf("%s\n", now.sa_sigaction == on_fault ? "its handler is its own" : "a strange handler");
    return 3;
}
