/*
 * fire.c: signals from all sides into four threads that compute, and every result is what it must
 * be.
 *
 *   rt_tgsigqueueinfo  from each thread to the three others: payloads in order, none lost, none
 * twice SA_NODEFER         a handler that sends itself the next one, on an alternate stack tgkill
 * standard signals, which may merge setitimer (two of them), timer_create with SIGEV_THREAD_ID on
 * each thread in flight          reads of pipes, futexes (SA_RESTART: none may fail), `rep movs`,
 * vector and x87 code, signed and carried arithmetic
 *
 * FIRE_SIGNALS: queued signals in all (default 6000; 0: the same work in silence). What `known`,
 * and with signals `on_queue` and `on_nested`, count is the same in every run:
 * tests/stress/signals.sh.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 1000, LOOP = 40, DEPTH = 3, ALT_BYTES = 1 << 17, TEXT = 3000 };
#define SIG_QUEUE (SIGRTMIN + 1)
#define SIG_NEST (SIGRTMIN + 2)
#define SIG_TIMER (SIGRTMIN + 3)

typedef double Four __attribute__((vector_size(32)));

typedef struct Self {
    long id;
    pid_t tid;
    volatile long queued, nested, kicks, ticks; /* handlers that ran */
    long last[THREADS];                         /* by sender */
    long unordered, wrong, broken_calls;
    uint64_t payload_sum;
    uint32_t known;
    char *alt;
} Self;

static Self selves[THREADS];
static __thread Self *self;
static int ring[THREADS][2];
static long per_pair; /* queued signals from each thread to each other */
static pthread_barrier_t all_here;
static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
static long shared_sum;

/* Its counts are known: 1 entry and LOOP rounds a call. */
__attribute__((noipa)) uint32_t known(uint32_t x)
{
    for (int i = 0; i < LOOP; i++) {
        x = x * 1664525 + 1013904223;
        if ((i & 3) == 1)
            x ^= x >> 7;
    }
    return x;
}

static void send(pid_t to, int signal, long value)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = (int)value;
    while (syscall(SYS_rt_tgsigqueueinfo, getpid(), to, signal, &info) != 0)
        if (errno != EAGAIN || sched_yield() != 0)
            abort();
}

__attribute__((noipa)) void on_queue(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    int saved = errno;
    long value = info->si_value.sival_int, from = value >> 24, number = value & 0xffffff;
    self->unordered += number != self->last[from] + 1;
    self->last[from] = number;
    self->payload_sum += (uint64_t)value;
    self->queued++;
    volatile double x = (double)number * 0.5; /* vector registers of its own */
    if (number % 64 == 0)
        getppid();
    self->wrong += x * 2 != (double)number;
    errno = saved;
}

__attribute__((noipa)) void on_nested(int signal, siginfo_t *info, void *context)
{
    (void)context;
    char here;
    int saved = errno;
    int depth = info->si_value.sival_int;
    self->wrong += &here < self->alt || &here >= self->alt + ALT_BYTES;
    if (depth > 0)
        send(self->tid, signal, depth - 1); /* it comes before this returns */
    self->nested++;
    errno = saved;
}

static void on_kick(int signal)
{
    (void)signal;
    self->kicks++;
}

static void on_tick(int signal)
{
    (void)signal;
    if (self != NULL)
        self->ticks++;
}

/* ---- what they interrupt ------------------------------------------------------------------ */

static double vectors(long seed)
{
    Four a = { seed + 1.0, seed + 2.0, seed + 3.0, seed + 4.0 }, b = a * 0.25;
    for (int i = 0; i < 400; i++) {
        a = a * 0.999 + b;
        b = b - a * 0.001;
    }
    return a[0] + a[1] + b[2] + b[3];
}

static long double old_floats(long seed)
{
    long double x = (long double)seed + 1.5L;
    for (int i = 0; i < 100; i++)
        x = x * 1.0625L - (long double)i / 3.0L;
    return x;
}

static uint64_t carried(long seed)
{
    unsigned __int128 x = (unsigned __int128)seed << 64 | 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 400; i++)
        x = x * 0x2545f4914f6cdd1du + (x >> 71);
    return (uint64_t)x ^ (uint64_t)(x >> 64);
}

static uint64_t strings(long seed)
{
    char from[TEXT], to[TEXT];
    uint64_t sum = 0;
    memset(from, (int)seed + 1, sizeof from);
    from[seed] = 99;
    char *source = from, *target = to;
    size_t n = sizeof from;
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(n) : : "memory");
    for (size_t i = 0; i < sizeof to; i += 7)
        sum = sum * 31 + (unsigned char)to[i];
    return sum + (uint64_t)(target - to) + n;
}

typedef struct Results {
    double vectors;
    long double old_floats;
    uint64_t carried, strings;
} Results;

static Results mixed_work(long seed)
{
    return (Results){ vectors(seed), old_floats(seed), carried(seed), strings(seed) };
}

