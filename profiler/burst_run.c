/*
 * burst_run.c: burst mode from outside: a program from its first instruction, or a running one.
 *
 *   respin ──fork──► (ends) ──fork──► the watcher, a child of nobody's
 *     │  ◄──────────── "seized" ─────────┤ PTRACE_SEIZE
 *     ▼ execve                           │
 *   the program, stopped at its first    │ core_load, then it goes on untraced
 *   instruction                          ▼ burst_watch.c
 *
 * The user's process becomes the program: same pid, terminal, signals, exit status. The watcher is
 * in a session of its own, so what the terminal sends is the program's alone; and not its child, so
 * its `wait` does not see it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/arena.h"
#include "profiler/burst_watch.h"
#include "profiler/find.h"
#include "profiler/profiler.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static Place at_file(const char *path)
{
    return (Place){ path, NULL, PLACE_NO_OFFSET };
}

static ClockKind clock_of_name(const char *name)
{
    if (name != NULL && strcmp(name, "event") == 0)
        return CLOCK_KIND_EVENT;
    return name != NULL && strcmp(name, "timer") == 0 ? CLOCK_KIND_TIMER : CLOCK_KIND_ANY;
}

static Status watch_options(Arena *arena, const BurstOptions *given, const Log *log,
                            WatchOptions *out, Error *err)
{
    char *vm = arena_alloc(arena, PATH_MAX);
    char *own = arena_alloc(arena, PATH_MAX);
    char *zydis = arena_alloc(arena, PATH_MAX);
    char *path = arena_alloc(arena, PATH_MAX);
    uint64_t run = 0;
    TRY(find_own_paths(vm, own, err));
    TRY(find_zydis(zydis, err));
    TRY(find_absolute(given->out, path, err));
    if (getrandom(&run, sizeof run, 0) != (ssize_t)sizeof run)
        run = (uint64_t)getpid();
    *out = (WatchOptions){ .core = { .vm = vm,
                                     .zydis = zydis,
                                     .out = path,
                                     .run = run,
                                     .burst_ns = NS_PER_S / given->hz,
                                     .edges = (uint32_t)given->edges,
                                     .share = (uint32_t)given->share },
                           .clock = clock_of_name(given->clock),
                           .no_follow = given->no_follow,
                           .seconds = given->seconds,
                           .log = log };
    return ST_OK;
}

/* ---- a running process -------------------------------------------------------------------- */

static volatile int stop_asked;

static void ask_stop(int signal)
{
    (void)signal;
    stop_asked = 1;
}

static Status check_state(pid_t pid, Error *err)
{
    char state = process_state(pid);
    if (state == 0 || state == 'Z' || state == 'X')
        return FAIL(err, ST_REFUSED, NOWHERE, "there is no process %d", pid);
    if (state == 'T' || state == 't')
        return FAIL(err, ST_REFUSED, NOWHERE,
                    "process %d is stopped (state %c): let it go on first", pid, state);
    return ST_OK;
}

static Status attach(Arena *arena, const BurstOptions *options, pid_t pid, const Log *log,
                     Error *err)
{
    WatchOptions watched;
    Remote remote;
    Watch *watch;
    TRY(check_state(pid, err));
    TRY(watch_options(arena, options, log, &watched, err));
    const struct sigaction action = { .sa_handler = ask_stop };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    TRY(remote_stop(&remote, pid, err));
    TRY(watch_begin(arena, &watched, &remote, &watch, err));
    return watch_run(watch, &stop_asked, err);
}

Status profiler_attach(const BurstOptions *options, pid_t pid, const Log *log, Error *err)
{
    Arena *arena = arena_new();
    Status status = attach(arena, options, pid, log, err);
    if (status != ST_OK && err != NULL)
        err->place = NOWHERE; /* names are in the arena */
    arena_free(arena);
    return status;
}

/* ---- a program from its start ------------------------------------------------------------- */

/* What the watcher tells the process that waits to become the program. */
typedef struct Answer {
    Status status;
    char text[ERROR_TEXT_MAX];
} Answer;

typedef struct Pipes {
    int to_watcher[2];
    int to_program[2];
} Pipes;

/* Waits for the first stop in the program's own code. False: there is none, it ended. */
static bool wait_for_program(pid_t pid)
{
    bool executed = false;
    for (;;) {
        int status;
        if (waitpid(pid, &status, __WALL) != pid) {
            if (errno == EINTR)
                continue;
            return false;
        }
        if (!WIFSTOPPED(status))
            return false;
        int event = status >> 16;
        if (event == PTRACE_EVENT_STOP && executed)
            return true;
        if (event == PTRACE_EVENT_EXEC) {
            executed = true;
            ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        }
        ptrace(PTRACE_CONT, pid, 0, event != 0 ? 0 : WSTOPSIG(status));
    }
}

