/*
 * family.c: children that are forked, and one that becomes this program again; each computes.
 *
 *   family ROUNDS            forks two, one of which executes `family ROUNDS last`
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) uint64_t hot(uint64_t seed, long n)
{
    for (long i = 0; i < n; i++)
        seed = seed * 3 + ((seed >> 7 & 1) != 0 ? 5 : (uint64_t)i);
    return seed;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    if (argc > 2) {
        printf("last %lu\n", hot(3, rounds * 1000));
        return 0;
    }
    for (int child = 0; child < 2; child++) {
        pid_t pid = fork();
        if (pid == 0 && child == 1) {
            execl("/proc/self/exe", argv[0], argv[1], "last", NULL);
            _exit(127);
        }
        if (pid == 0) {
            printf("child %lu\n", hot((uint64_t)child, rounds * 1000));
            exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    printf("parent %lu\n", hot(7, rounds * 1000));
    return 5;
}