static int same(const Results *a, const Results *b)
{
    return a->vectors == b->vectors && a->old_floats == b->old_floats && a->carried == b->carried &&
           a->strings == b->strings;
}

/* Calls that a signal may interrupt but never fail: each has SA_RESTART, or is restarted in any
 * case. */
static void blocking_calls(void)
{
    char byte = (char)self->id;
    self->broken_calls += write(ring[(self->id + 1) % THREADS][1], &byte, 1) != 1;
    self->broken_calls += read(ring[self->id][0], &byte, 1) != 1;
    self->broken_calls += byte != (self->id + THREADS - 1) % THREADS;
    pthread_mutex_lock(&shared);
    shared_sum += self->id;
    pthread_mutex_unlock(&shared);
}

static void send_share(int round)
{
    long first = per_pair * round / ROUNDS, end = per_pair * (round + 1) / ROUNDS;
    for (long number = first; number < end; number++)
        for (long other = 1; other < THREADS; other++)
            send(selves[(self->id + other) % THREADS].tid, SIG_QUEUE,
                 self->id << 24 | (number + 1));
    if (per_pair != 0 && round % 20 == 0) {
        send(self->tid, SIG_NEST, DEPTH - 1);
        syscall(SYS_tgkill, getpid(), selves[(self->id + 1) % THREADS].tid, SIGUSR1);
    }
}

static timer_t start_timer(void)
{
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIG_TIMER };
    event._sigev_un._tid = self->tid;
    struct itimerspec spec = { { 0, 700000 }, { 0, 700000 } };
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &spec, NULL) != 0)
        abort();
    return timer;
}

static void *worker(void *argument)
{
    Self *me = argument;
    stack_t alt = { .ss_sp = me->alt = malloc(ALT_BYTES), .ss_size = ALT_BYTES };
    sigaltstack(&alt, NULL);
    me->tid = (pid_t)syscall(SYS_gettid);
    self = me;
    me->known = (uint32_t)me->id;
    Results expected = mixed_work(me->id); /* nobody sends before the barrier */
    pthread_barrier_wait(&all_here);
    timer_t timer = 0;
    if (per_pair != 0)
        timer = start_timer();
    for (int round = 0; round < ROUNDS; round++) {
        me->known = known(me->known);
        send_share(round);
        Results now = mixed_work(me->id);
        me->wrong += !same(&now, &expected);
        if (round % 10 == 0)
            blocking_calls();
    }
    while (me->queued < per_pair * (THREADS - 1)) {
        Results now = mixed_work(me->id);
        me->wrong += !same(&now, &expected);
    }
    if (per_pair != 0)
        timer_delete(timer);
    pthread_barrier_wait(&all_here);
    return NULL;
}

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = flags };
    sigaction(signal, &act, NULL);
}

static void set_timer(int which, long us)
{
    struct itimerval timer = { { 0, us }, { 0, us } };
    setitimer(which, &timer, NULL);
}

int main(void)
{
    const char *wanted = getenv("FIRE_SIGNALS");
    enum { PAIRS = THREADS * (THREADS - 1) };
    per_pair = ((wanted != NULL ? atol(wanted) : 6000) + PAIRS - 1) / PAIRS;
    install(SIG_QUEUE, on_queue, SA_SIGINFO | SA_RESTART);
    install(SIG_NEST, on_nested, SA_SIGINFO | SA_RESTART | SA_NODEFER | SA_ONSTACK);
    install(SIG_TIMER, (void (*)(int, siginfo_t *, void *))on_tick, SA_RESTART);
    install(SIGUSR1, (void (*)(int, siginfo_t *, void *))on_kick, SA_RESTART);
    install(SIGALRM, (void (*)(int, siginfo_t *, void *))on_tick, SA_RESTART);
    install(SIGPROF, (void (*)(int, siginfo_t *, void *))on_tick, SA_RESTART | SA_NODEFER);
    pthread_barrier_init(&all_here, NULL, THREADS);
    pthread_t thread[THREADS];
    for (long i = 0; i < THREADS; i++)
        if (pipe(ring[i]) != 0)
            return 1;
    if (per_pair != 0) {
        set_timer(ITIMER_REAL, 900);
        set_timer(ITIMER_PROF, 1100);
    }
    for (long i = 0; i < THREADS; i++) {
        selves[i].id = i;
        pthread_create(&thread[i], NULL, worker, &selves[i]);
    }
    for (long i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    set_timer(ITIMER_REAL, 0);
    set_timer(ITIMER_PROF, 0);
    long kicks = 0, ticks = 0;
    for (long i = 0; i < THREADS; i++) {
        const Self *s = &selves[i];
        printf(
            "thread %ld known %u queued %ld sum %lu unordered %ld nested %ld wrong %ld calls %ld\n",
            i, s->known, s->queued, s->payload_sum, s->unordered, s->nested, s->wrong,
            s->broken_calls);
        kicks += s->kicks;
        ticks += s->ticks;
    }
    printf("shared %ld kicks %d ticks %d\n", shared_sum, kicks > 0, ticks > 0);
    return 0;
}
