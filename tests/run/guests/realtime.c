/* realtime.c: queued signals keep their number, order and values. SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { N = 200 };
static volatile int n, ordered = 1, last = -1, depth, deepest;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    depth++;
    if (depth > deepest)
        deepest = depth;
    ordered &= info->si_value.sival_int > last;
    last = info->si_value.sival_int;
    n++;
    for (volatile int i = 0; i < 100; i++)
        ;
    depth--;
}

int main(void)
{
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGRTMIN + 1, &act, NULL);
    sigaction(SIGRTMIN + 3, &act, NULL);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < N; i++)
        if (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }) != 0)
            return 1;
    printf("queued %d\n", n);
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("got %d ordered %d deepest %d\n", n, ordered, deepest);
    return 0;
}