static void say(const char *text)
{
    char line[ERROR_TEXT_MAX + 64];
    int n = snprintf(line, sizeof line, "respin: the program runs without a profile: %s\n", text);
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
        return;
}

/* Nothing of the terminal or of a pipe is held open by the watcher. */
static void let_go_of(int first, int last)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = first; fd <= last && null >= 0; fd++)
        dup2(null, fd);
    if (null > STDERR_FILENO)
        close(null);
}

static void watch_program(Arena *arena, const WatchOptions *options, pid_t pid)
{
    static const volatile int never;
    Error err;
    Remote remote;
    Watch *watch;
    if (!wait_for_program(pid))
        return;
    remote_adopt(&remote, pid);
    if (watch_begin(arena, options, &remote, &watch, &err) != ST_OK) {
        say(err.text);
        return;
    }
    let_go_of(STDERR_FILENO, STDERR_FILENO);
    if (watch_run(watch, &never, &err) != ST_OK)
        return; /* the live form stays, and is read as well */
}

__attribute__((noreturn)) static void be_watcher(Arena *arena, const WatchOptions *options,
                                                 pid_t pid, const Pipes *pipes)
{
    Answer answer = { .status = ST_OK };
    char go;
    setsid();
    let_go_of(STDIN_FILENO, STDOUT_FILENO);
    pid_t own = getpid();
    if (write(pipes->to_program[1], &own, sizeof own) != (ssize_t)sizeof own ||
        read(pipes->to_watcher[0], &go, 1) != 1)
        _exit(EXIT_FAILURE);
    if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXEC) != 0) {
        answer.status = ST_REFUSED;
        snprintf(answer.text, sizeof answer.text, "the program cannot be traced: %s",
                 strerror(errno));
    }
    if (write(pipes->to_program[1], &answer, sizeof answer) == (ssize_t)sizeof answer &&
        answer.status == ST_OK) {
        close(pipes->to_program[1]);
        watch_program(arena, options, pid);
    }
    _exit(EXIT_SUCCESS);
}

/* Forks twice, so that the watcher is nobody's child but init's. */
static Status start_watcher(Arena *arena, const WatchOptions *options, Pipes *pipes, Error *err)
{
    pid_t pid = getpid();
    if (pipe2(pipes->to_watcher, O_CLOEXEC) != 0 || pipe2(pipes->to_program, O_CLOEXEC) != 0)
        return FAIL(err, ST_IO, NOWHERE, "no pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0)
            be_watcher(arena, options, pid, pipes);
        _exit(EXIT_SUCCESS);
    }
    if (child < 0 || waitpid(child, NULL, 0) != child)
        return FAIL(err, ST_IO, NOWHERE, "no process to watch: %s", strerror(errno));
    close(pipes->to_watcher[0]);
    close(pipes->to_program[1]);
    return ST_OK;
}

static Status wait_for_watcher(const Pipes *pipes, Error *err)
{
    pid_t watcher;
    Answer answer;
    if (read(pipes->to_program[0], &watcher, sizeof watcher) != (ssize_t)sizeof watcher)
        return FAIL(err, ST_IO, NOWHERE, "the watcher did not start");
    prctl(PR_SET_PTRACER, watcher, 0, 0, 0); /* where only parents may trace */
    if (write(pipes->to_watcher[1], "", 1) != 1 ||
        read(pipes->to_program[0], &answer, sizeof answer) != (ssize_t)sizeof answer)
        return FAIL(err, ST_IO, NOWHERE, "the watcher ended");
    if (answer.status != ST_OK)
        return FAIL(err, ST_REFUSED, NOWHERE, "%s", answer.text);
    return ST_OK;
}

/* The kernel ignores the bit in a program that is traced: it would not be the same program. */
static Status check_program(const char *program, Error *err)
{
    struct stat info;
    if (stat(program, &info) == 0 && (info.st_mode & (S_ISUID | S_ISGID)) != 0 && geteuid() != 0)
        return FAIL(err, ST_REFUSED, at_file(program),
                    "changes its user: it cannot be profiled from its start");
    return ST_OK;
}

Status profiler_burst_exec(const BurstOptions *options, char *const argv[], Error *err)
{
    static char program[PATH_MAX];
    WatchOptions watched;
    Pipes pipes;
    if (argv[0] == NULL)
        return FAIL(err, ST_REFUSED, NOWHERE, "no program to run");
    TRY(find_program(argv[0], program, err));
    TRY(check_program(program, err));
    Arena *arena = arena_new();
    Status status = watch_options(arena, options, NULL, &watched, err);
    if (status == ST_OK)
        status = start_watcher(arena, &watched, &pipes, err);
    if (status == ST_OK)
        status = wait_for_watcher(&pipes, err);
    arena_free(arena);
    if (status != ST_OK) {
        err->place = NOWHERE;
        return status;
    }
    execv(program, argv);
    return FAIL(err, ST_IO, at_file(program), "cannot be executed: %s", strerror(errno));
}
