/*
 * weave.h: a trace under construction, and the pieces of glue between its blocks.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_WEAVE_H
#define RESPIN_PROFILER_WEAVE_H

#include "profiler/again.h"
#include "profiler/cache.h"
#include "profiler/trace.h"

/* Why translated code was left, and how it goes on. Lives as long as its code. */
typedef enum ExitKind {
    EXIT_TO,      /* to guest address `target`, by the jump at `field`, which can be linked */
    EXIT_RECORD,  /* to the record `op`, which does the rest of its block */
    EXIT_LANDING, /* as EXIT_TO: a return to the call whose counter `counter` is */
    EXIT_PROMOTE, /* nowhere: the trace that begins at `target` was entered often */
    EXIT_OFTEN,   /* as EXIT_TO, counted: the way out of `trace` was taken often. NO_TARGET: it is a
                     return, which is still to be executed */
    EXIT_SIDE,    /* out of the path of `trace`, not counted: the jump at `field` has no stub yet */
} ExitKind;

typedef struct Exit {
    uint64_t target;
    uint8_t *field; /* the 4 bytes of the jump's relative target; NULL: it cannot be linked */
    union {
        const Op *op; /* RECORD */
        Trace *trace; /* OFTEN, SIDE */
    };
    union {
        uint32_t counter; /* LANDING: of the edge. RECORD: of what led to its block. PROMOTE:
                             Trace.from */
        Again again;      /* SIDE: flags that its stub is to make again */
    };
    uint8_t kind;        /* ExitKind */
    uint8_t block;       /* SIDE: of the path */
    uint8_t spilled : 2; /* SIDE: at the jump */
    bool is_return : 1;  /* SIDE: a return on the path that went elsewhere */
    bool is_open : 1;    /* SIDE: it has a stub */
    uint8_t times;       /* SIDE: that such a return did */
} Exit;

_Static_assert(sizeof(Exit) == 32, "there are some for each trace");

/* An indirect jump or call. */
typedef struct Site {
    const uint8_t *code;
    const Op *op;
    uint32_t counter;   /* of the transfers whose target has no stub */
    uint32_t before;    /* counts what led to its block (Trace.passed) */
    uint32_t edge;      /* the transfer's own counter */
    uint32_t number;    /* unique */
    bool in_rax;        /* the target is guest RAX itself */
    struct Stub *stubs; /* made so far */
} Site;

/* A jump out of the path, whose stub is made when the path is done, or when it is first taken. */
typedef struct SideExit {
    uint8_t *field;
    uint32_t block;   /* of the path */
    bool often;       /* it was taken often already */
    bool is_return;   /* a return on the path that went elsewhere… */
    bool is_indirect; /* …or an indirect branch that did; otherwise: */
    uint64_t target;
    uint32_t edge;
    uint8_t spilled;
} SideExit;

/* A jump to the VM, or one that is not linked yet: where it leads to is written behind all stubs.
 */
typedef struct Leave {
    uint8_t *field;
    const Exit *leave;
    uint8_t spilled; /* what comes back first… */
    Again again;     /* …and what is done again then */
} Leave;

#define NO_TARGET UINT64_MAX

enum {
    MOST_SIDE_EXITS = 2 * PATH_BLOCKS,
    MOST_LEAVES = 4 * PATH_BLOCKS,
    TRIAL = 20000, /* of a way out, or of entries: then a trace is made anew, longer */
    MOST_SUMS = 10 * PATH_BLOCKS,
    MOST_POINTS = 3 * PATH_INSNS + 6 * PATH_BLOCKS,
    HOT_ROOM = 64 << 10,
    COLD_ROOM = 48 << 10,
};

typedef struct Weave {
    const Path *path;
    Trace *trace;
    Pool *pool; /* for what lives as long as the trace */
    Code *hot, *cold;
    uint8_t *start;
    uint32_t passed[PATH_BLOCKS];
    uint32_t left[PATH_BLOCKS];
    const uint64_t *cells[PATH_BLOCKS]; /* where a call of the path returns to, beside the code */
    uint32_t ended;                     /* Trace.ended */
    const uint8_t *mismatch;            /* what landings share; NULL: there is none yet */
    uint8_t spilled;                    /* guest registers that are in the area now */
    bool flags_lost;                    /* flags are not the guest's: the head overwrites them */
    bool failed;                        /* something was out of reach */
    uint32_t n_points, n_sums, n_side, n_leaves;
    TracePoint point[MOST_POINTS];
    LiveSum sum[MOST_SUMS];
    SideExit side[MOST_SIDE_EXITS];
    Leave leave[MOST_LEAVES];
} Weave;

