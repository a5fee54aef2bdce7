/* exec_self.c: a process that goes on as another program, also from a thread.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *go_on(void *argument)
{
    execl("/proc/self/exe", "third", "3", (char *)NULL);
    return argument;
}

int main(int argc, char **argv)
{
    int step = argc > 1 ? atoi(argv[1]) : 1;
    printf("step %d %s\n", step, step == 1 ? "first" : argv[0]);
    fflush(stdout);
    if (step == 1)
        execl("/proc/self/exe", "second", "2", (char *)NULL);
    if (step == 2) {
        pthread_t thread;
        pthread_create(&thread, NULL, go_on, NULL);
        for (;;)
            pause();
    }
    return 12;
}
