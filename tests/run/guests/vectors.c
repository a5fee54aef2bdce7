/*
 * vectors.c: vector and x87 state survives system calls, signals, threads and forks.
 * SPDX-License-Identifier: MIT
 */
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int ticks;
static volatile double scratch;

static void tick(int signal)
{
    (void)signal;
    ticks++;
    double x = 1;
    for (int i = 0; i < 10; i++)
        x = sqrt(x + i);
    scratch = x;
}

static double work(double seed)
{
    double a[16], sum = 0;
    long double wide = seed;
    for (int i = 0; i < 16; i++)
        a[i] = seed + i;
    for (int round = 0; round < 200000; round++) {
        for (int i = 0; i < 16; i++)
            a[i] = a[i] * 1.0000001 + 0.5;
        wide = wide * 1.0000001L + 0.25L;
    }
    for (int i = 0; i < 16; i++)
        sum += a[i];
    return sum + (double)wide;
}

static void *thread_work(void *argument)
{
    static double result[4];
    int i = (int)(long)argument;
    result[i] = work(i);
    return &result[i];
}

int main(void)
{
    signal(SIGALRM, tick);
    struct itimerval timer = { { 0, 500 }, { 0, 500 } };
    setitimer(ITIMER_REAL, &timer, NULL);
    printf("alone %.17g\n", work(3));
    pthread_t thread[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, thread_work, (void *)i);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(thread[i], &result);
        printf("thread %.17g\n", *(double *)result);
    }
    fesetround(FE_UPWARD);
    volatile double third = 1;
    third /= 3;
    printf("rounded up %.20g\n", third);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        printf("child rounds %d %.20g\n", fegetround() == FE_UPWARD, third);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("ticked %d\n", ticks > 3);
    return 0;
}
