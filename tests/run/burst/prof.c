/*
 * prof.c: a program that profiles itself: SIGPROF and SIGVTALRM by interval timers, and a real-time
 * signal by a timer of its thread's CPU time.
 *
 *   prof SECONDS
 *
 * Each has to come about as often as the CPU time says. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_US = 20000, OWN = 40 };

static volatile sig_atomic_t came[65];
static volatile uint64_t sink;

static void on_signal(int signal)
{
    came[signal]++;
}

__attribute__((noinline)) uint64_t hot(uint64_t seed, long n)
{
    for (long i = 0; i < n; i++)
        seed = seed * 3 + ((seed >> 7 & 1) != 0 ? 5 : (uint64_t)i);
    return seed;
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void start_own(void)
{
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = OWN };
    const struct itimerspec often = { { 0, PERIOD_US * 1000 }, { 0, PERIOD_US * 1000 } };
    timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer);
    timer_settime(timer, 0, &often, NULL);
}

int main(int argc, char **argv)
{
    static const int signals[] = { SIGPROF, SIGVTALRM, OWN };
    const struct itimerval often = { { 0, PERIOD_US }, { 0, PERIOD_US } };
    double seconds = argc > 1 ? atof(argv[1]) : 0.1;
    for (int i = 0; i < 3; i++)
        signal(signals[i], on_signal);
    setitimer(ITIMER_PROF, &often, NULL);
    setitimer(ITIMER_VIRTUAL, &often, NULL);
    start_own();
    while (cpu_seconds() < seconds)
        sink = hot(sink, 100000);
    long wanted = (long)(seconds * 1000000 / PERIOD_US);
    for (int i = 0; i < 3; i++)
        printf("signal %d: %s\n", signals[i],
               came[signals[i]] > wanted / 2 && came[signals[i]] <= wanted + 1
                   ? "as often as the time says"
                   : "too often, or too rarely");
    return 6;
}
