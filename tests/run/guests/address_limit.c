/*
 * A process that limits its own address space: what fits is given, what does not is refused, and
 * what it executes inherits the limit.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static void show(const char *when)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    void *small = malloc(200 * MIB);
    void *large = malloc(2000 * MIB);
    printf("%s: %lu %lu, small %d, large %d\n", when, limit.rlim_cur / MIB, limit.rlim_max / MIB,
           small != NULL, large != NULL);
    fflush(stdout);
    free(small);
    free(large);
}

static int set(uint64_t soft, uint64_t hard)
{
    struct rlimit limit = { soft, hard };
    return setrlimit(RLIMIT_AS, &limit);
}

int main(int argc, char **argv)
{
    if (argc == 1 || strcmp(argv[1], "again") == 0) {
        show("executed");
        return 4;
    }
    int status = 0;
    show("at first");
    printf("inverted %d\n", set(2, 1));
    printf("set %d\n", set(1000 * MIB, 1500 * MIB));
    show("limited");
    if (fork() == 0) {
        show("forked");
        execl(argv[0], argv[0], "again", NULL);
    }
    wait(&status);
    printf("executed: %d\n", WEXITSTATUS(status));
    printf("lower %d, back %d\n", set(300 * MIB, 1500 * MIB), set(1000 * MIB, 1500 * MIB));
    fflush(stdout);
    execl("/bin/sh", "sh", "-c", "ulimit -v; ulimit -v 400000; ulimit -v; ulimit -Hv", NULL);
    return 1;
}
