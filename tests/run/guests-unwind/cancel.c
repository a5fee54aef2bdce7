/*
 * Threads cancelled in hot code: at a cancellation point in a deep loop, and asynchronously in a
 * loop of plain instructions. Cleanup handlers run innermost first. SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HOT __attribute__((noinline))

static sem_t running;
static char trace[256];
static volatile unsigned long sink;

static void cleanup(void *arg)
{
    char *end = trace;
    while (*end != 0)
        end++;
    *end++ = *(const char *)arg;
    *end = 0;
}

HOT static unsigned long churn(unsigned long seed, int depth)
{
    char room[48];
    unsigned long sum = seed;
    pthread_cleanup_push(cleanup, depth % 2 == 0 ? "e" : "o");
    for (unsigned i = 0; i < sizeof room; i++)
        room[i] = (char)(sum = sum * 6364136223846793005u + i);
    if (depth > 0)
        sum += churn(sum, depth - 1);
    else
        pthread_testcancel();
    sum += (unsigned char)room[seed % sizeof room];
    pthread_cleanup_pop(0);
    return sum;
}

static void *deferred(void *arg)
{
    (void)arg;
    pthread_cleanup_push(cleanup, "D");
    sem_post(&running);
    for (;;)
        sink += churn(sink, 6);
    pthread_cleanup_pop(1);
    return NULL;
}

/* Nothing but arithmetic: the cancellation arrives between any two instructions. */
HOT static unsigned long spin(unsigned long seed, unsigned long rounds)
{
    unsigned long a = seed, b = seed ^ 0x5555, c = 1;
    for (unsigned long i = 0; i < rounds; i++) {
        a = a * 33 + b;
        b = (b >> 3) ^ (a << 5);
        if ((a & 15) == 3)
            c += b;
        else
            c ^= a;
    }
    return a + b + c;
}

static void *asynchronous(void *arg)
{
    int old;
    (void)arg;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    pthread_cleanup_push(cleanup, "A");
    sem_post(&running);
    for (;;)
        sink += spin(sink, 1000);
    pthread_cleanup_pop(1);
    return NULL;
}

static int cancel_one(void *(*body)(void *), long wait)
{
    pthread_t thread;
    void *result;
    struct timespec pause = { 0, wait };
    trace[0] = 0;
    if (pthread_create(&thread, NULL, body, NULL) != 0)
        return 1;
    sem_wait(&running);
    nanosleep(&pause, NULL);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    return result != PTHREAD_CANCELED;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 60;
    int bad = 0;
    sem_init(&running, 0, 0);
    for (int i = 0; i < rounds; i++) {
        bad += cancel_one(deferred, 20000 + i * 777);
        if (i < 3)
            printf("deferred %s\n", trace);
        bad += cancel_one(asynchronous, 20000 + i * 777);
        if (i < 3)
            printf("asynchronous %s\n", trace);
    }
    printf("bad %d\n", bad);
    return bad != 0;
}
