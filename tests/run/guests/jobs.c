/*
 * jobs.c: SIGCHLD in storms, children that stop and go on, process groups, deaths of those that
 * hold locks. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static volatile int reaped, sum, told[8];

static void reap(int signal)
{
    int saved = errno, status;
    (void)signal;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        reaped++;
        sum += WEXITSTATUS(status);
    }
    errno = saved;
}

static void storm(void)
{
    struct sigaction act = { .sa_handler = reap, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
    sigaction(SIGCHLD, &act, NULL);
    for (int i = 0; i < 120; i++) {
        pid_t child = i % 3 == 2 ? vfork() : fork();
        if (child == 0)
            _exit(i % 50);
    }
    for (int i = 0; i < 10; i++) {
        pid_t child;
        char *const argv[] = { "true", NULL };
        posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ);
    }
    while (reaped < 130)
        usleep(1000);
    printf("reaped %d sum %d\n", reaped, sum);
    act.sa_handler = SIG_DFL;
    act.sa_flags = SA_NOCLDWAIT;
    sigaction(SIGCHLD, &act, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(1);
    int got = waitpid(child, NULL, 0);
    printf("nocldwait %d %s\n", got, strerrorname_np(errno));
    signal(SIGCHLD, SIG_DFL);
}

static void on_child(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    told[info->si_code]++;
}

static void describe(const char *what, pid_t child, int options)
{
    int status;
    pid_t got = waitpid(child, &status, options);
    printf("%s: %d exited %d signaled %d stopped %d continued %d value %d\n", what, got == child,
           WIFEXITED(status), WIFSIGNALED(status), WIFSTOPPED(status), WIFCONTINUED(status),
           WIFEXITED(status)    ? WEXITSTATUS(status)
           : WIFSTOPPED(status) ? WSTOPSIG(status)
                                : WTERMSIG(status));
}

static void stop_and_go(void)
{
    struct sigaction act = { .sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART };
    sigaction(SIGCHLD, &act, NULL);
    fflush(stdout);
    int seen[2]; /* a stop of its own before its going on was seen would hide that */
    char byte = 0;
    if (pipe(seen) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        raise(SIGSTOP);
        if (read(seen[0], &byte, 1) != 1)
            _exit(1);
        signal(SIGTSTP, SIG_DFL);
        raise(SIGTSTP);
        for (;;)
            pause();
    }
    describe("first stop", child, WUNTRACED);
    kill(child, SIGCONT);
    describe("goes on", child, WCONTINUED);
    if (write(seen[1], &byte, 1) != 1)
        return;
    describe("second stop", child, WUNTRACED); /* not in an orphaned group */
    kill(-child, SIGCONT);
    describe("goes on", child, WCONTINUED);
    kill(-child, SIGTERM);
    describe("end", child, 0);
    printf("told killed %d stopped %d continued %d\n", told[CLD_KILLED], told[CLD_STOPPED] > 0,
           told[CLD_CONTINUED] > 0);
    for (int i = 0; i < 30; i++) { /* many times, while it computes */
        if (i == 0 && (child = fork()) == 0)
            for (volatile long x = 0;; x++)
                ;
        kill(child, SIGSTOP);
        waitpid(child, NULL, WUNTRACED);
        kill(child, SIGCONT);
        waitpid(child, NULL, WCONTINUED);
    }
    kill(child, SIGKILL);
    describe("killed", child, 0);
    signal(SIGCHLD, SIG_DFL);
}

/* ---- locks whose holder dies ---------------------------------------------------------------- */

static pthread_mutex_t *shared;

static void make_robust(pthread_mutex_t *mutex, int protocol)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setprotocol(&attr, protocol);
    pthread_mutex_init(mutex, &attr);
}

static void *die_holding(void *argument)
{
    pthread_mutex_lock(argument);
    return NULL;
}

static void inherit(const char *what, pthread_mutex_t *mutex)
{
    int error = pthread_mutex_lock(mutex);
    printf("%s: %s", what, error != 0 ? strerrorname_np(error) : "0");
    printf(", consistent %d", pthread_mutex_consistent(mutex));
    printf(", unlock %d\n", pthread_mutex_unlock(mutex));
}

static void locks(void)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int protocol = PTHREAD_PRIO_NONE; protocol <= PTHREAD_PRIO_INHERIT; protocol++) {
        pthread_t thread;
        make_robust(shared, protocol);
        pthread_create(&thread, NULL, die_holding, shared);
        pthread_join(thread, NULL);
        inherit("a thread died", shared);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            pthread_mutex_lock(shared);
            protocol == 0 ? _exit(0) : (void)kill(getpid(), SIGKILL);
        }
        waitpid(child, NULL, 0);
        inherit("a process died", shared);
        child = fork();
        if (child == 0) {
            pthread_mutex_lock(shared);
            execl("/bin/true", "true", (char *)NULL);
        }
        waitpid(child, NULL, 0);
        inherit("a process executed another program", shared);
    }
}

/* ---- what a process says of itself ---------------------------------------------------------- */

static void *exec_static(void *argument)
{
    execl("/proc/self/exe", "again", "last", (char *)NULL);
    return argument;
}

static void settings(void)
{
    char name[17] = "";
    int value = -1;
    prctl(PR_SET_NAME, "a new name");
    prctl(PR_GET_NAME, name);
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    prctl(PR_GET_PDEATHSIG, &value);
    printf("name %s pdeathsig %d\n", name, value == SIGUSR2);
    prctl(PR_SET_PDEATHSIG, 0);
    prctl(PR_SET_TIMERSLACK, 77777);
    printf("dumpable %d slack %d\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_TIMERSLACK));
    prctl(PR_SET_DUMPABLE, 0);
    printf("dumpable %d\n", prctl(PR_GET_DUMPABLE));
    prctl(PR_SET_DUMPABLE, 1);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_GET_CHILD_SUBREAPER, &value);
    printf("subreaper %d no_new_privs %d", value, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    printf(" %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    int unknown = prctl(0x7fffff);
    printf("unknown prctl %d %s\n", unknown, strerrorname_np(errno));
    fflush(stdout);
    pid_t child = fork(); /* its orphan comes to us */
    if (child == 0) {
        if (fork() == 0) {
            usleep(20000);
            _exit(9);
        }
        _exit(0);
    }
    describe("child", child, 0);
    int status;
    pid_t orphan = wait(&status);
    printf("orphan %d exit %d\n", orphan > 0, WEXITSTATUS(status));
    struct rlimit limit = { 64, 128 };
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    printf("files %lu %lu\n", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "last") == 0) {
        char name[17] = "";
        prctl(PR_GET_NAME, name);
        printf("again: pid is tid %d no_new_privs %d\n", getpid() == syscall(SYS_gettid),
               prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        return 21;
    }
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    storm();
    stop_and_go();
    locks();
    settings();
    fflush(stdout);
    pthread_t thread;
    pthread_create(&thread, NULL, exec_static, NULL);
    for (;;)
        pause();
}
