/*
 * sigmore.c: signals by other ways than a plain handler, and handlers that do not plainly return.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int n, depth, deepest, order[64], n_order;

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags, int also)
{
    struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
    if (also != 0)
        sigaddset(&act.sa_mask, also);
    sigaction(signal, &act, NULL);
}

static void every(int which, long us)
{
    struct itimerval timer = { { 0, us }, { 0, us } };
    setitimer(which, &timer, NULL);
}

static void block(int how, int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(how, &set, NULL);
}

static void queue(int signal, int value)
{
    sigqueue(getpid(), signal, (union sigval){ .sival_int = value });
}

/* ---- signalfd, sigtimedwait, priorities ---------------------------------------------------- */

static void by_descriptor(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGRTMIN + 5);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    struct signalfd_siginfo info[16];
    printf("signalfd empty %d\n", read(fd, info, sizeof info) == -1 && errno == EAGAIN);
    for (int i = 0; i < 4; i++)
        queue(SIGRTMIN + 5, 100 + i), queue(SIGRTMIN + 1, 200 + i);
    raise(SIGUSR1);
    raise(SIGUSR1);
    struct pollfd poll_for = { fd, POLLIN, 0 };
    printf("poll %d\n", poll(&poll_for, 1, 5000));
    ssize_t got = read(fd, info, sizeof info) / (ssize_t)sizeof info[0];
    for (int i = 0; i < got; i++)
        printf("signalfd %d code %d value %d\n", (int)info[i].ssi_signo - SIGRTMIN,
               info[i].ssi_code, info[i].ssi_int);
    close(fd);
    struct timespec limit = { 5, 0 };
    siginfo_t one;
    queue(SIGRTMIN + 5, 7);
    queue(SIGRTMIN + 1, 8);
    for (int i = 0; i < 2; i++) {
        int signal = sigtimedwait(&set, &one, &limit);
        printf("sigtimedwait %d value %d\n", signal - SIGRTMIN, one.si_value.sival_int);
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void note(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    if (++depth > deepest)
        deepest = depth;
    order[n_order++] = signal - SIGRTMIN;
    n++;
    depth--;
}

/* Several are pending at once: the lowest number first, and its handler keeps the others out. */
static void priorities(void)
{
    for (int i = 1; i <= 6; i++) {
        struct sigaction act = { .sa_sigaction = note, .sa_flags = SA_SIGINFO };
        sigfillset(&act.sa_mask);
        sigaction(SIGRTMIN + i, &act, NULL);
    }
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    for (int i = 6; i >= 1; i--)
        queue(SIGRTMIN + i, i), queue(SIGRTMIN + i, -i);
    sigset_t pending;
    sigpending(&pending);
    printf("pending %d %d\n", sigismember(&pending, SIGRTMIN + 3),
           sigismember(&pending, SIGRTMIN + 9));
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("order");
    for (int i = 0; i < n_order; i++)
        printf(" %d", order[i]);
    printf(" deepest %d\n", deepest);
}

/* ---- nesting ------------------------------------------------------------------------------- */

static void recurse(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    if (++depth > deepest)
        deepest = depth;
    n++;
    if (depth < 20)
        raise(signal);
    depth--;
}

static void inner(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    printf("inner %d: usr1 blocked before %d depth %d code %d\n", signal == SIGUSR2,
           sigismember(&uc->uc_sigmask, SIGUSR1), depth, info->si_code);
}

static void outer(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    depth++;
    raise(SIGUSR1); /* blocked: comes afterwards */
    raise(SIGUSR2);
    n++;
    depth--;
}

static void nesting(void)
{
    n = depth = deepest = 0;
    install(SIGUSR1, recurse, SA_NODEFER, 0);
    raise(SIGUSR1);
    printf("nodefer %d deepest %d\n", n, deepest);
    n = 0;
    install(SIGUSR2, inner, 0, 0);
    install(SIGALRM, outer, 0, SIGUSR1);
    install(SIGUSR1, inner, 0, 0);
    raise(SIGALRM);
    printf("outer %d\n", n);
}

/* ---- leaving a handler by other doors ------------------------------------------------------ */

static sigjmp_buf out;
static volatile int may_jump;

static void jump(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    n++;
    if (may_jump)
        siglongjmp(out, signal);
}

static uint64_t mix(uint64_t x)
{
    for (int i = 0; i < 200; i++)
        x = x * 6364136223846793005u + (x >> 29);
    return x;
}

static void long_jumps(void)
{
    n = 0;
    install(SIGALRM, jump, 0, 0);
    volatile int jumps = 0;
    volatile uint64_t wrong = 0, expected = mix(1);
    every(ITIMER_REAL, 300);
    while (jumps < 200) {
        if (sigsetjmp(out, 1) != 0) {
            may_jump = 0;
            jumps++;
            continue;
        }
        may_jump = 1;
        for (;;)
            wrong += mix(1) != expected;
    }
    every(ITIMER_REAL, 0);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    printf("jumps %d wrong %lu alarm blocked %d\n", jumps, wrong, sigismember(&now, SIGALRM));
}

static ucontext_t first, second;
static volatile int switches;
static char stack[65536];

static void other_side(void)
{
    for (;;) {
        mix((uint64_t)switches);
        switches++;
        swapcontext(&second, &first);
    }
}

static void contexts(void)
{
    getcontext(&second);
    second.uc_stack.ss_sp = stack;
    second.uc_stack.ss_size = sizeof stack;
    makecontext(&second, other_side, 0);
    may_jump = n = 0;
    every(ITIMER_REAL, 500);
    while (n < 50 || switches < 2000)
        swapcontext(&first, &second);
    every(ITIMER_REAL, 0);
    printf("contexts %d\n", switches >= 2000);
}

static void move_on(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_RIP] = uc->uc_mcontext.gregs[REG_R13];
    uc->uc_mcontext.gregs[REG_R13] = 77;
    uc->uc_mcontext.gregs[REG_EFL] |= 1; /* carry */
}

