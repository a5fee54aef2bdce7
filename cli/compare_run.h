/*
 * One measured run of a command: pinned, fed, timed, its standard output kept.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_COMPARE_RUN_H
#define RESPIN_CLI_COMPARE_RUN_H

#include "cli/perf_counters.h"
#include "core/arena.h"
#include "core/error.h"
#include "profiler/profiler.h"

#include <stdbool.h>

/* What is run, and how. */
typedef struct RunSpec {
    const char *name; /* the command as given, for messages */
    char *const *argv;
    char *const *environment;
    int input;                     /* file descriptor, read from its start; -1: /dev/null */
    int cpu;                       /* -1: not pinned */
    bool show_errors;              /* standard error goes to ours, else nowhere */
    const ProfileOptions *profile; /* NULL: natively, else under the process VM */
} RunSpec;

typedef struct RunResult {
    int status;         /* as wait4 gives it */
    double wall;        /* seconds, from just before exec to the end */
    double user;        /* seconds of user time, with all children that were waited for */
    double system;      /* seconds of system time */
    int64_t peak_bytes; /* largest resident size of any of its processes */
    int output;         /* file descriptor that holds the standard output; close it */
    PerfCounts counts;
} RunResult;

/*
 * Runs the command to its end.
 *
 * Errors: ST_IO when it cannot be started (the command's own failure is in `status`).
 */
MUST_CHECK Status run_command(const RunSpec *spec, RunResult *out, Error *err);

/* "exit status 3" or "signal 11 (Segmentation fault)", in `arena`. */
const char *run_status_text(Arena *arena, int status);

/* Where two outputs first differ. True: they are equal. */
bool run_same_output(int left, int right, uint64_t *at);

/* A memory file with all that can be read from `fd`; -1: could not (errno). */
int run_read_all(int fd);

#endif
