/*
 * Runs a program under the process VM and records its profile.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PROFILER_H
#define RESPIN_PROFILER_PROFILER_H

#include "core/error.h"
#include "core/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ProfileOptions {
    const char *out;    /* profile path */
    const char *engine; /* one of profiler_engines */
    uint64_t cache;     /* bound of the code cache, bytes; 0: the VM's own */
    bool values;        /* record values, too */
    bool no_follow;     /* children run natively */
    bool model;         /* also run the front-end model, written to model_out at each exit */
    const char *model_out;
    bool fixed_addresses; /* ADDR_NO_RANDOMIZE for the guest */
    bool no_profile;      /* count nothing in a file (compare's model runs, tests) */
} ProfileOptions;

/* The engines that there are, for people: "threaded, ...". */
const char *profiler_engines(void);
bool profiler_has_engine(const char *name);

/*
 * Replaces this process by `respin-vm` running the guest: same pid, terminal, signals. At the end
 * of the guest the VM executes `respin` again to compact the profile, then exits with its status.
 * Returns only on failure: ST_IO, or ST_REFUSED with the reason.
 */
MUST_CHECK Status profiler_exec(const ProfileOptions *options, char *const argv[], Error *err);

/* Burst mode: the program runs natively and is looked at now and then (docs/burst.md). */
typedef struct BurstOptions {
    const char *out;   /* profile path */
    uint64_t hz;       /* looks per second of a thread's CPU time, 1 to 1000 */
    uint64_t edges;    /* length of a look */
    uint64_t share;    /* CPU time of looks in that of the program, at most, per mille */
    const char *clock; /* "event", "timer"; NULL: what works */
    bool no_follow;    /* one process, one program */
    uint64_t seconds;  /* attach: how long; 0: until the process ends */
} BurstOptions;

enum { BURST_HZ = 100, BURST_HZ_MOST = 1000, BURST_EDGES = 1000, BURST_SHARE = 20 };

/*
 * Replaces this process by the program, with the VM core in it; another process stays behind until
 * it and its children have ended, and writes the profile. Returns only on failure: ST_IO, or
 * ST_REFUSED with the reason.
 */
MUST_CHECK Status profiler_burst_exec(const BurstOptions *options, char *const argv[], Error *err);
/* Joins a running process and its children, and leaves them as they were. */
MUST_CHECK Status profiler_attach(const BurstOptions *options, pid_t pid, const Log *log,
                                  Error *err);

#endif
