/*
 * The VM core in a process: put there, and taken away.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_ATTACH_H
#define RESPIN_PROFILER_ATTACH_H

#include "profiler/burst.h"
#include "profiler/inject.h"

/* What all cores of a run have in common. Paths are absolute. */
typedef struct CoreOptions {
    const char *vm;
    const char *zydis;
    const char *out;
    uint64_t run;
    uint64_t burst_ns;
    uint32_t edges;
    uint32_t share; /* as BurstPort's */
} CoreOptions;

/* The kernel's struct sigaction. */
typedef struct CoreAction {
    uint64_t handler, flags, restorer, mask;
} CoreAction;

typedef struct Core {
    pid_t pid;
    uint32_t signal;
    uint64_t port;        /* address of its BurstPort */
    uint64_t image_start; /* two ranges are all that it has mapped */
    uint64_t image_end;
    uint64_t region_start;
    uint64_t region_end;
    uint64_t handler;
    CoreAction before; /* of the signal */
    char live_path[BURST_PATH_MAX];
} Core;

/*
 * Puts a core into a stopped process. `is_child`: not the run's first process. ST_REFUSED with the
 * reason (no signal is free, it filters its system calls, it cannot write the profile): the process
 * is then as it was.
 */
MUST_CHECK Status core_load(Remote *remote, const CoreOptions *options, bool is_child, Core *core,
                            Error *err);
/* No thread of the stopped process is in the core, and no signal for it waits. */
MUST_CHECK Status core_is_quiet(Remote *remote, const Core *core, bool *quiet, Error *err);
/* Takes it away; the process is quiet. */
MUST_CHECK Status core_unload(Remote *remote, const Core *core, Error *err);
/* The process still holds the core: it did not execute another program. */
bool core_is_there(const Core *core);
/* No burst begins any more. */
void core_turn_off(const Core *core);
/* A forked child has no core, but its parent's action for the signal: gives it the one before. */
MUST_CHECK Status core_clear_child(Remote *remote, const Core *parent, Error *err);

#endif
