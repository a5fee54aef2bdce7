/*
 * life.c: a guest with threads and a child that all compute, until the process meets its end.
 *
 *   life kill|fault|abort MICROSECONDS      kills itself, faults in a thread, aborts, after that
 * time
 *
 * The child ends when its parent is gone.
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { THREADS = 3 };
static volatile int stop, fault;
static pid_t parent;

__attribute__((noinline)) uint64_t churn(uint64_t x)
{
    char text[64];
    for (int i = 0; i < 100; i++)
        x = x * 6364136223846793005u + (x >> 33);
    snprintf(text, sizeof text, "%lx", (unsigned long)x);
    char *copy = strdup(text); /* new code now and then: libc's */
    x += (uint64_t)copy[x % 8];
    free(copy);
    return x;
}

static void *work(void *argument)
{
    uint64_t x = (uint64_t)(uintptr_t)argument;
    while (!stop) {
        x = churn(x);
        if (fault && x % 2 == 0)
            *(volatile int *)8 = 1;
    }
    return NULL;
}

static void start_threads(void)
{
    pthread_t thread;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, work, (void *)i);
}

static void child(void)
{
    start_threads();
    while (getppid() == parent)
        usleep(2000);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    parent = getpid();
    if (argc < 3)
        return 2;
    if (fork() == 0)
        child();
    start_threads();
    usleep((useconds_t)atol(argv[2]));
    if (strcmp(argv[1], "kill") == 0)
        kill(parent, SIGKILL);
    if (strcmp(argv[1], "abort") == 0)
        abort();
    fault = 1;
    for (;;)
        pause();
}
