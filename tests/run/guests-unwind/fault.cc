// Built with -fnon-call-exceptions -fasynchronous-unwind-tables: a signal handler throws, and the
// exception is caught in the hot code that faulted or divided, at exactly the faulting instruction.
// SPDX-License-Identifier: MIT
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define HOT __attribute__((noinline))

struct Fault {
    int number;
};

struct Guard {
    long *counter;
    ~Guard() { ++*counter; }
};

static void on_fault(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    throw Fault{ number };
}

HOT static long load(const long *from, long n)
{
    long sum = n;
    for (long i = 0; i < 4; i++)
        sum = sum * 3 + (n % 5 == 0 ? from[i] : i);
    return sum;
}

HOT static long divide(long a, volatile long *b)
{
    return a / *b + a % *b;
}

HOT static long attempt(long n, long *cleanups)
{
    volatile long zero = n % 7 == 0 ? 0 : n;
    try {
        Guard guard{ cleanups };
        long value = load(reinterpret_cast<const long *>(8), n);
        return value + divide(n, &zero);
    } catch (const Fault &fault) {
        return -fault.number;
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? std::atol(argv[1]) : 500;
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = on_fault;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGFPE, &action, nullptr);
    long sum = 0;
    long cleanups = 0;
    for (long n = 0; n < rounds; n++)
        sum = sum * 7 + attempt(n, &cleanups);
    std::printf("sum %ld cleanups %ld\n", sum, cleanups);
    return 0;
}
