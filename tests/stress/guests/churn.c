/*
 * Code that does not fit a small code cache, on several threads: each generates functions of its
 * own that branch, loop and call each other through a table, runs them in a random order that it
 * knows, and writes some of them anew; one thread stays in one loop all the time; signals arrive on
 * all; children are forked in between and do the same. What it prints depends on the seed only.
 *
 *   churn THREADS ROUNDS SIGNALS
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FUNCTIONS = 300,
    FUNCTION_SIZE = 160,
    MOST_THREADS = 16,
    FORK_EVERY = 400,
    REWRITE_EVERY = 100
};

typedef struct Worker {
    pthread_t thread;
    uint64_t seed;
    uint64_t rounds;
    uint64_t sum;
    uint8_t *code;
    uint64_t (*table[FUNCTIONS])(uint64_t, void *);
} Worker;

static Worker workers[MOST_THREADS];
static atomic_int done;
static atomic_ulong handled;
static volatile uint64_t spun;

static uint64_t next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void on_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

#define PUT(...) at = put(at, (uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* A few rounds of arithmetic with two branches; some call one of the functions behind it. */
static void generate(Worker *w, unsigned which)
{
    uint8_t *at = w->code + (size_t)which * FUNCTION_SIZE;
    uint64_t r = next(&w->seed);
    uint32_t later = which + 1 + (uint32_t)(r >> 40) % 9;
    w->table[which] = (uint64_t(*)(uint64_t, void *))(uintptr_t)at;
    PUT(0x53, 0x48, 0x89, 0xf8);              /* push rbx; mov rax, rdi */
    PUT(0xbb, (uint8_t)(1 + r % 5), 0, 0, 0); /* mov ebx, rounds */
    uint8_t *loop = at;
    PUT(0x48, 0x69, 0xc0, (uint8_t)(r >> 8), (uint8_t)(r >> 16), 1, 0); /* imul rax, rax, n */
    PUT(0x48, 0x05, (uint8_t)(r >> 24), (uint8_t)(r >> 32), 0, 0);      /* add rax, n */
    PUT(0xa8, (uint8_t)(1 << (r >> 50) % 8), 0x74, 0x03);               /* test al, bit; jz +3 */
    PUT(0x48, 0xf7, 0xd0);                                              /* not rax */
    PUT(0x48, 0x3d, 0, 0, (uint8_t)(r >> 48), 0x40, 0x77, 0x04);        /* cmp rax, n; ja +4 */
    PUT(0x48, 0xc1, 0xc0, 0x07);                                        /* rol rax, 7 */
    PUT(0xff, 0xcb, 0x75, (uint8_t)(loop - (at + 4)));                  /* dec ebx; jnz loop */
    if ((r >> 60 & 3) != 0 && later < FUNCTIONS) {
        uint32_t offset = later * 8;
        PUT(0x48, 0x89, 0xc7, 0xff, 0x96); /* mov rdi, rax; call [rsi + n] */
        at = put(at, &offset, sizeof offset);
    }
    PUT(0x5b, 0xc3); /* pop rbx; ret */
}

static uint64_t run(Worker *w, uint64_t rounds)
{
    uint64_t sum = 0;
    for (uint64_t i = 1; i <= rounds; i++) {
        uint64_t r = next(&w->seed);
        unsigned first = (unsigned)(r % FUNCTIONS);
        for (unsigned k = 0; k < 40; k++)
            sum += w->table[(first + k / 2) % FUNCTIONS](r + k, w->table);
        if (i % REWRITE_EVERY == 0)
            generate(w, (unsigned)(r >> 32) % FUNCTIONS);
    }
    return sum;
}

static uint64_t in_a_child(Worker *w)
{
    int ends[2];
    uint64_t sum = 0;
    if (pipe(ends) != 0)
        abort();
    pid_t child = fork();
    if (child == 0) {
        sum = run(w, 30);
        (void)!write(ends[1], &sum, sizeof sum);
        _exit(0);
    }
    close(ends[1]);
    (void)!read(ends[0], &sum, sizeof sum);
    close(ends[0]);
    waitpid(child, NULL, 0);
    return sum;
}

static void *work(void *argument)
{
    Worker *w = argument;
    w->code = mmap(NULL, FUNCTIONS * FUNCTION_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        generate(w, i);
    for (uint64_t i = 0; i < w->rounds; i += FORK_EVERY) {
        w->sum = w->sum * 31 + run(w, FORK_EVERY);
        w->sum = w->sum * 31 + in_a_child(w);
    }
    return NULL;
}

/* No system call, no exit: in one trace until all others have ended. */
static void *spin(void *argument)
{
    (void)argument;
    while (atomic_load_explicit(&done, memory_order_relaxed) == 0)
        spun = spun + 1;
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    unsigned threads = (unsigned)atoi(argv[1]);
    unsigned long wanted = strtoul(argv[3], NULL, 10);
    pthread_t spinner;
    signal(SIGUSR1, on_signal);
    pthread_create(&spinner, NULL, spin, NULL);
    for (unsigned i = 0; i < threads && i < MOST_THREADS; i++) {
        workers[i].seed = i;
        workers[i].rounds = strtoul(argv[2], NULL, 10);
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (unsigned long i = 0; i < wanted; i++) {
        pthread_kill(i % (threads + 1) == threads ? spinner : pthread_self(), SIGUSR1);
        usleep(200);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        printf("%u %llx\n", i, (unsigned long long)workers[i].sum);
    }
    atomic_store(&done, 1);
    pthread_join(spinner, NULL);
    printf("spun %d, signals %d\n", spun != 0, atomic_load(&handled) != 0);
    return 0;
}
