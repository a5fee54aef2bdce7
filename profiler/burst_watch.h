/*
 * Looks after the cores of a run: new threads, new processes, new programs, and the end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_BURST_WATCH_H
#define RESPIN_PROFILER_BURST_WATCH_H

#include "core/log.h"
#include "profiler/burst_clock.h"

typedef struct WatchOptions {
    CoreOptions core;
    ClockKind clock;
    bool no_follow;   /* one process only, and one program */
    uint64_t seconds; /* 0: until all processes have ended */
    const Log *log;
} WatchOptions;

typedef struct Watch Watch;

/* Puts a core into the run's first process. It is stopped (remote) and goes on when this returns.
 */
MUST_CHECK Status watch_begin(Arena *arena, const WatchOptions *options, Remote *remote,
                              Watch **out, Error *err);
/* Stays until the time is over, all processes have ended or `*stop` is set; then takes every core
 * away and turns the live files into the profile. */
MUST_CHECK Status watch_run(Watch *watch, const volatile int *stop, Error *err);

#endif
