/*
 * The clock of burst mode: a signal to a thread after so much of its CPU time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_BURST_CLOCK_H
#define RESPIN_PROFILER_BURST_CLOCK_H

#include "profiler/attach.h"

typedef enum ClockKind {
    CLOCK_KIND_ANY,   /* events where they are allowed, else timers */
    CLOCK_KIND_EVENT, /* software task-clock events, held by us: user time, at once */
    CLOCK_KIND_TIMER, /* CPU-time timers, held by the process: at the kernel's ticks */
} ClockKind;

typedef struct Clock {
    pid_t thread;
    int event;       /* descriptor; -1: none */
    bool has_timer;  /* `timer` is one */
    bool is_blocked; /* the thread blocks the signal: it has no clock */
    int32_t timer;
} Clock;

/* Which kind works here: CLOCK_KIND_ANY is made definite by trying. */
ClockKind clock_kind(ClockKind wanted);
/* Starts the clock of a thread of a process with a core. */
MUST_CHECK Status clock_start(ClockKind kind, const Core *core, uint64_t period_ns, pid_t thread,
                              Clock *clock, Error *err);
/* Ends it, but for a timer, which needs the process stopped. */
void clock_stop(Clock *clock);
/* Ends a timer; within remote_begin and remote_end. */
MUST_CHECK Status clock_delete_timer(Remote *remote, Clock *clock, Error *err);
/* The signal is blocked by the thread now. */
bool clock_would_wait(const Core *core, pid_t thread);

#endif
