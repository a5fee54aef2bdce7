/*
 * compare_run.c: starts a command, waits for it, measures it.
 *
 *     parent                              child
 *     fork ------------------------------ pins itself, sets up 0 1 2
 *     opens hardware counters on it       waits for a byte
 *     clock; writes the byte ------------ exec (or: the process VM)
 *     wait4; clock                        ...
 *
 * What the child cannot do it says in words on a pipe that exec closes. Standard output goes to a
 * memory file, so that no reader runs beside the measured program.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/compare_run.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CANNOT_START = 127 };

/* The two pipes and the output file of one run. */
typedef struct Channels {
    int go[2];  /* parent -> child: one byte */
    int say[2]; /* child -> parent: why it could not start */
    int output;
} Channels;

static Status cannot(const RunSpec *spec, const char *what, Error *err)
{
    return FAIL(err, ST_IO, NOWHERE, "cannot run '%s': %s", spec->name, what);
}

static Status open_channels(const RunSpec *spec, Channels *channels, Error *err)
{
    channels->output = memfd_create("respin-output", MFD_CLOEXEC);
    if (channels->output < 0)
        return cannot(spec, strerror(errno), err);
    if (pipe2(channels->go, O_CLOEXEC) != 0) {
        close(channels->output);
        return cannot(spec, strerror(errno), err);
    }
    if (pipe2(channels->say, O_CLOEXEC) != 0) {
        close(channels->output);
        close(channels->go[0]);
        close(channels->go[1]);
        return cannot(spec, strerror(errno), err);
    }
    return ST_OK;
}

/* ---- in the child --------------------------------------------------------------------------- */

static bool pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

/* Puts `from`, or /dev/null when it is -1, where the program expects it. */
static bool put_fd(int from, int to, int flags)
{
    int fd = from >= 0 ? from : open("/dev/null", flags | O_CLOEXEC);
    return fd >= 0 && dup2(fd, to) == to;
}

static const char *prepare(const RunSpec *spec, const Channels *channels)
{
    char byte;
    if (spec->cpu >= 0 && !pin(spec->cpu))
        return "cannot pin to that CPU";
    if (spec->input >= 0 && lseek(spec->input, 0, SEEK_SET) != 0)
        return "its input cannot be read again";
    if (!put_fd(spec->input, STDIN_FILENO, O_RDONLY) ||
        !put_fd(channels->output, STDOUT_FILENO, O_WRONLY) ||
        (!spec->show_errors && !put_fd(-1, STDERR_FILENO, O_WRONLY)))
        return "cannot set up its input and output";
    if (read(channels->go[0], &byte, 1) != 1)
        return "the parent is gone";
    return NULL;
}

static void run_child(const RunSpec *spec, const Channels *channels)
{
    Error err = { .text = "" };
    const char *problem = prepare(spec, channels);
    if (problem == NULL && spec->profile != NULL) {
        environ = (char **)(uintptr_t)spec->environment;
        if (profiler_exec(spec->profile, spec->argv, &err) != ST_OK)
            problem = err.text;
    } else if (problem == NULL) {
        execvpe(spec->argv[0], spec->argv, spec->environment);
        problem = strerror(errno);
    }
    if (problem == NULL || write(channels->say[1], problem, strlen(problem)) < 0)
        _exit(EXIT_CANNOT_START);
    _exit(EXIT_CANNOT_START);
}

/* ---- in the parent -------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

/* Lets the child go and waits for its end. `said`: what it said instead of starting. */
static bool measure(pid_t pid, const Channels *channels, RunResult *out, char *said, size_t size)
{
    PerfSet counters;
    struct rusage usage;
    perf_open(&counters, pid);
    double start = now();
    bool went = write(channels->go[1], "", 1) == 1;
    ssize_t n = read(channels->say[0], said, size - 1);
    said[n > 0 ? n : 0] = '\0';
    bool ended = wait4(pid, &out->status, 0, &usage) == pid;
    out->wall = now() - start;
    perf_read(&counters, &out->counts);
    if (!went || !ended)
        return false;
    out->user = seconds(usage.ru_utime);
    out->system = seconds(usage.ru_stime);
    out->peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    return true;
}

Status run_command(const RunSpec *spec, RunResult *out, Error *err)
{
    Channels channels;
    char said[ERROR_TEXT_MAX];
    TRY(open_channels(spec, &channels, err));
    *out = (RunResult){ .output = channels.output };
    fflush(stdout);
    pid_t pid = fork();
    int fork_error = errno;
    if (pid == 0)
        run_child(spec, &channels);
    close(channels.go[0]);
    close(channels.say[1]);
    bool ran = pid > 0 && measure(pid, &channels, out, said, sizeof said);
    close(channels.go[1]);
    close(channels.say[0]);
    if (ran && said[0] == '\0')
        return ST_OK;
    close(channels.output);
    if (pid < 0)
        return cannot(spec, strerror(fork_error), err);
    return cannot(spec, ran ? said : "it could not be waited for", err);
}

const char *run_status_text(Arena *arena, int status)
{
    if (WIFSIGNALED(status))
        return arena_printf(arena, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return arena_printf(arena, "exit status %d", WEXITSTATUS(status));
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Compares the part of two files that begins at `offset`; false: they differ, at *at. */
static bool same_block(int left, int right, uint64_t offset, size_t size, uint64_t *at)
{
    char left_bytes[4096], right_bytes[4096];
    if (pread(left, left_bytes, size, (off_t)offset) != (ssize_t)size ||
        pread(right, right_bytes, size, (off_t)offset) != (ssize_t)size) {
        *at = offset;
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (left_bytes[i] != right_bytes[i]) {
            *at = offset + i;
            return false;
        }
    }
    return true;
}

bool run_same_output(int left, int right, uint64_t *at)
{
    struct stat left_info, right_info;
    *at = 0;
    if (fstat(left, &left_info) != 0 || fstat(right, &right_info) != 0)
        return false;
    uint64_t left_size = (uint64_t)left_info.st_size, right_size = (uint64_t)right_info.st_size;
    uint64_t common = left_size < right_size ? left_size : right_size;
    for (uint64_t offset = 0; offset < common; offset += 4096) {
        size_t size = common - offset < 4096 ? (size_t)(common - offset) : 4096;
        if (!same_block(left, right, offset, size, at))
            return false;
    }
    *at = common;
    return left_size == right_size;
}

int run_read_all(int fd)
{
    char bytes[1 << 16];
    int copy = memfd_create("respin-input", MFD_CLOEXEC);
    if (copy < 0)
        return -1;
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n == 0)
            return copy;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || write(copy, bytes, (size_t)n) != n) {
            int error = errno;
            close(copy);
            errno = error;
            return -1;
        }
    }
}