/* The handler of an asynchronous signal sends the interrupted loop elsewhere. */
static void redirected(void)
{
    uint64_t r13 = 0, carry = 0;
    install(SIGALRM, move_on, 0, 0);
    struct itimerval once = { { 0, 0 }, { 0, 3000 } };
    setitimer(ITIMER_REAL, &once, NULL);
    __asm__ volatile("lea 2f(%%rip), %%r13\n1:\txor %%eax, %%eax\n\tadd $1, %%rax\n\tjmp "
                     "1b\n2:\tmov %%r13, %0\n\t"
                     "setc %b1\n\t"
                     : "=r"(r13), "+r"(carry)
                     :
                     : "rax", "r13", "cc");
    printf("redirected %lu carry %lu\n", r13, carry);
}

/* ---- calls that are interrupted ------------------------------------------------------------ */

static void beat(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    n++;
}

static pthread_t main_thread;
static int pair[2], queue_id;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static volatile int released;

/* Sends ten signals, then what the main thread waits for. */
static void *releaser(void *argument)
{
    int what = (int)(intptr_t)argument;
    for (int i = 0; i < 10; i++) {
        usleep(1000);
        pthread_kill(main_thread, SIGUSR1);
    }
    usleep(20000);
    struct {
        long type;
        char text[8];
    } message = { 1, "m" };
    if (what == 0 && write(pair[1], "x", 1) != 1)
        abort();
    if (what == 1)
        sem_post(&semaphore);
    if (what == 2) {
        pthread_mutex_lock(&mutex);
        released = 1;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&mutex);
    }
    if (what == 3)
        msgsnd(queue_id, &message, sizeof message.text, 0);
    return NULL;
}

static long wait_in(int what)
{
    char byte;
    struct {
        long type;
        char text[8];
    } message;
    struct epoll_event event;
    switch (what) {
    case 0:
        return recv(pair[0], &byte, 1, 0);
    case 1:
        return sem_wait(&semaphore);
    case 2:
        pthread_mutex_lock(&mutex);
        while (!released)
            pthread_cond_wait(&condition, &mutex);
        pthread_mutex_unlock(&mutex);
        return 0;
    case 3:
        return msgrcv(queue_id, &message, sizeof message.text, 0, 0);
    default:
        return epoll_wait(pair[0], &event, 1, 3000);
    }
}

static void restarts(void)
{
    static const char *const name[] = { "recv", "sem_wait", "cond_wait", "msgrcv", "epoll_wait" };
    main_thread = pthread_self();
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    sem_init(&semaphore, 0, 0);
    queue_id = msgget(IPC_PRIVATE, 0600);
    for (int flags = SA_RESTART; flags >= 0; flags -= SA_RESTART) {
        install(SIGUSR1, beat, flags, 0);
        for (int what = 0; what < 5; what++) {
            int old = pair[0];
            if (what == 4)
                pair[0] = epoll_create1(0);
            pthread_t thread;
            released = 0;
            pthread_create(&thread, NULL, releaser, (void *)(intptr_t)what);
            long result = wait_in(what);
            int error = result < 0 ? errno : 0;
            int interrupted = error == EINTR;
            while (interrupted && what != 4 && wait_in(what) < 0)
                ;
            pthread_join(thread, NULL);
            printf("%s restart %d: %s\n", name[what], flags != 0,
                   result < 0 ? strerrorname_np(error) : "done");
            pair[0] = old;
        }
    }
    msgctl(queue_id, IPC_RMID, NULL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    by_descriptor();
    priorities();
    nesting();
    long_jumps();
    contexts();
    redirected();
    restarts();
    n = 0;
    install(SIGPROF, beat, SA_RESTART, 0);
    install(SIGVTALRM, beat, SA_RESTART, 0);
    every(ITIMER_PROF, 2000);
    every(ITIMER_VIRTUAL, 2000);
    uint64_t x = 1;
    while (n < 10)
        x = mix(x);
    every(ITIMER_PROF, 0);
    every(ITIMER_VIRTUAL, 0);
    printf("profiled\n");
    return 0;
}
