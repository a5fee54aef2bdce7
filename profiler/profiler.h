/*
 * Runs a program under the process VM and records its profile.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_PROFILER_H
#define RESPIN_PROFILER_PROFILER_H

#include "core/error.h"

#include <stdbool.h>

typedef struct ProfileOptions {
    const char *out;    /* profile path */
    const char *engine; /* one of profiler_engines */
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

#endif
