/* threads.c: many threads, mutexes, conditions, thread-local data. SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N = 8, ROUNDS = 2000, WAVES = 20 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static long total;
static int whose;
static __thread long mine;

static void *add(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        total += (long)argument;
        mine++;
        pthread_mutex_unlock(&mutex);
    }
    return (void *)mine;
}

static void *in_turn(void *argument)
{
    int me = (int)(long)argument;
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&mutex);
        while (whose != me)
            pthread_cond_wait(&turn, &mutex);
        whose = (whose + 1) % N;
        pthread_cond_broadcast(&turn);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *wait_for_cancel(void *argument)
{
    for (;;)
        pause();
    return argument;
}

static void wave(void *(*run)(void *), int n)
{
    pthread_t thread[N];
    for (long i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, run, (void *)i) != 0)
            exit(1);
    long sum = 0;
    for (int i = 0; i < n; i++) {
        void *result;
        pthread_join(thread[i], &result);
        sum += (long)result;
    }
    printf("wave %d sum %ld total %ld\n", n, sum, total);
}

static void *last(void *argument)
{
    usleep(20000);
    printf("last thread\n");
    fflush(stdout);
    return argument;
}

int main(void)
{
    wave(add, N);
    wave(in_turn, N);
    for (int i = 0; i < WAVES; i++)
        wave(add, 3);
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_cancel, NULL);
    usleep(10000);
    pthread_cancel(thread);
    void *result;
    pthread_join(thread, &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);
    pthread_create(&thread, NULL, last, NULL);
    pthread_exit(NULL);
}
