/*
 * storm.c: signals all the time, into threads that compute, wait, allocate and fork: none is lost.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, SENT = 3000, ROUNDS = 300 };
static atomic_long got, sum;
static atomic_int stop;
static volatile int alarms;

static void on_queue(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    int saved = errno;
    atomic_fetch_add(&got, 1);
    atomic_fetch_add(&sum, info->si_value.sival_int);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask); /* a system call inside the handler */
    errno = saved;
}

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static double mixed_work(int seed)
{
    double x = seed;
    char text[64];
    for (int i = 0; i < 50; i++) {
        char *memory = malloc((size_t)(100 + i * 37));
        memset(memory, i, 100);
        snprintf(text, sizeof text, "%.6f %d", x, memory[i]);
        x = strtod(text, NULL) * 0.5 + i;
        free(memory);
    }
    return x;
}

static void *worker(void *argument)
{
    double expected = mixed_work((int)(long)argument);
    long wrong = 0;
    while (!stop)
        wrong += mixed_work((int)(long)argument) != expected;
    return (void *)wrong;
}

int main(void)
{
    struct sigaction act = { .sa_sigaction = on_queue, .sa_flags = SA_SIGINFO | SA_RESTART };
    sigaction(SIGRTMIN, &act, NULL);
    act.sa_flags = SA_RESTART;
    act.sa_handler = on_alarm;
    sigaction(SIGALRM, &act, NULL);
    pthread_t thread[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, worker, (void *)i);
    struct itimerval timer = { { 0, 300 }, { 0, 300 } };
    setitimer(ITIMER_REAL, &timer, NULL);
    long expected = 0;
    for (int i = 0; i < SENT; i++) {
        union sigval value = { .sival_int = i };
        int failed = i % 3 == 0 ? sigqueue(getpid(), SIGRTMIN, value)
                                : pthread_sigqueue(thread[i % THREADS], SIGRTMIN, value);
        if (failed != 0)
            i--, sched_yield(); /* the kernel's queue is full */
        else
            expected += i;
    }
    long status_sum = 0;
    for (int i = 0; i < ROUNDS / 10; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(mixed_work(1) > 0 ? i : 99);
        int status;
        while (waitpid(child, &status, 0) != child)
            ;
        status_sum += WEXITSTATUS(status);
    }
    while (atomic_load(&got) < SENT)
        usleep(1000);
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    stop = 1;
    long wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        wrong += (long)result;
    }
    printf("got %ld sum right %d wrong %ld children %ld alarms %d\n", atomic_load(&got),
           atomic_load(&sum) == expected, wrong, status_sum, alarms > 10);
    return 0;
}
