/*
 * Burst mode, inside: the VM core lives in a program that runs natively, and looks at it now and
 * then. docs/burst.md is the whole story; inject.h is the other side.
 *
 *   injector: maps respin-vm, a BurstPort and a stack, and starts `_start` there
 *   core:     burst_start answers in the port and traps; the injector arms a clock per thread
 *   signal:   burst_signal ─► burst_take ─► burst_run ─► interp_run ... ─► burst_return
 *
 * Included by hosted code too: nothing but types here is known to both.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_BURST_H
#define RESPIN_PROFILER_BURST_H

#include <stdbool.h>
#include <stdint.h>

enum BurstState {
    BURST_STARTING, /* written by the injector */
    BURST_READY,
    BURST_FAILED, /* `problem` says why; nothing is installed */
};

enum { BURST_PROBLEM_MAX = 512, BURST_PATH_MAX = 4352 };

/* In the guest's memory, beside the core's image. */
typedef struct BurstPort {
    /* from the injector */
    volatile uint32_t state; /* BurstState */
    volatile uint32_t off;   /* no more bursts */
    uint32_t signal;         /* the clock's */
    uint32_t n_slots;        /* bursts at the same time, at most */
    uint32_t edges;          /* a burst's length */
    uint32_t share;          /* CPU time of looks in that of the program, at most, per mille */
    uint64_t burst_ns;       /* the clock's period, of user CPU time of a thread */
    uint64_t image_start;    /* the core, this port and the first stack */
    uint64_t image_end;
    /* from the core */
    uint64_t region_start; /* all its other memory */
    uint64_t region_end;
    uint64_t handler;           /* what rt_sigaction shows for `signal` */
    volatile uint32_t n_inside; /* threads that are in the handler */
    volatile uint32_t n_blind;  /* looks that could not be made: docs/burst.md */
    char problem[BURST_PROBLEM_MAX];
    char live_path[BURST_PATH_MAX];
} BurstPort;

/*
 * The kernel's frame lies below the guest's stack pointer, where the guest goes on pushing: a burst
 * keeps a copy of it at the end of its slot, and returns through that.
 */
enum { BURST_FRAME_BYTES = 0x6000, BURST_STACK_TOP = 0xfa000 };

/* ---- the core only ------------------------------------------------------------------------ */

struct Vm;
struct Thread;
struct GuestContext;

/* Makes ready for signals, tells the injector, and traps. */
__attribute__((noreturn)) void burst_start(struct Vm *vm, const char *command);
/* While starting: tells the injector what is wrong, and traps. */
__attribute__((noreturn)) void burst_fail(const char *problem);

/* burst_entry.S: the handler, and the way back to what it interrupted. */
void burst_signal(int signal) __attribute__((visibility("hidden")));
void burst_return(struct GuestContext *context, volatile uint32_t *in_use,
                  volatile uint32_t *n_inside) __attribute__((noreturn, visibility("hidden")));
void burst_trap(void) __attribute__((noreturn, visibility("hidden")));

/* Called by burst_signal, on the guest's stack: a slot to look in; NULL: not now. */
struct Thread *burst_take(const int32_t *info, struct GuestContext *context)
    __attribute__((visibility("hidden")));
/* On the slot's stack: interprets, and goes back. */
void burst_run(struct Thread *thread) __attribute__((noreturn, visibility("hidden")));
/* From the run or from a fault in it: cpu is exact, the processor holds the guest's vectors. */
void burst_finish(struct Thread *thread) __attribute__((noreturn));

/* The thread whose slot holds `address`; NULL: none does. */
struct Thread *burst_thread_at(uint64_t address);
/* Asks all bursts that are under way to end at their next edge. */
void burst_stop_all(void);

/* ---- burst_faults.c ----------------------------------------------------------------------- */

/* Takes over the guest's fault signals while bursts run. False: one waits to reach the guest. */
bool burst_faults_enter(void);
/* Gives them back when the last burst is over. */
void burst_faults_leave(void);
/* Hands the guest what was sent (not raised) meanwhile. Everything is blocked. */
void burst_faults_resend(struct Thread *thread);

/* ---- burst_critical.c --------------------------------------------------------------------- */

/* Where the calling thread's rseq area says that it is in a critical section; a word that is always
 * 0 when there is none; NULL: there is one, but nobody knows where. */
const volatile uint64_t *burst_critical_word(void);
/* The guest stands in the critical section that `word` leads to: to its abort handler. */
void burst_critical_abort(struct Thread *thread, volatile uint64_t *word);

#endif
