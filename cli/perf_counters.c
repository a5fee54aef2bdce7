/* perf_counters.c: perf_event_open(2), user mode only. SPDX-License-Identifier: MIT */
#include "cli/perf_counters.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const perf_counter_names[PERF_COUNTERS] = {
    "cycles", "instructions", "branches", "branch misses", "L1 I-cache misses", "iTLB misses",
};

#define CACHE_MISS(cache)                                                                          \
    ((cache) | PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16)

static const struct {
    uint32_t type;
    uint64_t config;
} events[PERF_COUNTERS] = {
    { PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
    { PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
    { PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS },
    { PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES },
    { PERF_TYPE_HW_CACHE, CACHE_MISS(PERF_COUNT_HW_CACHE_L1I) },
    { PERF_TYPE_HW_CACHE, CACHE_MISS(PERF_COUNT_HW_CACHE_ITLB) },
};

void perf_open(PerfSet *set, pid_t pid)
{
    for (int i = 0; i < PERF_COUNTERS; i++) {
        struct perf_event_attr attr = {
            .size = sizeof attr,
            .type = events[i].type,
            .config = events[i].config,
            .disabled = 1,
            .inherit = 1,
            .enable_on_exec = 1,
            .exclude_kernel = 1,
            .exclude_hv = 1,
            .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
        };
        set->fd[i] = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    }
}

void perf_read(PerfSet *set, PerfCounts *out)
{
    *out = (PerfCounts){ { false }, { 0 } };
    for (int i = 0; i < PERF_COUNTERS; i++) {
        uint64_t values[3] = { 0 }; /* count, time enabled, time running */
        if (set->fd[i] < 0)
            continue;
        if (read(set->fd[i], values, sizeof values) == (ssize_t)sizeof values && values[2] > 0) {
            out->has[i] = true;
            out->value[i] = (double)values[0] * (double)values[1] / (double)values[2];
        }
        close(set->fd[i]);
        set->fd[i] = -1;
    }
}
