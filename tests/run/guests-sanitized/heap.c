/*
 * Threads that allocate and lock, and one that still runs when leaks are looked for. The sanitizers
 * put their shadows at addresses of their own choice, seal the rest of the address space, and check
 * what /proc/self/maps shows; the leak checker stops all threads by ptrace.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_THREADS = 4, TURNS = 2000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sum;

static void *work(void *unused)
{
    (void)unused;
    for (int i = 0; i < TURNS; i++) {
        char *piece = malloc((size_t)i % 100 + 1);
        piece[0] = (char)i;
        pthread_mutex_lock(&lock);
        sum += piece[0];
        pthread_mutex_unlock(&lock);
        free(piece);
    }
    return NULL;
}

static void *work_on(void *unused)
{
    char *volatile kept = malloc(TURNS);
    for (;;)
        kept[0]++;
    return unused;
}

int main(void)
{
    pthread_t thread[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(thread[i], NULL);
    pthread_create(&thread[0], NULL, work_on, NULL);
    printf("%ld\n", sum);
    return 2;
}
