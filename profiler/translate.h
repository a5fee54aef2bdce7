/*
 * The code cache, seen from the interpreter and the system side (docs/translate.md).
 *
 *   trace.c    which blocks a trace holds      translate.c   traces, links, exits, forgetting
 *   emit.c     bytes of glue and copies        cache.c       memory near the guest's modules
 *   state.c    from a host address to exact guest state
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_TRANSLATE_H
#define RESPIN_PROFILER_TRANSLATE_H

#include "profiler/area.h"
#include "profiler/point.h"
#include "profiler/pool.h"
#include "profiler/record.h"

/* A block on the path of a trace. */
typedef struct TraceBlock {
    PoolRef block;   /* trace_block() */
    PoolRef next;    /* another TraceBlock of the same block: list of all traces through it */
    uint32_t left;   /* counter of the way out of the path here; 0: none yet */
    uint8_t index;   /* in Trace.at */
    bool taken;      /* the path takes its conditional jump */
    uint8_t partner; /* PathBlock.partner */
} TraceBlock;

/* A jump to a trace. */
typedef struct LinkNode {
    int32_t field; /* its relative target lies so many bytes from what it leads to (link.c) */
    PoolRef next;
} LinkNode;

/*
 * A trace's code is [code, code + size), stubs included; its constants and its ways to the VM are
 * [cold, cold + cold_size). Two traces can have the same head: one for all ways in, and one for the
 * returns to it from one call (`from`), whose entry finds RAX and RCX spilled.
 *
 * There are nearly as many as blocks, so it is small. code_lock is held by whoever reads lists.
 */
typedef struct Trace {
    const uint8_t *code; /* its entry; the first 5 bytes are a nop that may become a jump out */
    const uint8_t *cold;
    const uint8_t *way_out; /* where a jump at the entry leads when the trace is stale */
    PoolRef points;         /* packed (point.h), n_points of them */
    PoolRef links;          /* jumps to its entry: LinkNode */
    PoolRef same_head;      /* list of the traces of a block */
    uint32_t size;
    uint32_t from;   /* the counter of the edge that leads here; 0: any */
    uint32_t visits; /* counter of its entries; 0: ways out tell */
    uint32_t passed; /* trace_passed() of its second block; those behind follow in a row */
    uint16_t cold_size;
    uint16_t n_points;
    uint8_t n_blocks;
    volatile uint8_t stale;
    bool final;     /* not tried out any more */
    uint32_t ended; /* counter of the jump at the path's end; 0: none of its own */
    _Alignas(POOL_ALIGN) TraceBlock at[]; /* along the path */
} Trace;

_Static_assert(sizeof(Trace) == 64, "there are nearly as many as blocks");

static inline Block *trace_block(const Trace *trace, uint32_t i)
{
    return pool_at(trace->at[i].block);
}

/* One more here counts all edges that led to block i (sums carry them on); 0: no edge. */
static inline uint32_t trace_passed(const Trace *trace, uint32_t i)
{
    return i == 0 ? trace->from : trace->passed + i - 1;
}

static inline Trace *trace_that_holds(const TraceBlock *at)
{
    return (Trace *)((uintptr_t)(at - at->index) - offsetof(Trace, at));
}

/* ---- translate.c ------------------------------------------------------------------------- */

/* Sets up GS and the tables of a thread that is about to run; on that thread. Cheap when done. */
void translate_init_thread(Thread *thread);
/* The first record of a block that may be translated: how often it runs before. */
Handler h_warm;
int32_t translate_patience(void);
/*
 * The trace whose head is `block`, made now along the path that `cpu`'s counters favour; NULL: it
 * cannot be translated. code_lock is held.
 */
const Trace *translate_block(const Cpu *cpu, Block *block);
/* The trace with this head that is entered by way of `from`; NULL: none. */
Trace *translate_find(const Block *block, uint32_t from);
/* The trace's arena is emptied: it is nobody's any more. code_lock is held. */
void translate_withdraw(Trace *trace);
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
/*
 * For an asynchronous signal, and again at each single step: as above, and host_gregs are set to go
 * on with single steps (STATE_STEP) or without.
 */
StateAnswer translate_interrupted(Thread *thread, int64_t *host_gregs);
/* What was interrupted at `rip` is a trace through a block that was forgotten. */
bool translate_is_stale(uint64_t rip);

#endif
