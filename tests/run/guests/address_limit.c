/*
 * A process that limits its own address space: what fits is given, what does not is refused, and
 * what it executes inherits the limit. And one that limits its data, and then needs code that is
 * new.
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

static void limited_data(void)
{
    struct rlimit limit = { 24 * MIB, 32 * MIB };
    printf("data %d\n", setrlimit(RLIMIT_DATA, &limit));
    getrlimit(RLIMIT_DATA, &limit);
    void *small = malloc(4 * MIB);
    void *large = malloc(4000 * MIB);
    printf("data %lu %lu, small %d, large %d\n", limit.rlim_cur / MIB, limit.rlim_max / MIB,
           small != NULL, large != NULL);
    fflush(stdout);
    for (int i = 0; i < 30; i++) {
        if (fork() != 0)
            continue;
        close(STDERR_FILENO); /* where the VM says that it cannot count new code any more */
        /* Every second one has a limit below what it uses: nothing can be mapped. */
        if (i % 2 != 0 && set(MIB, 1500 * MIB) != 0)
            _exit(1);
        _exit(snprintf((char[64]){ 0 }, 64, "%d %g %a", i, i * 0.3, i * 0.7) < 6);
    }
    int status, bad = 0;
    while (wait(&status) > 0)
        bad += status != 0;
    printf("children that failed: %d\n", bad);
    fflush(stdout);
    execl("/bin/sh", "sh", "-c",
          "ulimit -d; ulimit -Hd; ulimit -d 20000; sh -c 'ulimit -d; seq 1000 | sort -n | tail "
          "-1'; exit 6",
          NULL);
}

int main(int argc, char **argv)
{
    if (argc == 1 || strcmp(argv[1], "again") == 0) {
        show("executed");
        return 4;
    }
    int status = 0;
    fflush(stdout);
    if (fork() == 0)
        limited_data();
    wait(&status);
    printf("limited data: %d\n", WEXITSTATUS(status));
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
