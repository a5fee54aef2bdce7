/*
 * shy.c: a thread that blocks every signal for some CPU time, and then none for twice as much.
 *
 *   shy SECONDS
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile uint64_t sink;

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

__attribute__((noinline)) uint64_t shy(uint64_t seed, long n)
{
    for (long i = 0; i < n; i++)
        seed = seed * 5 + ((seed >> 9 & 1) != 0 ? 3 : (uint64_t)i);
    return seed;
}

__attribute__((noinline)) uint64_t hot(uint64_t seed, long n)
{
    for (long i = 0; i < n; i++)
        seed = seed * 3 + ((seed >> 7 & 1) != 0 ? 5 : (uint64_t)i);
    return seed;
}

static void *run(void *argument)
{
    double seconds = *(const double *)argument;
    sigset_t all, before, waiting;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (cpu_seconds() < seconds)
        sink = shy(sink, 100000);
    sigpending(&waiting);
    printf("%s\n", sigisemptyset(&waiting) ? "nothing waits" : "a strange signal waits");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (cpu_seconds() < 3 * seconds)
        sink = hot(sink, 100000);
    return NULL;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.1;
    pthread_t thread;
    pthread_create(&thread, NULL, run, &seconds);
    pthread_join(thread, NULL);
    return 4;
}