/*
 * The code of a path, made whole: trace and stubs, not yet entered from anywhere. NULL: out of
 * reach or out of memory. `from`: Trace.from.
 */
Trace *weave_trace(const Path *path, uint32_t from, bool final);
/* Ids of `n` counters, in a row. */
uint32_t weave_counters(uint32_t n);

/* ---- glue.c ---- */

/* The exit's jump to the VM, at which `code` goes on; `spilled`: guest registers in the area. */
void glue_leave(Code *code, const Exit *leave, uint8_t spilled);
/* The same where the state is that of a trace's entry: `counter` is Trace.from, and whoever follows
 * the exit counts it. */
void glue_leave_entry(Code *code, const Exit *leave);
Exit *glue_exit(Pool *pool, ExitKind kind, uint64_t target);
/* A counter for one way out of block `i`, whose edges these are (0: none). */
uint32_t glue_exit_counter(Weave *w, uint32_t i, uint32_t edge, uint32_t other_edge);
/* Out of the path behind block `block`, to `target`. */
typedef struct WayOut {
    uint64_t target;
    uint32_t block;
    uint32_t counter; /* 0: none */
    Again again;
    bool is_last; /* the path's end */
} WayOut;

/* Goes on there, counted. */
void glue_exit_to(Weave *w, Code *code, const WayOut *way);
/* How flags at the end of block `i` are made again. */
Again glue_again(const Weave *w, uint32_t i);
void glue_call(Weave *w, uint32_t i, bool spilled_target);
void glue_return(Weave *w, uint32_t i);
void glue_matched_return(Weave *w, uint32_t i);
void glue_indirect(Weave *w, uint32_t i);
/* The ways to the VM. */
void glue_leaves(Weave *w);
void glue_leave_later(Weave *w, uint8_t *field, const Exit *leave, Again again);
/* The same of a return that its path did not expect. RCX is what compare_return left. */
void glue_other_return(Weave *w, Code *code, uint32_t i);
/* Makes the cell of a call of the path. */
const uint64_t *glue_call_cell(Weave *w, uint32_t call);
/* The path's call `call` is open where block `i` is left. `returned`: as below. */
bool glue_is_open(const Path *path, uint32_t call, uint32_t i, bool returned);
/* The target in RAX is looked up. */
void glue_dispatch(Weave *w, Code *code, uint32_t i);
/* `returned`: block `i` is a return that was passed. */
void glue_open_calls(Weave *w, Code *code, uint32_t i, bool returned);
/* Puts those of `mask` into the area. */
void glue_spill(Weave *w, Code *code, uint8_t mask);
/* Puts guest registers that are in the area back: those of `mask`. */
void glue_reload(Weave *w, Code *code, uint8_t mask);
/* From here to glue_end_point, `code` is at instruction `insn` of block `i`. */
TracePoint *glue_point(Weave *w, const Code *code, uint32_t i, uint32_t insn, bool clean);
void glue_end_point(Weave *w, const Code *code, TracePoint *point);

/* ---- ways out of the path (side.c) ---- */

/* The stub of a jump out of the path, or its way to the VM. */
void side_exit(Weave *w, const SideExit *side);
/* Makes the stub of a way that was taken, and leads the jump there. False: no room in the arena.
 * code_lock is held. */
bool side_open(Exit *way);

/* ---- sites and stubs (stub.c) ---- */

/* Gives an indirect branch its number. False: there are too many. */
bool stub_new_site(Site *site);
Site *stub_site(uint32_t number);
/* The same for a block's return, whose number lasts; returns have numbers of their own. */
uint32_t stub_return_number(Block *block);
const Op *stub_return(uint32_t number);
/* There are numbers for the sites of a trace. */
bool stub_has_numbers(void);
/* The stub whose entry this is leads nowhere: its site, its code, or one that it leads to is gone.
 * No lock. */
bool stub_is_dead(const uint8_t *entry);
/* The arena is emptied: stubs and sites in it. */
void stub_withdraw(const CacheArena *arena);
void stub_finish(const CacheArena *arena);
/* Makes `target` lead on from `site` for this thread, to `trace`. code_lock is held. */
void stub_install(const Cpu *cpu, Site *site, const Target *target, Trace *trace);

#endif
