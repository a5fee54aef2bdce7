/*
 * Threads that allocate and lock. The sanitizers put their shadows at addresses of their own
 * choice, seal the rest of the address space, and check what /proc/self/maps shows.
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

int main(void)
{
    pthread_t thread[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(thread[i], NULL);
    printf("%ld\n", sum);
    return 2;
}
