/*
 * The code cache, seen from the interpreter and the system side (docs/translate.md).
 *
 *   trace.c      which blocks a trace holds           translate.c   traces, links, exits,
 * forgetting emit.c       bytes of glue and copies             cache.c       memory near the
 * guest's modules state.c      from a host address to exact guest state
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_TRANSLATE_H
#define RESPIN_PROFILER_TRANSLATE_H

#include "profiler/area.h"
#include "profiler/record.h"

/*
 * Where the copy of a guest instruction begins, or glue that may fault. Sorted by offset; one array
 * a trace. State at `offset`: all guest registers and flags are in the host's, but for those that
 * `spilled` names, which are in the area.
 */
typedef struct TracePoint {
    uint16_t offset; /* from Trace.code */
    uint8_t block;   /* index in Trace.blocks */
    uint8_t insn;    /* of the block: the guest instruction that is about to be executed */
    uint8_t size;    /* bytes of host code for which this holds */
    uint8_t spilled; /* bit 0: RAX is in AreaSlots.rax, bit 1: RCX is in AreaSlots.rcx */
    bool clean;      /* the guest instruction has not begun: asynchronous signals may stop here */
    uint8_t flat;    /* RSP was moved by glue: guest RSP = host RSP + flat (0: in place) */
} TracePoint;

typedef struct Trace {
    const uint8_t *code; /* its entry; the first 5 bytes are a nop that may become a jump out */
    uint32_t size;       /* bytes of code, stubs included */
    uint32_t n_blocks;
    uint32_t n_points;
    volatile uint32_t stale;
    const Block *const *blocks; /* along the path */
    const uint32_t *passed;     /* per block but the last: counter of the path edge out of it */
    const TracePoint *points;
} Trace;

/* ---- translate.c ------------------------------------------------------------------------- */

/* Once, after interp_init, when the engine wants it. False: *why. */
bool translate_init(const char **why);
/* Sets up GS and the tables of a thread that is about to run; on that thread. */
void translate_init_thread(Thread *thread);
/* The trace whose head is `block`, made now; NULL: it cannot be translated. code_lock is held. */
const Trace *translate_block(Block *block);
/* A block was forgotten: traces through it are left at their entry. code_lock is held. */
void translate_forget(const Block *block);
/* `rip` is in the cache, or in the assembly that enters it. Async-signal-safe, takes no lock. */
bool translate_owns(uint64_t rip);
/* The trace that holds host address `rip`; NULL: none (assembly, stubs of no trace). No lock. */
const Trace *translate_trace_at(uint64_t rip);

/* ---- state.c ----------------------------------------------------------------------------- */

typedef enum StateAnswer {
    STATE_NOT_OURS, /* rip is not in the cache */
    STATE_EXACT,    /* cpu is exact: registers, rflags, pc; passed edges are counted */
    STATE_STEP,     /* glue: single-step and ask again */
} StateAnswer;

/*
 * From a host signal handler that interrupted the cache. `fault`: the instruction at rip raised the
 * signal: STATE_EXACT with pc the guest instruction, and the partial block counted as
 * interp_recover does. Otherwise (asynchronous): STATE_EXACT only at a clean point; cpu->tail then
 * says which block is to be finished without counting.
 */
StateAnswer translate_state(Thread *thread, const int64_t *host_gregs, bool fault);

#endif
