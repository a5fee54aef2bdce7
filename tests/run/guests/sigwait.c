/*
 * sigwait.c: signals and system calls that wait: EINTR, SA_RESTART, sigsuspend, ppoll, timers.
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int alarms, users;
static sigset_t seen;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
    sigprocmask(SIG_SETMASK, NULL, &seen);
}

static void on_user(int signal)
{
    (void)signal;
    users++;
}

static void install(int signal, void (*handler)(int), int flags)
{
    struct sigaction act = { .sa_flags = flags };
    act.sa_handler = handler;
    sigaction(signal, &act, NULL);
}

static void arm(long first_us, long every_us)
{
    struct itimerval timer = { { 0, every_us }, { 0, first_us } };
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void interrupted_and_restarted(void)
{
    int fd[2], status;
    char byte;
    if (pipe(fd) != 0)
        return;
    install(SIGALRM, on_alarm, 0);
    arm(20000, 0);
    ssize_t got = read(fd[0], &byte, 1);
    printf("read %zd %s\n", got, strerror(errno));

    install(SIGALRM, on_alarm, SA_RESTART);
    pid_t child = fork();
    if (child == 0) {
        usleep(100000);
        _exit(write(fd[1], "x", 1) != 1);
    }
    arm(10000, 10000);
    got = read(fd[0], &byte, 1);
    arm(0, 0);
    waitpid(child, &status, 0);
    printf("restarted read %zd %c alarms %d child %d\n", got, byte, alarms > 3, status);
}

static void never_restarted(void)
{
    struct timespec long_sleep = { 5, 0 }, rest;
    arm(20000, 0);
    int slept = nanosleep(&long_sleep, &rest);
    printf("nanosleep %d %s rest %ld\n", slept, strerror(errno), (long)rest.tv_sec);
    arm(20000, 0);
    printf("poll %d %s\n", poll(NULL, 0, 5000), strerror(errno));
}

/* SIGUSR1 and SIGALRM are blocked, and let in for the time of a wait. */
static void with_a_mask(void)
{
    sigset_t none;
    struct timespec limit = { 3, 0 };
    raise(SIGUSR1);
    printf("blocked %d\n", users);
    sigemptyset(&none);
    sigaddset(&none, SIGCHLD);
    int suspended = sigsuspend(&none);
    printf("sigsuspend %d %s users %d\n", suspended, strerror(errno), users);
    arm(20000, 0);
    suspended = ppoll(NULL, 0, NULL, &none);
    printf("ppoll %d %s in handler: chld %d alrm %d usr1 %d\n", suspended, strerror(errno),
           sigismember(&seen, SIGCHLD), sigismember(&seen, SIGALRM), sigismember(&seen, SIGUSR1));
    arm(20000, 0);
    suspended = pselect(0, NULL, NULL, NULL, &limit, &none);
    printf("pselect %d %s\n", suspended, strerror(errno));
    sigprocmask(SIG_SETMASK, NULL, &seen);
    printf("after: usr1 %d alrm %d chld %d\n", sigismember(&seen, SIGUSR1),
           sigismember(&seen, SIGALRM), sigismember(&seen, SIGCHLD));
}

static void waited_for(void)
{
    siginfo_t info;
    sigset_t user;
    struct timespec zero = { 0, 0 };
    raise(SIGUSR1);
    sigemptyset(&user);
    sigaddset(&user, SIGUSR1);
    int waited = sigwaitinfo(&user, &info);
    printf("sigwaitinfo %d code %d\n", waited, info.si_code);
    printf("sigtimedwait %d %s\n", sigtimedwait(&user, &info, &zero), strerror(errno));
}

static void timers(void)
{
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    struct itimerspec spec = { { 0, 2000000 }, { 0, 2000000 } };
    arm(1000, 1000);
    int before = alarms;
    for (volatile long i = 0; alarms < before + 20; i++)
        ;
    arm(0, 0);
    printf("twenty alarms in a loop\n");
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &spec, NULL);
    users = 0;
    while (users < 5)
        pause();
    timer_delete(timer);
    printf("posix timer\n");
}

int main(void)
{
    sigset_t block, old;
    interrupted_and_restarted();
    never_restarted();
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigaddset(&block, SIGALRM);
    install(SIGUSR1, on_user, 0);
    sigprocmask(SIG_BLOCK, &block, &old);
    with_a_mask();
    waited_for();
    sigprocmask(SIG_SETMASK, &old, NULL);
    timers();
    return 0;
}
