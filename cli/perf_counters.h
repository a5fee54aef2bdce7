/*
 * Hardware counters of one process and its children, where the kernel offers them.
 *
 * On machines without a PMU every counter is absent, silently: `compare` prints what there is.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_PERF_COUNTERS_H
#define RESPIN_CLI_PERF_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PERF_COUNTERS = 6 };

extern const char *const perf_counter_names[PERF_COUNTERS];

typedef struct PerfCounts {
    bool has[PERF_COUNTERS];
    double value[PERF_COUNTERS]; /* scaled when the kernel shared the hardware */
} PerfCounts;

typedef struct PerfSet {
    int fd[PERF_COUNTERS]; /* -1: not offered */
} PerfSet;

/* Counters of `pid`, which start at its next exec. */
void perf_open(PerfSet *set, pid_t pid);
/* Reads and closes them. */
void perf_read(PerfSet *set, PerfCounts *out);

#endif
