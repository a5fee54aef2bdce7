/*
 * Threads whose every instruction is decided beforehand: each works, ends, and is joined only after
 * it has certainly ended, so that no lock is ever waited for. For counting by single steps.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static void *work(void *argument)
{
    uint64_t n = (uint64_t)(uintptr_t)argument;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 20 * n; i++)
        sum += i * i % 7;
    return (void *)(uintptr_t)sum;
}

int main(void)
{
    uint64_t total = 0;
    for (uint64_t i = 1; i <= 2; i++) {
        const struct timespec seconds = { 2, 0 };
        pthread_t thread;
        void *sum;
        if (pthread_create(&thread, NULL, work, (void *)(uintptr_t)i) != 0)
            return 1;
        nanosleep(&seconds, NULL);
        pthread_join(thread, &sum);
        total += (uint64_t)(uintptr_t)sum;
    }
    printf("%lu\n", (unsigned long)total);
    return 0;
}
